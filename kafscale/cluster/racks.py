"""
The broker from which a consumer should read, by rack (KIP-392).

A consumer in another rack than the leader reads from a serving broker of its own
rack, if there is one, because traffic between racks costs money and time. If there
are several, all consumers of a partition read from the same one, so that the
records enter the rack once.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.cluster.spread import bid, first_living
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Broker, Phase


class Racks:
    """
    The live brokers at one time, by rack.

    @ivar several: Whether a consumer may be closer to another broker than to the
        leader.
    """

    def __init__(self, brokers: Sequence[Broker]) -> None:
        """
        @param brokers: All live brokers.
        """
        self._rack_of = {broker.broker_id: broker.rack for broker in brokers}
        self._serving: dict[str, list[Broker]] = {}
        for broker in brokers:
            if broker.rack is not None and broker.phase is Phase.SERVING:
                self._serving.setdefault(broker.rack, []).append(broker)
        self.several = bool(self._serving) and len(set(self._rack_of.values())) > 1
        self._chosen: dict[tuple[str, TopicIdPartition], int] = {}

    def alive(self, broker_id: int) -> bool:
        """
        Whether the broker is one of them.
        """
        return broker_id in self._rack_of

    def nearest(
        self, rack: str, where: TopicIdPartition, leader: int, replicas: Sequence[int] = ()
    ) -> int:
        """
        Return the id of the broker from which consumers in a rack should read a partition;
        -1 if there is none.

        @param rack: The rack of the consumer.
        @param where: The partition.
        @param leader: Its leader; an id without a live broker if it has none.
        @param replicas: If any are assigned to it by hand, no others are read from.
        """
        alive = leader in self._rack_of
        if not self.several or (alive and self._rack_of[leader] == rack):
            return leader if alive else -1
        if replicas:
            serving = {broker.broker_id for broker in self._serving.get(rack, ())}
            chosen = first_living(replicas, serving)
        else:
            chosen = self._choose(rack, where)
        return leader if chosen == -1 and alive else chosen

    def replicas(self, where: TopicIdPartition, leader: int) -> list[int]:
        """
        Return the ids of the brokers to read a partition from: the leader, and one broker
        in each other rack.

        @param leader: The leader of the partition, a live broker.
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
