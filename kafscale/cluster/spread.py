"""
Which broker should lead what.

Everyone computes it alike, from what is in the image, so nobody has to be
asked, and nothing has to be stored. It is rendezvous hashing: each broker bids
a number for each partition that depends on nothing but the two, and the
highest bid wins. So when a broker comes or goes only what it wins or leaves
moves.

Bids alone would give one broker of three half the partitions of a small topic.
So each broker first gets a number of a topic's partitions, in proportion to its
weight, and bids until it has them. Where there are racks it is they that get
their numbers first, and each shares its own out to its brokers: so the loss of
a rack stops as little of each topic as can be.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from hashlib import blake2b
from math import floor, log
from typing import TypeVar

from kafscale.interfaces import Broker, Phase

K = TypeVar("K", bound=Hashable)


def leaders(name: str, parts: int, brokers: Sequence[Broker]) -> Sequence[int]:
    """
    For each part of what has that name the id of the broker that should have
    it: one that does not leave, -1 if there is none.

    @param brokers: Those that live.
    """
    staying = [broker for broker in brokers if broker.phase is not Phase.LEAVING]
    if len(staying) < 2:
        return [staying[0].broker_id if staying else -1] * parts
    room = _rooms(name, parts, staying)
    bids = sorted(
        (
            (-bid(f"{name}/{part}", broker.broker_id, broker.weight), part, broker.broker_id)
            for part in range(parts)
            for broker in staying
        ),
    )
    given = [-1] * parts
    for _, part, broker_id in bids:
        if given[part] < 0 and room[broker_id]:
            given[part] = broker_id
            room[broker_id] -= 1
    return given


def _rooms(name: str, parts: int, brokers: Sequence[Broker]) -> dict[int, int]:
    """
    How many parts each broker is to have.
    """
    racks: dict[str | None, dict[int, float]] = {}
    for broker in brokers:
        racks.setdefault(broker.rack, {})[broker.broker_id] = broker.weight
    by_rack = shares(name, parts, {rack: sum(each.values()) for rack, each in racks.items()})
    rooms: dict[int, int] = {}
    for rack, weights in racks.items():
        rooms |= shares(name, by_rack[rack], weights)
    return rooms


def shares(name: str, parts: int, weights: Mapping[K, float]) -> dict[K, int]:
    """
    So many parts shared out in proportion to weights: what each has a right to,
    rounded down, and what is left over to those who bid most for it.
    """
    whole = sum(weights.values())
    exact = {each: parts * weight / whole for each, weight in weights.items()}
    given = {each: floor(share) for each, share in exact.items()}
    bids = sorted(
        weights,
        # In proportion to what rounding took away, which may be nothing.
        key=lambda each: bid(name, each, exact[each] - given[each] + 1e-9),
        reverse=True,
    )
    for each in bids[: parts - sum(given.values())]:
        given[each] += 1
    return given


def bid(what: str, who: object, weight: float) -> float:
    """
    The weighted rendezvous: of all who bid for the same, each has the highest
    with a probability in proportion to its weight.
    """
    digest = blake2b(f"{what} {who}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest, "big") + 0.5) / 2**64
    return weight / -log(chance)
