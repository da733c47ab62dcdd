"""
All metrics of a broker, as Prometheus reads them.

There is a registry for each broker and nothing global, so that a process, or
a test, may have several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from kafscale.ops.readings import Reading

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of what L{Metrics.text} returns."""


class _Collected(Collector):
    """
    One of our readings, as prometheus-client wants it.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterable[Family]:
        return self._reading()

    def describe(self) -> Iterable[Family]:
        return ()  # the catalogue, and a test, see to it that no name comes twice


class _Single(Collector):
    """
    One family by itself.
    """

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return (self._family,)


class Metrics:
    """
    What is told of one process.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def add(self, reading: Reading) -> None:
        """
        Tell this, too, from now on.
        """
        self._registry.register(_Collected(reading))

    def families(self) -> Sequence[Family]:
        """
        Everything, as it is now.
        """
        return list(self._registry.collect())

    async def text(self) -> bytes:
        """
        Everything in Prometheus' text format, as it was at one moment. With
        many topics it is long: other work gets its turn between two metrics.
        """
        pieces = []
        for family in self.families():
            pieces.append(generate_latest(_Single(family)))
            await deferLater(self._clock, 0)
        return b"".join(pieces)
