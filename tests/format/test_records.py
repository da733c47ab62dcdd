"""
Entries of the metadata store, there and back.
"""

from __future__ import annotations

import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import StoreError
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import (
    BUCKET,
    LevelsRecord,
    StoreRecord,
    read_claim,
    read_milestone,
    write_claim,
    write_milestone,
    write_probe_record,
)
from kafscale.format.delegation_token import DelegationTokenRecord
from kafscale.format.errors import CorruptObject, CorruptRecord, NewerFormat
from kafscale.format.group import GroupRecord, MemberRecord, ShardRecord
from kafscale.format.incarnation import (
    IncarnationRecord,
    JournalRecord,
    SealRecord,
    needed_slots,
)
from kafscale.format.levels import highest_level
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import PartitionRecord
from kafscale.format.topic import NameRecord, Reassignment, TombstoneRecord, TopicRecord
from kafscale.format.transactional_id import TransactionalIdRecord, TransactionState
from kafscale.format.user import ScramCredential, UserRecord
from kafscale.interfaces import Entry
from tests.format.entries import (
    ACL,
    QUOTAS,
    RECORDS,
    SINGLE,
    WHOLE,
    Record,
    reader_of,
    text_of,
)
from tests.format.golden import LEVELS, SETS, read

TOPIC = UUID("0828a36b-12d3-45d3-a145-2ad2cf97bb89")
OTHER = UUID("6d4f7a0e-93c1-4b6f-8a52-0c8f1b7d2e34")


EXAMPLES: dict[str, tuple[Record, str]] = {
    "brokers/0": (
        BrokerRecord("127.0.0.1", 9092, None, 1.0, "0.1.0", 15, "serving"),
        '{"host":"127.0.0.1","port":9092,"rack":null,"weight":1.0,"version":"0.1.0",'
        '"incarnation":15,"phase":"serving"}',
    ),
    "brokers/1": (
        BrokerRecord("h", 9092, "r", 0.5, "0.2.0", 16, "starting", {"segment": 1}),
        '{"host":"h","port":9092,"rack":"r","weight":0.5,"version":"0.2.0",'
        '"incarnation":16,"phase":"starting","levels":{"segment":1}}',
    ),
    "brokers/2": (
        BrokerRecord("h", 1, None, 1.0, "0.2.0", 17, "serving", {}, (("A", "h", 1), ("B", "i", 2))),
        '{"host":"h","port":1,"rack":null,"weight":1.0,"version":"0.2.0","incarnation":17,'
        '"phase":"serving","listeners":[["A","h",1],["B","i",2]]}',
    ),
    "incarnations/00000000000000000015": (IncarnationRecord(0), '{"broker":0,"trim":0}'),
    "incarnations/00000000000000000016": (
        IncarnationRecord(0, 7, wound_up=True, fencing="metadata"),
        '{"broker":0,"trim":7,"fencing":"metadata","wound_up":true}',
    ),
    "incarnations/00000000000000000017": (
        IncarnationRecord(0, 7, guarded=True, wound_up=True, fencing="metadata"),
        '{"broker":0,"trim":7,"level":1,"fencing":"metadata","wound_up":true}',
    ),
    "seals/00000000000000000015": (SealRecord(16, 1), '{"sealed_at":1,"by":16}'),
    "seals/00000000000000000016": (SealRecord(17), '{"by":17}'),
    "journals/00000000000000000015": (JournalRecord(17), '{"stored":17}'),
    "levels": (
        LevelsRecord({"segment": 2, "slot": 1}, {"segment": 1}),
        '{"required":{"segment":2,"slot":1},"in_force":{"segment":1}}',
    ),
    "store": (
        StoreRecord(BUCKET, "default", "logs"),
        '{"kind":"bucket","namespace":"default","bucket":"logs"}',
    ),
    "names/clicks": (NameRecord(TOPIC), f'{{"topic_id":"{TOPIC}"}}'),
    f"topics/{TOPIC}": (
        TopicRecord("clicks", 2, {"retention.ms": "3600000"}, 1795262952752),
        '{"name":"clicks","partitions":2,"configs":{"retention.ms":"3600000"},'
        '"created_ms":1795262952752}',
    ),
    f"topics/{OTHER}": (
        TopicRecord(
            "hot",
            2,
            {},
            1795262952752,
            {0: (2, 0), 1: (0, 1)},
            {1: Reassignment((2,), 4), 0: Reassignment((), 0)},
        ),
        '{"name":"hot","partitions":2,"configs":{},"created_ms":1795262952752,"level":1,'
        '"replicas":[[0,[2,0]],[1,[0,1]]],"reassignments":[[0,[],0],[1,[2],4]]}',
    ),
    f"tombstones/{TOPIC}": (
        TombstoneRecord("gone", 1, 1795262952801),
        '{"name":"gone","partitions":1,"deleted_ms":1795262952801}',
    ),
    f"partitions/{TOPIC}/0000000000": (
        PartitionRecord(0, 15, 1, 2, 0, 0, 0, 263, ((0, 0), (1, 2)), ((15, 1),)),
        '{"leader":0,"incarnation":15,"epoch":1,"rolled_to":2,"log_start":0,'
        '"first_segment":0,"last_segment":0,"stored_bytes":263,'
        '"epochs":[[0,0],[1,2]],"journals":[[15,1]]}',
    ),
    "acls/892a196b616008c5a68e0309bc0a237d": (
        ACL,
        '{"resource":"TOPIC","name":"clicks","pattern":"LITERAL","principal":"User:alice",'
        '"host":"*","operation":"READ","permission":"ALLOW"}',
    ),
    "users/a%2Fb": (
        UserRecord(
            {
                "SCRAM-SHA-512": ScramCredential(b"salt", 8192, b"stored", b"server"),
                "SCRAM-SHA-256": ScramCredential(b"\0", 4096, b"\1", b"\2"),
            }
        ),
        '{"credentials":["SCRAM-SHA-256$4096:AA==$AQ==:Ag==",'
        '"SCRAM-SHA-512$8192:c2FsdA==$c3RvcmVk:c2VydmVy"]}',
    ),
    "delegation-tokens/22222222-2222-4222-8222-222222222222": (
        DelegationTokenRecord(
            ("User", "alice"),
            ("User", "admin"),
            (("User", "bob"),),
            1795262952752,
            1795867752752,
            1795349352752,
        ),
        '{"owner":["User","alice"],"requester":["User","admin"],"renewers":[["User","bob"]],'
        '"issued_ms":1795262952752,"max_ms":1795867752752,"expires_ms":1795349352752}',
    ),
    "quotas/9494bfb1df3cd7c3283f29e07d22ec45": (
        QUOTAS,
        '{"entity":[["client-id",null],["user","alice"]],'
        '"values":{"producer_byte_rate":1048576.0}}',
    ),
    "group-shards/14": (ShardRecord(15, 12, 31), '{"owner":15,"since":12,"sequence":31}'),
    "groups/14/orders": (
        GroupRecord(
            3,
            "consumer",
            "range",
            "app-1",
            1795262953120,
            (
                MemberRecord(
                    "app-1", None, "app", "/127.0.0.1", 45000, 300000, (("range", b"\0"),), b"\1"
                ),
            ),
        ),
        '{"generation":3,"type":"consumer","protocol":"range","leader":"app-1",'
        '"since_ms":1795262953120,"members":[{"id":"app-1","instance":null,"client":"app",'
        '"host":"/127.0.0.1","session_ms":45000,"rebalance_ms":300000,'
        '"protocols":[["range","AA=="]],"assignment":"AQ=="}]}',
    ),
    f"offsets/14/orders/{TOPIC}/0000000000": (
        CommittedOffset(42, 1, "note", 1795262953188),
        '{"offset":42,"epoch":1,"metadata":"note","at_ms":1795262953188}',
    ),
    f"offsets/14/orders/{TOPIC}/0000000001": (
        CommittedOffset(42, 1, "", 1795262953188, 1795262953189),
        '{"offset":42,"epoch":1,"metadata":"","at_ms":1795262953188,'
        '"expires_ms":1795262953189}',
    ),
    "transactional-ids/14/orders": (
        TransactionalIdRecord(14003, 0, 60000),
        '{"producer_id":14003,"epoch":0,"timeout_ms":60000,"state":"Empty","number":0,'
        '"began_ms":-1,"changed_ms":-1}',
    ),
    "transactional-ids/14/payments": (
        TransactionalIdRecord(
            15020,
            0,
            60000,
            TransactionState.PREPARE_ABORT,
            7,
            1795262953188,
            1795262953290,
            (14003, 32766),
            (14003, 32767),
            frozenset({(TOPIC, 2), (OTHER, 0), (TOPIC, 0)}),
            frozenset({"b", "a"}),
        ),
        '{"producer_id":15020,"epoch":0,"timeout_ms":60000,"state":"PrepareAbort","number":7,'
        '"began_ms":1795262953188,"changed_ms":1795262953290,"previous":[14003,32766],'
        f'"ending":[14003,32767],"partitions":[["{TOPIC}",[0,2]],["{OTHER}",[0]]],'
        '"groups":["a","b"]}',
    ),
}


class RecordTests(SynchronousTestCase):
    """
    Each kind of entry.
    """

    def test_layout(self) -> None:
        """
        Values are stored as they always were, field by field and in this order.
        """
        for key, (record, text) in EXAMPLES.items():
            with self.subTest(key=key):
                self.assertEqual(text_of(record.to_json()), text)
                read_one = reader_of(key)
                self.assertEqual(read_one(Entry(key, json.loads(text), 1)), record)

    def test_all_kinds(self) -> None:
        """
        There is an example of each kind.
        """
        kinds = {key if key in WHOLE else metadata_keys.kind_of(key) for key in EXAMPLES}
        self.assertEqual(kinds, RECORDS.keys() | WHOLE.keys())

    def test_golden(self) -> None:
        """
        Every entry of the golden data is read, and put again as it was.
        """
        sets = [(level, name) for level in LEVELS for name in SETS]
        for entry in [each for level, name in sets for each in read(name, level).entries()]:
            value = json.loads(entry.value)
            stored = Entry(entry.key, value, entry.revision)
            kind = metadata_keys.kind_of(entry.key)
            if kind in RECORDS or entry.key in WHOLE:
                again: object = reader_of(entry.key)(stored).to_json()
            elif entry.key in SINGLE:
                again = SINGLE[entry.key](stored)
            else:
                self.assertEqual(entry.key, metadata_keys.LAST_INCARNATION)
                again = value
            self.assertEqual(text_of(again), text_of(value), entry.key)

    def test_unknown_fields(self) -> None:
        """
        A record with a field that is not of its level is refused: it would be
        lost when the record is put again. A registration is put by its broker
        alone, so there the field is ignored.
        """
        for key, (record, _) in EXAMPLES.items():
            entry = Entry(key, {**record.to_json(), "more": 1}, 1)
            read_one = reader_of(key)
            if key.startswith(metadata_keys.BROKERS):
                self.assertEqual(read_one(entry), record)
            else:
                with self.assertRaises(CorruptRecord, msg=key) as caught:
                    read_one(entry)
                self.assertTrue(str(caught.exception).startswith(f"{key}: "))

    def test_broken(self) -> None:
        """
        A value that is no such record is refused with the key and the value in
        one line, without the value if it is a secret.
        """
        for key, (record, _) in EXAMPLES.items():
            read_one = reader_of(key)
            value = record.to_json()
            # Without the end a seal's record is a mark.
            left_out = "by" if key.startswith(metadata_keys.SEALS) else next(iter(value))
            without = {name: each for name, each in value.items() if name != left_out}
            for bad in (None, 7, "text", [value], without):
                with self.subTest(key=key, bad=bad), self.assertRaises(CorruptRecord) as caught:
                    read_one(Entry(key, bad, 1))
                line = str(caught.exception)
                shown = "the value" if key.startswith(metadata_keys.USERS) else repr(bad)
                self.assertTrue(line.startswith(f"{key}: {shown} is not understood: "), line)
                self.assertIsInstance(caught.exception, StoreError)

    def test_not_a_number(self) -> None:
        """
        Text where a number should be is not taken for one.
        """
        for key, field in (
            ("incarnations/00000000000000000015", "trim"),
            ("seals/00000000000000000015", "sealed_at"),
            ("brokers/0", "port"),
            (f"topics/{TOPIC}", "partitions"),
            (f"topics/{OTHER}", "created_ms"),
            (f"partitions/{TOPIC}/0000000000", "rolled_to"),
            ("delegation-tokens/22222222-2222-4222-8222-222222222222", "max_ms"),
            ("group-shards/14", "sequence"),
            ("groups/14/orders", "generation"),
            (f"offsets/14/orders/{TOPIC}/0000000000", "offset"),
            ("transactional-ids/14/orders", "epoch"),
        ):
            value = {**EXAMPLES[key][0].to_json(), field: "7"}
            with self.assertRaises(CorruptRecord, msg=key):
                RECORDS[metadata_keys.kind_of(key)](Entry(key, value, 1))

    def test_newer(self) -> None:
        """
        A record of a level that this version does not read is refused with one
        line that has the key, the level and the highest level read.
        """
        for key, (record, _) in EXAMPLES.items():
            name = key if key in WHOLE else metadata_keys.kind_of(key).rstrip("/")
            with self.assertRaises(NewerFormat, msg=key) as caught:
                reader_of(key)(Entry(key, {**record.to_json(), "level": 3}, 1))
            self.assertEqual(
                str(caught.exception),
                f"{key}: level 3 of the format '{name}' is newer than this version, which reads"
                f" it up to level {highest_level(name)}: use the version that has written it",
            )

    def test_transactional_ids(self) -> None:
        """
        A state that is unknown, or that no stored id has, is refused; so is a producer
        without an epoch.
        """
        key = "transactional-ids/14/orders"
        value = EXAMPLES[key][0].to_json()
        for bad in ({"state": "Dead"}, {"state": "empty"}, {"ending": [1]}, {"previous": ["1", 0]}):
            with self.assertRaises(CorruptRecord, msg=str(bad)):
                reader_of(key)(Entry(key, {**value, **bad}, 1))

    @given(
        st.builds(
            CommittedOffset,
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.text(st.characters(codec="utf-8")),
            st.integers(0, 2**63 - 1),
            st.integers(-1, 2**63 - 1),
        )
    )
    def test_offsets(self, commit: CommittedOffset) -> None:
        """
        All of a committed offset is kept.
        """
        self.assertEqual(CommittedOffset.from_entry(Entry("k", commit.to_json(), 1)), commit)


class SingleTests(SynchronousTestCase):
    """
    Entries and objects that are one value.
    """

    def test_entries(self) -> None:
        """
        They are read; what is of another type is refused with its key.
        """
        for key, value in (
            ("cluster/id", "abc"),
            ("producer-ids", 2000),
            ("lowest-incarnation", 16),
            ("milestones", ["a"]),
            ("login-secret", "pB2"),
        ):
            self.assertEqual(SINGLE[key](Entry(key, value, 1)), value)
            bad: object
            for bad in (None, {}, 1.5, [1]):
                with self.assertRaises(CorruptRecord) as caught:
                    SINGLE[key](Entry(key, bad, 1))
                self.assertTrue(str(caught.exception).startswith(f"{key}: "))

    def test_newer(self) -> None:
        """
        A value that has become an object with a level is refused as newer.
        """
        for key in SINGLE:
            with self.assertRaises(NewerFormat):
                SINGLE[key](Entry(key, {"level": 1}, 1))

    def test_objects(self) -> None:
        """
        The JSON of small objects of a bucket.
        """
        self.assertEqual(write_claim("abc"), b'{"cluster_id": "abc"}')
        self.assertEqual(read_claim("n/cluster", write_claim("abc")), "abc")
        self.assertEqual(write_milestone("m"), b'{"name": "m"}')
        self.assertEqual(read_milestone("n/milestones/1", write_milestone("m")), "m")
        self.assertEqual(write_probe_record("AmazonS3"), b'{"server": "AmazonS3"}')

    def test_broken_objects(self) -> None:
        """
        Anything else is refused with the key.
        """
        for read_one in (read_claim, read_milestone):
            for bad in (b"", b"\xff", b"[]", b"{}", b'{"cluster_id": 1, "name": 1}'):
                with self.assertRaises(CorruptObject) as caught:
                    read_one("n/key", bad)
                self.assertTrue(str(caught.exception).startswith("n/key: "))
            with self.assertRaises(NewerFormat) as newer:
                read_one("n/key", b'{"level": 1}')
            self.assertTrue(str(newer.exception).startswith("n/key: level 1 "))


class NeededTests(SynchronousTestCase):
    """
    Which slots of a journal may be needed.
    """

    def test_open(self) -> None:
        """
        From the trim mark on, while no end is recorded.
        """
        for seal in (None, SealRecord(16)):
            needed = needed_slots(IncarnationRecord(0, 3), seal)
            self.assertEqual([number in needed for number in (2, 3, 10**9)], [False, True, True])

    def test_sealed(self) -> None:
        """
        Up to the seal, which is an object of the journal.
        """
        self.assertEqual(needed_slots(IncarnationRecord(0, 3), SealRecord(16, 5)), range(3, 6))

    def test_marked(self) -> None:
        """
        Up to the end alone, where a mark stands for the seal.
        """
        record = IncarnationRecord(0, 3, fencing="metadata")
        self.assertEqual(needed_slots(record, SealRecord(16, 5)), range(3, 5))
