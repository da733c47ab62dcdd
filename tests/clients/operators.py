"""
Brokers whose HTTP server is asked.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.clients.broker import Broker, BrokerTestCase, eventually, free_port


class OperatorsTestCase(BrokerTestCase):
    """
    A broker with its HTTP server.
    """

    def observed(self, **settings: object) -> Broker:
        """
        A broker that is ready.
        """
        self.http = free_port()
        broker = self.broker(metrics_addr=f"127.0.0.1:{self.http}", **settings)
        eventually(self.is_ready)
        return broker

    def is_ready(self) -> bool:
        """
        Whether /readyz answers 200.
        """
        try:
            return self.get("/readyz")[0] == 200
        except urllib.error.URLError:
            return False

    def get(self, path: str) -> tuple[int, str]:
        """
        Status and body of the response to a request.
        """
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def values(self) -> dict[Any, float]:
        """
        The value of each sample, by its name and its label values in the order
        of the labels' names.
        """
        status, text = self.get("/metrics")
        self.assertEqual(status, 200)
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
