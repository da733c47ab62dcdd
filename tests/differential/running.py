"""
Has conversations with both brokers at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from kafscale.tap.users import credentials_of
from kafscale.wire.messages import DescribeConfigsRequest
from tests.clients.broker import Broker
from tests.clients.raw import RawClient
from tests.differential.compare import Found, compare
from tests.differential.talk import Case, converse
from tests.harness import apache_kafka

SECONDS = 300.0

SETTINGS = {"broker_id": 1, "group_initial_rebalance_delay_ms": 0}
"""The settings of Kafscale, for what Apache Kafka has in its."""

TOGETHER = 8
"""Conversations with one broker at a time: most of them wait."""


def differing(cases: Sequence[Case], kafka: int, ours: int) -> list[Found]:
    """
    The fields in which the answers of two brokers differ.

    @param kafka: The port of Apache Kafka.
    @param ours: The port of Kafscale.
    """
    nonce = uuid4().hex[:8]
    with ThreadPoolExecutor(TOGETHER) as theirs, ThreadPoolExecutor(TOGETHER) as own:
        answers = [
            (
                case,
                theirs.submit(converse, case, kafka, nonce),
                own.submit(converse, case, ours, nonce),
            )
            for case in cases
        ]
        return [
            found
            for case, left, right in answers
            for found in compare(case.name, left.result(SECONDS), right.result(SECONDS))
        ]


def add_users(broker: Broker) -> None:
    """
    Let a broker know the users of Apache Kafka, whose password is C{secret}, and the
    mechanisms of its listeners.
    """
    lines = [
        f"{name}:{each.to_text(mechanism)}"
        for name in ("alice", "bob")
        for mechanism, each in credentials_of("secret").items()
    ]
    (broker.folder / "users").write_text("\n".join(lines))
    broker.settings |= {"users_file": "users", "sasl_enabled_mechanisms": "PLAIN,SCRAM-SHA-256"}


def kafka_listeners() -> dict[str, int]:
    """
    The ports of Apache Kafka's listeners, by their names.
    """
    request = DescribeConfigsRequest
    resource = request.Resource(
        resource_type=4, resource_name="1", configuration_keys=["listeners"]
    )
    with RawClient(apache_kafka.port()) as raw:
        (found,) = raw.call(request(resources=[resource]), 4).results
    (config,) = found.configs
    return {name: int(port) for name, port in re.findall(r"(\w+)://[^,]*:(\d+)", config.value)}
