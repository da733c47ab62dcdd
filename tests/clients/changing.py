"""
Administrators that change users, ACLs and quotas all the time, and know what must hold.

Each L{Kind} has some keys, and each key a number, from which follows what a broker
describes and what clients may do: the number of a credential is in its iterations and
in its password, so a credential of which only a part was changed lets nobody in.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any, ClassVar, TypeAlias

from kafscale.access.authentication.scram import MECHANISMS, MIN_ITERATIONS
from kafscale.format.acl import Operation, PatternType, Permission, ResourceType
from kafscale.wire.messages import (
    AlterClientQuotasRequest,
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest,
    ProduceRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from tests.access.authentication.scram_client import ScramClient
from tests.clients.broker import eventually
from tests.clients.cluster import ClusterBroker
from tests.clients.raw import RawClient, batch_of

TOPICS = ("bills", "orders")
GUESTS = {"iris": "iris-secret", "rose": "rose-secret"}
"""Users and passwords that stay: the ACLs are about these."""

SOON = 30.0
"""Seconds after which every broker must have a change. It takes milliseconds; the rest is
for machines with more to do than they can."""

_NUMBERS = 8000
"""Numbers begin anew after so many."""

Values: TypeAlias = "Mapping[Any, int | None]"
"""Numbers by their keys; None: there is no such credential, ACL or quota."""


def log_in(port: int, name: str, password: str, mechanism: str) -> RawClient | None:
    """
    A connection on which a user has logged in; None if the user is refused.
    """
    client = RawClient(port)
    exchange = ScramClient(MECHANISMS[mechanism], name, password, nonce=os.urandom(12).hex())
    assert client.call(SaslHandshakeRequest(mechanism=mechanism), 1).error_code == 0
    answer = client.call(SaslAuthenticateRequest(auth_bytes=exchange.first()), 2)
    final = exchange.final(bytes(answer.auth_bytes))
    answer = client.call(SaslAuthenticateRequest(auth_bytes=final), 2)
    if answer.error_code:
        assert answer.error_code == 58, answer
        client.close()
        return None
    assert bytes(answer.auth_bytes) == exchange.expected
    return client


def sasl_port(broker: ClusterBroker) -> int:
    """
    The port of a broker at which users log in.
    """
    return int(str(broker.settings["listeners"]).rpartition(":")[2])


def produce(client: RawClient, topic: str, size: int = 1) -> tuple[int, int]:
    """
    The error of a produce request with one record, and the time for which the client is
    slowed down, in ms.
    """
    request: ProduceRequest = client.produce_request(topic, 0, batch_of([bytes(size)]))
    answer = client.call(request, 9)
    return answer.responses[0].partition_responses[0].error_code, answer.throttle_time_ms


class Kind:
    """
    A kind of what is changed.

    @cvar keys: All of its keys.
    """

    keys: ClassVar[Sequence[Any]]

    def choose(self, chance: Random, next_number: Callable[[], int]) -> dict[Any, int | None]:
        """
        Some keys, and what they are changed to in one request.
        """
        some = chance.sample(self.keys, chance.randint(1, len(self.keys) // 2))
        return {key: None if chance.random() < 0.2 else next_number() for key in some}

    def alter(self, admin: RawClient, changes: Values) -> dict[Any, int]:
        """
        Ask for changes in one request; the error of each, by its key.
        """
        raise NotImplementedError

    def describe(self, admin: RawClient) -> dict[Any, Any]:
        """
        What a broker describes of the kind: numbers by keys. What is of no number that
        was ever asked for stands there as it is.
        """
        raise NotImplementedError

    def try_out(self, broker: ClusterBroker, values: Values, keys: Collection[Any]) -> None:
        """
        Do what shows whether some values are in force on a broker.

        @param values: All that are known for certain.
        @param keys: Whose values are tried out.

        @raise AssertionError: one is not.
        @raise OSError: the broker was killed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """
        Close the connections for trying out.
        """


class Credentials(Kind):
    """
    SCRAM credentials: keys are pairs of user and mechanism. A request changes several
    users, each in a commit of its own.
    """

    _USERS = ("ann", "ben", "cleo", "dora")
    keys: ClassVar = [(name, mechanism) for name in _USERS for mechanism in MECHANISMS]

    def choose(self, chance: Random, next_number: Callable[[], int]) -> dict[Any, int | None]:
        """
        One mechanism of a user at most: a request must not have more.
        """
        chosen = super().choose(chance, next_number)
        one_of_each = {name: (name, mechanism) for name, mechanism in chosen}
        return {key: chosen[key] for key in one_of_each.values()}

    def alter(self, admin: RawClient, changes: Values) -> dict[Any, int]:
        """
        See L{Kind.alter}. To delete what is not there is no error here.
        """
        asked = AlterUserScramCredentialsRequest
        deletions, upsertions = [], []
        for (name, mechanism), number in changes.items():
            if number is None:
                number_of = MECHANISMS[mechanism].number
                deletions.append(asked.Deletion(name=name, mechanism=number_of))
            else:
                upsertions.append(upsertion(name, mechanism, password(name, number), number))
        answer = admin.call(asked(deletions=deletions, upsertions=upsertions), 0)
        errors = {each.user: each.error_code for each in answer.results}
        return {
            (name, mechanism): 0 if (errors[name], number) == (91, None) else errors[name]
            for (name, mechanism), number in changes.items()
        }

    def describe(self, admin: RawClient) -> dict[Any, Any]:
        """
        See L{Kind.describe}.
        """
        answer = admin.call(DescribeUserScramCredentialsRequest(users=None), 0)
        mechanisms = {each.number: name for name, each in MECHANISMS.items()}
        return {
            (each.user, mechanisms[info.mechanism]): info.iterations - MIN_ITERATIONS
            for each in answer.results
            for info in each.credential_infos
            if each.user not in GUESTS
        }

    def try_out(self, broker: ClusterBroker, values: Values, keys: Collection[Any]) -> None:
        """
        Each user can log in by the password of its number, and by no other.
        """
        for name, mechanism in keys:
            number = values[name, mechanism]
            for tried in (number, (number or 0) + 1):
                if tried is None:
                    continue
                secret = password(name, tried)
                client = log_in(sasl_port(broker), name, secret, mechanism)
                told = f"{name} by {mechanism} with {secret} at broker {broker.broker_id}"
                assert (client is not None) == (tried == number), f"{told}: {client}"
                if client is not None:
                    client.close()


def password(name: str, number: int) -> str:
    """
    The password of a credential with this number.
    """
    return f"{name}-{number}"


def upsertion(name: str, mechanism_name: str, secret: str, number: int) -> Any:
    """
    A part of a request that sets a credential.
    """
    mechanism = MECHANISMS[mechanism_name]
    salt, iterations = os.urandom(16), MIN_ITERATIONS + number
    salted = hashlib.pbkdf2_hmac(mechanism.hash, secret.encode(), salt, iterations)
    return AlterUserScramCredentialsRequest.Upsertion(
        name=name,
        mechanism=mechanism.number,
        iterations=iterations,
        salt=salt,
        salted_password=salted,
    )


class Acls(Kind):
    """
    ACLs about writing: keys are guest, topic and permission, and the number is 1. A request
    creates several, or deletes several.
    """

    keys: ClassVar = [
        (guest, topic, permission)
        for guest in GUESTS
        for topic in TOPICS
        for permission in (Permission.ALLOW, Permission.DENY)
    ]

    def __init__(self) -> None:
        self._guests: dict[tuple[int, str], RawClient] = {}

    def choose(self, chance: Random, next_number: Callable[[], int]) -> dict[Any, int | None]:
        """
        All of them are created, or all deleted.
        """
        number = chance.choice((1, None))
        return dict.fromkeys(super().choose(chance, next_number), number)

    def alter(self, admin: RawClient, changes: Values) -> dict[Any, int]:
        """
        See L{Kind.alter}.
        """
        results: Sequence[Any]
        if all(changes.values()):
            creations = [
                CreateAclsRequest.Creation(
                    resource_type=ResourceType.TOPIC,
                    resource_name=topic,
                    principal=f"User:{guest}",
                    host="*",
                    operation=Operation.WRITE,
                    permission_type=permission,
                )
                for guest, topic, permission in changes
            ]
            results = admin.call(CreateAclsRequest(creations=creations), 3).results
        else:
            filters = [
                DeleteAclsRequest.Filter(
                    resource_type_filter=ResourceType.TOPIC,
                    resource_name_filter=topic,
                    principal_filter=f"User:{guest}",
                    host_filter=None,
                    operation=Operation.WRITE,
                    permission_type=permission,
                )
                for guest, topic, permission in changes
            ]
            results = admin.call(DeleteAclsRequest(filters=filters), 3).filter_results
        return {
            key: each.error_code for key, each in zip(changes, results, strict=True)
        }

    def describe(self, admin: RawClient) -> dict[Any, Any]:
        """
        See L{Kind.describe}.
        """
        anything = DescribeAclsRequest(
            resource_type_filter=ResourceType.ANY,
            resource_name_filter=None,
            pattern_type_filter=PatternType.ANY,
            principal_filter=None,
            host_filter=None,
            operation=Operation.ANY,
            permission_type=Permission.ANY,
        )
        return {
            (each.principal.removeprefix("User:"), resource.resource_name, each.permission_type): 1
            for resource in admin.call(anything, 3).resources
            for each in resource.acls
        }

    def try_out(self, broker: ClusterBroker, values: Values, keys: Collection[Any]) -> None:
        """
        A guest may write to a topic where that is allowed and not denied, on a connection
        that is open already.
        """
        for guest, topic in {(guest, topic): None for guest, topic, _ in keys}:
            both = [(guest, topic, each) for each in (Permission.ALLOW, Permission.DENY)]
            if not values.keys() >= set(both):
                continue
            allow, deny = (values[each] for each in both)
            try:
                code, _ = produce(self._guest(broker, guest), topic)
            except OSError:
                self._guests.pop((broker.broker_id, guest)).close()
                raise
            told = f"{guest} to {topic} at broker {broker.broker_id}: {code} with {allow=}, {deny=}"
            assert (code == 29) == (deny == 1 or allow is None), told

    def close(self) -> None:
        """
        See L{Kind.close}.
        """
        for client in self._guests.values():
            client.close()
        self._guests.clear()

    def _guest(self, broker: ClusterBroker, guest: str) -> RawClient:
        where = broker.broker_id, guest
        if where not in self._guests:
            client = log_in(sasl_port(broker), guest, GUESTS[guest], "SCRAM-SHA-256")
            assert client is not None, f"{guest} cannot log in"
            self._guests[where] = client
        return self._guests[where]


class Quotas(Kind):
    """
    Quotas of client ids: two values each, which are changed together. If the number is
    odd a client can write next to nothing, otherwise as much as it likes. A request
    changes several.
    """

    keys: ClassVar = ["north", "south", "east", "west"]

    def alter(self, admin: RawClient, changes: Values) -> dict[Any, int]:
        """
        See L{Kind.alter}.
        """
        entry = AlterClientQuotasRequest.Entry
        entries = [
            entry(
                entity=[entry.Entity(entity_type="client-id", entity_name=name)],
                ops=[
                    entry.Op(key=key, value=rate(number or 0), remove=number is None)
                    for key in ("producer_byte_rate", "consumer_byte_rate")
                ],
            )
            for name, number in changes.items()
        ]
        answer = admin.call(AlterClientQuotasRequest(entries=entries, validate_only=False), 1)
        return {each.entity[0].entity_name: each.error_code for each in answer.entries}

    def describe(self, admin: RawClient) -> dict[Any, Any]:
        """
        See L{Kind.describe}.
        """
        answer = admin.call(DescribeClientQuotasRequest(components=[], strict=False), 1)
        found: dict[Any, Any] = {}
        for each in answer.entries:
            values = {value.key: value.value for value in each.values}
            one, *others = values.values()
            number = int(one if one % 2 else one / _MUCH)
            whole = others == [one] and rate(number) == one
            found[each.entity[0].entity_name] = number if whole else values
        return found

    def try_out(self, broker: ClusterBroker, values: Values, keys: Collection[Any]) -> None:
        """
        A client that writes much is slowed down if its quota is small.
        """
        for name in keys:
            number = values[name]
            with RawClient(broker.port, client_id=name) as client:
                _, throttled = produce(client, TOPICS[0], 100_000)
            told = f"{name} at broker {broker.broker_id}: {throttled} ms, and has {number}"
            assert (throttled > 0) == bool(number and number % 2), told


_MUCH = 1e9


def rate(number: int) -> float:
    """
    The quota with this number, in bytes a second.
    """
    return float(number) if number % 2 else number * _MUCH


class Changing(threading.Thread):
    """
    Changes one kind at one broker after the other, until it is stopped. After each
    acknowledgement the change must be in force on the broker that has answered, and soon
    on the others.

    @ivar kind: What it changes.
    @ivar turn: Held during a change, and by whoever wants none to happen.
    @ivar seconds: How long it took until the other brokers had what was acknowledged, for
        most requests; with what is left of their starts.
    @ivar doubts: How many requests were not acknowledged.
    @ivar outcomes: How often a change that was not acknowledged was made, and how often
        not.
    @ivar wrong: Why it has ended by itself.
    """

    def __init__(self, kind: Kind, brokers: Sequence[ClusterBroker], seed: int) -> None:
        super().__init__(daemon=True)
        self.kind = kind
        self.turn = threading.Lock()
        self._asking: tuple[int, float] | None = None  # a broker, and since when
        self.seconds: list[float] = []
        self.doubts = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: BaseException | None = None
        # What each may be: more than one number while a change is not acknowledged.
        self._possible: dict[Any, list[int | None]] = {key: [None] for key in kind.keys}
        self._chance = Random(f"{seed} {type(kind).__name__}")
        self._numbers = count()
        self._brokers = brokers
        self._clients: dict[int, RawClient] = {}
        self._spread = True  # all brokers that run have all that was acknowledged
        self._running = True

    def stop(self) -> None:
        """
        Change no more.
        """
        self._running = False
        self.join(60)
        self._close()

    def run(self) -> None:
        """
        Change.
        """
        try:
            while self._running:
                with self.turn:
                    self._change()
                time.sleep(0.001)  # who waits for the turn gets it
        except BaseException as wrong:
            self.wrong = wrong

    def has_asked(self, broker: ClusterBroker, seconds: float) -> bool:
        """
        Whether it has been asking a broker for a change for so long, or longer.
        """
        asking = self._asking
        return (
            asking is not None
            and asking[0] == broker.broker_id
            and asking[1] + seconds <= time.monotonic()
        )

    def settle(self) -> None:
        """
        What was acknowledged is in force on all brokers, and of what was not all brokers
        have the same. Called with C{turn}, while all brokers run.
        """
        self._close()  # some are to brokers that were killed
        described: list[dict[Any, Any]] = []

        def agree() -> bool:
            described[:] = [self._described(each) for each in self._brokers]
            return all(each == described[0] and self._may_be(each) for each in described)

        try:
            eventually(agree, SOON)
        except AssertionError:
            raise AssertionError(f"described: {described}; possible: {self._possible}") from None
        found = described[0]
        for key, numbers in self._possible.items():
            if len(set(numbers)) > 1:
                self.outcomes["not made" if found.get(key) == numbers[0] else "made"] += 1
            self._possible[key] = [found.get(key)]
        for broker in self._brokers:
            self.kind.try_out(broker, self._certain(), self.kind.keys)
        self._spread = True

    def _change(self) -> None:
        broker = self._chance.choice(self._brokers)
        changes = self.kind.choose(self._chance, lambda: 1 + next(self._numbers) % _NUMBERS)
        if self._chance.random() < 0.8:  # what is in doubt mostly stays so, to be seen
            changes = {key: each for key, each in changes.items() if key in self._certain()}
        try:
            admin = self._client(broker)
        except OSError:  # it was killed
            time.sleep(0.02)
            return
        for key, number in changes.items():
            self._possible[key].append(number)
        self._asking = broker.broker_id, time.monotonic()
        try:
            errors = self.kind.alter(admin, changes) if changes else {}
        except OSError:
            self.doubts += 1
            self._drop(broker)
            return
        finally:
            self._asking = None
        assert not any(errors.values()), f"broker {broker.broker_id}: {errors}"
        self._possible |= {key: [number] for key, number in changes.items()}
        begun = time.monotonic()
        self._is_in_force(broker, changes)
        self._spread = self._chance.random() < 0.7
        if self._spread:
            for other in self._brokers:
                if other is not broker:
                    self._follows(other)
            self.seconds.append(time.monotonic() - begun)

    def _is_in_force(self, broker: ClusterBroker, changes: Mapping[Any, int | None]) -> None:
        """
        The broker that has answered has the changes at once.
        """
        known = self._certain() if self._spread else changes
        try:
            found = self._described(broker)
            assert all(found.get(key) == known[key] for key in known), self._told(broker, found)
            self.kind.try_out(broker, known, changes)
        except OSError:  # it was killed since
            self._drop(broker)

    def _follows(self, broker: ClusterBroker) -> None:
        """
        A broker has what was acknowledged soon, unless it is killed. One that is being
        started answers when it has it.
        """
        try:
            found = self._described(broker)
            until = time.monotonic() + SOON
            while not self._may_be(found):
                assert time.monotonic() < until, self._told(broker, found)
                time.sleep(0.005)
                found = self._described(broker)
        except OSError:
            self._drop(broker)

    def _told(self, broker: ClusterBroker, found: Mapping[Any, Any]) -> str:
        return f"broker {broker.broker_id} has {found}, and may have {self._possible}"

    def _may_be(self, found: Mapping[Any, Any]) -> bool:
        """
        Whether a broker may describe this, and has nothing else.
        """
        return found.keys() <= self._possible.keys() and all(
            found.get(key) in numbers for key, numbers in self._possible.items()
        )

    def _certain(self) -> dict[Any, int | None]:
        return {key: each[0] for key, each in self._possible.items() if len(each) == 1}

    def _described(self, broker: ClusterBroker) -> dict[Any, Any]:
        return self.kind.describe(self._client(broker))

    def _client(self, broker: ClusterBroker) -> RawClient:
        client = self._clients.get(broker.broker_id)
        if client is None:
            client = self._clients[broker.broker_id] = RawClient(broker.port)
        return client

    def _close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self.kind.close()

    def _drop(self, broker: ClusterBroker) -> None:
        client = self._clients.pop(broker.broker_id, None)
        if client is not None:
            client.close()
