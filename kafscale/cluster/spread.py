"""
The assignment of partitions and group shards to brokers.

Each broker computes the same assignment from its image, so brokers need no messages
about it, and it is not stored. It is weighted rendezvous hashing: for each part,
each broker bids a number that depends on the two alone, and the highest bid wins.
So when a broker comes or goes, hardly more parts move than it gains or loses.

Bids alone could assign half the partitions of a small topic to one broker of three.
So each broker has a capacity, in proportion to its weight, and wins no more parts
than that. With racks, capacities are divided among the racks first, and within each
rack among its brokers, so that the loss of a rack affects as few partitions of each
topic as possible.

Parts that are assigned by hand come first, and count in the capacities
(`kafscale.cluster.assignments`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b
from math import floor, log
from types import MappingProxyType
from typing import TypeVar

from kafscale.interfaces import Broker, Phase

K = TypeVar("K", bound=Hashable)


def leaders(
    name: str,
    parts: int,
    brokers: Sequence[Broker],
    replicas: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> Sequence[int]:
    """
    Return for each part the id of the broker that should lead it: one that is not
    leaving; -1 if there is none.

    @param name: The name of what is divided, e.g. a topic id.
    @param parts: The number of parts, e.g. partitions.
    @param brokers: All live brokers.
    @param replicas: The broker ids that are assigned to some of the parts by hand. The
        first that can lead does; if none can, the part is like the others.
    @return: A sequence of C{parts} broker ids.
    """
    staying = [broker for broker in brokers if broker.phase is not Phase.LEAVING]
    if len(staying) < 2:
        return [staying[0].broker_id if staying else -1] * parts
    given = [-1] * parts
    present = {broker.broker_id for broker in staying}
    for part, assigned in replicas.items():
        given[part] = first_living(assigned, present)
    left = _room(name, parts, staying, Counter(given))
    bids = sorted(
        (
            (-bid(f"{name}/{part}", broker.broker_id, broker.weight), part, broker.broker_id)
            for part in range(parts)
            if given[part] < 0
            for broker in staying
        ),
    )
    for _, part, broker_id in bids:
        if given[part] < 0 and left[broker_id]:
            given[part] = broker_id
            left[broker_id] -= 1
    return given


def first_living(replicas: Iterable[int], living: Collection[int]) -> int:
    """
    Return the first of these broker ids that is among the living; -1 if none is.
    """
    return next((broker_id for broker_id in replicas if broker_id in living), -1)


def _room(
    name: str, parts: int, brokers: Sequence[Broker], assigned: Mapping[int, int]
) -> dict[int, int]:
    """
    Return how many parts each broker can have beside those assigned to it by hand.
    A broker with more than its share gets no others, and the rest is divided among
    the other brokers.

    @param assigned: How many parts each broker id has by hand.
    """
    full: dict[int, int] = {}
    while True:
        open_ = [broker for broker in brokers if broker.broker_id not in full]
        shares = _capacities(name, parts - sum(full.values()), open_)
        over = {each: assigned[each] for each in shares if assigned[each] > shares[each]}
        if not over:
            return {**dict.fromkeys(full, 0), **{e: shares[e] - assigned[e] for e in shares}}
        full |= over


def _capacities(name: str, parts: int, brokers: Sequence[Broker]) -> dict[int, int]:
    """
    Return how many parts each broker can have.
    """
    racks: dict[str | None, dict[int, float]] = {}
    for broker in brokers:
        racks.setdefault(broker.rack, {})[broker.broker_id] = broker.weight
    by_rack = apportion(name, parts, {rack: sum(each.values()) for rack, each in racks.items()})
    capacities: dict[int, int] = {}
    for rack, weights in racks.items():
        capacities |= apportion(name, by_rack[rack], weights)
    return capacities


def apportion(name: str, parts: int, weights: Mapping[K, float]) -> dict[K, int]:
    """
    Divide parts in proportion to weights: each key gets its exact proportion, rounded
    down, and the remaining parts go to the highest bids.

    @param name: The name of what is divided; the bids depend on it.
    @param weights: The weight of each key; at least one, all positive.
    @return: The number of parts of each key.
    """
    whole = sum(weights.values())
    exact = {each: parts * weight / whole for each, weight in weights.items()}
    given = {each: floor(part) for each, part in exact.items()}
    bids = sorted(
        weights,
        # In proportion to the remainder, which may be 0.
        key=lambda each: bid(name, each, exact[each] - given[each] + 1e-9),
        reverse=True,
    )
    for each in bids[: parts - sum(given.values())]:
        given[each] += 1
    return given


def bid(item: str, bidder: object, weight: float) -> float:
    """
    Return the bid of a bidder for an item. Of all bidders, each has the highest bid
    with a probability in proportion to its weight (weighted rendezvous hashing).
    """
    digest = blake2b(f"{item} {bidder}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest, "big") + 0.5) / 2**64
    return weight / -log(chance)
