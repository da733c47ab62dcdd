"""
The metrics of a broker in Prometheus' text format.

Each broker has a registry of its own, so that a process, or a test, can have
several brokers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from kafscale.ops.metric_values import Reading

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The content type of L{Metrics.text}."""


class _Collected(Collector):
    """
    A reading, in the form that prometheus-client needs.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterable[Family]:
        return self._reading()

    def describe(self) -> Iterable[Family]:
        return ()  # names are unique: a test compares them


class _Single(Collector):
    """
    A single family of metrics.
    """

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return (self._family,)


class Metrics:
    """
    The metrics of one broker.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: Gives other work its turns.
        """
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def add(self, reading: Reading) -> None:
        """
        Include a reading from now on.
        """
        self._registry.register(_Collected(reading))

    def families(self) -> Sequence[Family]:
        """
        All metrics with their present values.
        """
        return list(self._registry.collect())

    async def text(self) -> bytes:
        """
        All metrics in Prometheus' text format, with the values of one moment.
        With many topics the text is long, so other work gets a turn between
        two metrics.
        """
        pieces = []
        for family in self.families():
            pieces.append(generate_latest(_Single(family)))
            await deferLater(self._clock, 0)
        return b"".join(pieces)
