"""
Tests of `kafscale.cluster.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.records import ClusterRecords
from kafscale.errors import DuplicateResource, ResourceNotFound, StoreUnavailable
from kafscale.format.errors import UnreadableData
from kafscale.format.record import read_record
from kafscale.interfaces import (
    MAX_RECORDS,
    Delete,
    Entry,
    IClusterRecords,
    IMetadataStore,
    Put,
)
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Verdict, let_pass

ONE, TWO = "users/one", "users/two"


@attrs.frozen
class Number:
    """
    A record with one field.
    """

    value: int

    def to_json(self) -> dict[str, Any]:
        """
        As it is stored.
        """
        return {"value": self.value}


def number_of(entry: Entry) -> Number:
    """
    Read a record.
    """
    return read_record("users", entry, lambda value: Number(int(value["value"])))


def put(key: str, value: int) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """
    A change that puts a record.
    """
    return lambda present: {key: Number(value)}


def count(key: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """
    A change that adds one.
    """
    return lambda present: {key: Number(present[key].value + 1 if key in present else 1)}


def create(key: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """
    A change that is refused if the record exists.
    """

    def decide(present: Mapping[str, Any]) -> Mapping[str, Any]:
        if key in present:
            raise DuplicateResource("it exists")
        return {key: Number(0)}

    return decide


def delete(key: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """
    A change that is refused if the record does not exist.
    """

    def decide(present: Mapping[str, Any]) -> Mapping[str, Any]:
        if key not in present:
            raise ResourceNotFound("it does not exist")
        return {key: None}

    return decide


class ClusterRecordsTests(SynchronousTestCase):
    """
    Two brokers with one store; what the first one asks of it can fail.
    """

    def setUp(self) -> None:
        """
        Start both.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.store.close()))
        self.hostile = HostileMetadataStore(self.store)
        self.hostile.policy = let_pass
        self.records = self.started(self.hostile)
        self.others = self.started(self.store)

    def started(self, store: IMetadataStore) -> ClusterRecords:
        """
        The records as a broker has them.
        """
        records = ClusterRecords(store, "users/", number_of)
        now(records.start())
        return records

    def stored(self, key: str = ONE) -> Any:
        """
        The value of an entry, or None.
        """
        entry = now(self.store.get(key))
        return None if entry is None else entry.value["value"]

    def test_interface(self) -> None:
        """
        The object provides its interface.
        """
        self.assertTrue(verifyObject(IClusterRecords, self.records))

    def test_in_force(self) -> None:
        """
        A change is in force on this broker when it is answered, and on others when their
        watches report it; also after a start. Other prefixes are not read.
        """
        now(self.store.commit([], [Put("topics/x", 5), Put("user", 7)]))
        now(self.records.change([ONE, TWO], lambda _: {ONE: Number(1), TWO: Number(2)}))
        for each in (self.records, self.others, self.started(self.store)):
            self.assertEqual(each.records(), {ONE: Number(1), TWO: Number(2)})
            self.assertEqual(each.get(TWO), Number(2))
        now(self.others.change([ONE], delete(ONE)))
        for each in (self.records, self.others, self.started(self.store)):
            self.assertEqual(each.records(), {TWO: Number(2)})
            self.assertIsNone(each.get(ONE))

    def test_one_commit(self) -> None:
        """
        Several records change together, and subscribers learn it in one call, before the
        change is answered.
        """
        calls: list[tuple[Mapping[str, Any], bool]] = []
        changing = begin(self.records.change([ONE], put(ONE, 1)))
        self.successResultOf(changing)
        self.records.on_change(lambda changed: calls.append((changed, changing.called)))
        changing = begin(self.records.change([ONE, TWO], lambda _: {ONE: None, TWO: Number(2)}))
        self.successResultOf(changing)
        self.assertEqual([changed for changed, _ in calls], [{ONE: None, TWO: Number(2)}])

    def test_answered_when_the_watch_has_it(self) -> None:
        """
        The change is not answered before this broker's own watch has reported it.
        """
        self.hostile.holds_changes = True
        changing = begin(self.records.change([ONE], put(ONE, 1)))
        self.assertNoResult(changing)
        self.assertIsNone(self.records.get(ONE))
        self.hostile.tell()
        self.successResultOf(changing)
        self.assertEqual(self.records.get(ONE), Number(1))

    def test_no_effect(self) -> None:
        """
        A change without effect is not committed.
        """
        now(self.records.change([ONE], put(ONE, 1)))
        _, before = now(self.store.range(""))
        now(self.records.change([ONE, TWO], put(ONE, 1)))
        self.assertEqual(now(self.store.range(""))[1], before)

    def test_concurrent(self) -> None:
        """
        A change that another broker was faster with is decided again, whether or not the
        watch has reported that.
        """
        self.hostile.holds_changes = True
        now(self.others.change([ONE], count(ONE)))
        changing = begin(self.records.change([ONE], count(ONE)))
        self.hostile.tell()
        self.successResultOf(changing)
        self.assertEqual(self.stored(), 2)
        self.assertEqual(self.records.get(ONE), Number(2))

    def test_refused_of_the_present(self) -> None:
        """
        A change is refused for what the store has, not for what this broker knew of it.
        """
        self.hostile.holds_changes = True
        now(self.others.change([ONE], put(ONE, 1)))
        changing = begin(self.records.change([ONE], delete(ONE)))
        self.hostile.tell()
        self.successResultOf(changing)
        self.assertIsNone(self.stored())
        self.assertRaises(ResourceNotFound, now, self.records.change([ONE], delete(ONE)))

    def test_answer_lost(self) -> None:
        """
        A commit whose answer was lost is not made twice, and not refused for what it has
        done itself; one that was not done is repeated.
        """
        for verdict in (Verdict.FAIL, Verdict.FAIL_BUT_APPLY):
            for expected, change in ((0, create(ONE)), (1, count(ONE)), (None, delete(ONE))):
                self.hostile.policy = None
                changing = begin(self.records.change([ONE], change))
                self.hostile.pending[0].decide(verdict)
                self.hostile.policy = let_pass
                for operation in list(self.hostile.pending):
                    operation.succeed()
                self.successResultOf(changing)
                self.assertEqual(self.stored(), expected)

    def test_done_late(self) -> None:
        """
        A commit that the store does later, after its repetition, does nothing.
        """
        self.hostile.policy = None
        changing = begin(self.records.change([ONE], count(ONE)))
        late = self.hostile.pending[0].fail_and_apply_later()
        self.hostile.policy = let_pass
        for operation in list(self.hostile.pending):
            operation.succeed()
        self.successResultOf(changing)
        late.apply()
        self.assertEqual(self.stored(), 1)

    def test_created_late(self) -> None:
        """
        A commit that creates a record, and that the store does when the record has been
        created by another attempt and deleted again, does nothing.
        """
        for broker in (self.records, self.others):
            self.hostile.policy = None
            changing = begin(self.records.change([ONE], put(ONE, 1)))
            late = self.hostile.pending[0].fail_and_apply_later()
            self.hostile.policy = let_pass
            for operation in list(self.hostile.pending):
                operation.succeed()
            self.successResultOf(changing)
            now(broker.change([ONE], delete(ONE)))
            late.apply()
            self.assertIsNone(self.stored())
            for each in (self.records, self.others, self.started(self.store)):
                self.assertEqual(each.records(), {})

    def test_many(self) -> None:
        """
        As many records as a change may be about are created and deleted.
        """
        keys = [f"users/{number}" for number in range(MAX_RECORDS)]
        for wanted in (Number(1), None, Number(2), None):
            changes = dict.fromkeys(keys, wanted)
            now(self.records.change(keys, lambda _, changes=changes: changes))  # type: ignore[misc]
            self.assertEqual(self.others.records(), {} if wanted is None else changes)

    def test_deleted_by_hand(self) -> None:
        """
        An operator who deletes all keys with the prefix deletes all records, and changes
        can be made again, whether or not the watch has reported that.
        """
        for watches in (True, False):
            now(self.records.change([ONE, TWO], lambda _: {ONE: Number(1), TWO: Number(2)}))
            now(self.records.change([TWO], delete(TWO)))
            self.hostile.holds_changes = not watches
            now(self.store.commit([], [Delete(ONE), Delete("users/")]))
            self.assertEqual(self.others.records(), {})
            self.assertEqual(self.records.records(), {} if watches else {ONE: Number(1)})
            changing = begin(self.records.change([TWO], create(TWO)))
            self.hostile.tell()
            self.hostile.holds_changes = False
            self.successResultOf(changing)
            for each in (self.records, self.others):
                self.assertEqual(each.records(), {TWO: Number(0)})
            now(self.records.change([TWO], delete(TWO)))

    def test_unavailable(self) -> None:
        """
        Without the store a change fails, and the records stay as they are known.
        """
        now(self.records.change([ONE], put(ONE, 1)))
        self.hostile.policy = lambda operation: operation.fail()
        for change in (put(ONE, 2), put(ONE, 1), create(ONE)):
            self.assertRaises(StoreUnavailable, now, self.records.change([ONE], change))
        self.assertEqual(self.records.get(ONE), Number(1))

    def test_old_report(self) -> None:
        """
        What a refresh has shown is not undone by reports of the watch that come late.
        """
        self.hostile.holds_changes = True
        now(self.others.change([ONE], put(ONE, 1)))
        now(self.others.change([ONE, TWO], lambda _: {ONE: None, TWO: Number(2)}))
        self.assertRaises(DuplicateResource, now, self.records.change([TWO], create(TWO)))
        self.assertEqual(self.records.records(), {TWO: Number(2)})
        calls: list[Mapping[str, Any]] = []
        self.records.on_change(calls.append)
        self.hostile.tell()
        self.assertEqual((self.records.records(), calls), ({TWO: Number(2)}, []))

    def test_unreadable(self) -> None:
        """
        A record that is changed by hand into something else is logged, keeps its last value
        and is not changed until it can be read; others go on.
        """
        now(self.records.change([ONE], put(ONE, 1)))
        now(self.store.commit([], [Put(ONE, {"other": 1}), Put(TWO, {"value": 2})]))
        self.assertEqual(self.records.records(), {ONE: Number(1), TWO: Number(2)})
        self.failureResultOf(begin(self.records.change([ONE], put(ONE, 3))), UnreadableData)
        now(self.store.commit([], [Delete(ONE)]))
        self.assertEqual(self.records.records(), {TWO: Number(2)})
        now(self.records.change([ONE], put(ONE, 3)))
        self.assertEqual(self.records.records(), {ONE: Number(3), TWO: Number(2)})

    def test_subscriber_fails(self) -> None:
        """
        A subscriber that fails is logged, and keeps neither others nor the change from
        going on.
        """

        def fail(changed: Mapping[str, Any]) -> None:
            raise ZeroDivisionError

        calls: list[Mapping[str, Any]] = []
        self.records.on_change(fail)
        self.records.on_change(calls.append)
        now(self.records.change([ONE], put(ONE, 1)))
        self.assertEqual(calls, [{ONE: Number(1)}])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopped(self) -> None:
        """
        A broker that has stopped follows no more.
        """
        self.records.stop()
        now(self.others.change([ONE], put(ONE, 1)))
        self.assertEqual(self.records.records(), {})
        self.assertEqual(self.records.behind(), 0.0)
        self.assertRaises(StoreUnavailable, now, self.records.change([ONE], put(ONE, 2)))
