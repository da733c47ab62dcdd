"""
Who reads where (KIP-392).

A reader in another rack than the leader's reads from a broker of its own rack,
if there is one that serves: what crosses between racks costs money and time.
Which one of several is the same for all readers of a partition, so that its
records come there once.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.cluster.spread import bid
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Broker, Phase


class Racks:
    """
    The brokers that live at one time, by rack.

    @ivar several: Whether a reader may be nearer to another broker than to a
        leader.
    """

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self._rack_of = {broker.broker_id: broker.rack for broker in brokers}
        self._serving: dict[str, list[Broker]] = {}
        for broker in brokers:
            if broker.rack is not None and broker.phase is Phase.SERVING:
                self._serving.setdefault(broker.rack, []).append(broker)
        self.several = bool(self._serving) and len(set(self._rack_of.values())) > 1
        self._chosen: dict[tuple[str, TopicIdPartition], int] = {}

    def alive(self, broker_id: int) -> bool:
        """
        Whether it is one of them.
        """
        return broker_id in self._rack_of

    def nearest(self, rack: str, where: TopicIdPartition, leader: int) -> int:
        """
        From which broker a reader in this rack should read.

        @param leader: The partition's; whoever is no broker is dead.
        """
        alive = leader in self._rack_of
        if not self.several or (alive and self._rack_of[leader] == rack):
            return leader if alive else -1
        chosen = self._choose(rack, where)
        return leader if chosen == -1 and alive else chosen

    def replicas(self, where: TopicIdPartition, leader: int) -> list[int]:
        """
        The leader, which lives, and the broker to be read from in each other
        rack.
        """
        return [
            leader,
            *(self._choose(rack, where) for rack in self._serving if rack != self._rack_of[leader]),
        ]

    def _choose(self, rack: str, where: TopicIdPartition) -> int:
        serving = self._serving.get(rack, ())
        if len(serving) < 2:
            return serving[0].broker_id if serving else -1
        chosen = self._chosen.get((rack, where))
        if chosen is None:
            name = f"{where[0]}/{where[1]}"
            best = max(serving, key=lambda each: bid(name, each.broker_id, each.weight))
            chosen = self._chosen[rack, where] = best.broker_id
        return chosen
