"""
The parameters of a history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from tests.harness.hostile import Operation

#: How often each misfortune is chosen, in proportion.
WEIGHTS: Mapping[str, int] = {
    "crash": 10,
    "power loss": 6,
    "stop": 8,
    "pause": 14,
    "etcd cut": 10,
    "objects cut": 10,
    "clients cut": 8,
    "slow": 8,
    "lease lost": 6,
    "drift": 6,
    "storm": 10,
    "streams broken": 5,
    "compaction": 3,
    "another broker": 4,
}

#: How much goes wrong on links anyway, of which one is chosen.
WEATHERS = ((0.0, 0.0), (0.01, 0.005), (0.03, 0.01))


@attrs.frozen
class Plan:
    """
    @ivar weights: Of misfortunes.
    @ivar pause: Seconds between two, on average.
    @ivar weathers: How much of what changes something goes wrong, and of what
        does not, when there is no storm: one of these.
    @ivar produce: Seconds between two sendings of a producer.
    @ivar racks: How likely brokers and consumers are in racks, from 0 to 1.
    @ivar careless: How likely the object store is one that replaces objects,
        so that brokers are stopped by marks and not by seals.
    @ivar volumes: How likely small segments go together, as in a bucket; where
        the object store is careless they do.
    @ivar moves: How likely an operator assigns replicas by hand.
    @ivar access: How likely brokers ask for rights, and users and ACLs change.
    @ivar producers: How many there are.
    @ivar pairs: How many of those there are whose requests have batches for two partitions.
    @ivar renewals: How likely a producer that has nothing to send ends, and another one
        begins, from 0 to 1.
    @ivar distance: How far clients are from brokers: how many times longer messages take.
    @ivar sweeps: Seconds between two searches for orphans, in which the records of
        incarnations go of which nothing is left.
    @ivar mistaken: How likely the object store refuses an object as existing though it is
        not there, from 0 to 1, until all faults stop.
    @ivar delayed: Returns how many seconds longer an operation of a broker takes to arrive,
        until all faults stop.
    @ivar doomed: Returns after how many seconds a broker gives up an operation that is
        done and never answered; 0 for all others.
    """

    weights: Mapping[str, int] = WEIGHTS
    pause: float = 10.0
    weathers: tuple[tuple[float, float], ...] = WEATHERS
    produce: float = 4.0
    racks: float = 0.2
    careless: float = 0.0
    volumes: float = 0.0
    moves: float = 0.0
    access: float = 0.0
    producers: int = 2
    pairs: int = 0
    renewals: float = 0.1
    distance: float = 1.0
    sweeps: float = 120.0
    mistaken: float = 0.0
    delayed: Callable[[Operation], float] | None = None
    doomed: Callable[[Operation], float] | None = None


STRICT = Plan()
"""Everything, on an object store that does as it should."""

USUAL = Plan(careless=0.15, volumes=0.5, moves=0.5, access=0.25)
"""Everything."""
