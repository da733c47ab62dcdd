"""
How each entry of the metadata store is read, by its key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import (
    LevelsRecord,
    StoreRecord,
    cluster_id_of,
    milestone_names_of,
    producer_ids_of,
)
from kafscale.format.delegation_token import DelegationTokenRecord
from kafscale.format.group import GroupRecord, ShardRecord
from kafscale.format.incarnation import (
    IncarnationRecord,
    JournalRecord,
    SealRecord,
    lowest_incarnation_of,
)
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import PartitionRecord
from kafscale.format.quota import QuotaRecord
from kafscale.format.topic import NameRecord, TombstoneRecord, TopicRecord
from kafscale.format.transactional_id import TransactionalIdRecord
from kafscale.format.user import UserRecord, login_secret_of
from kafscale.interfaces import Entry

ACL = AclRecord(
    ResourceType.TOPIC,
    "clicks",
    PatternType.LITERAL,
    "User:alice",
    "*",
    Operation.READ,
    Permission.ALLOW,
)
"""Its key is a hash of its fields."""

QUOTAS = QuotaRecord((("client-id", None), ("user", "alice")), {"producer_byte_rate": 1048576.0})
"""Likewise, of its entity."""


class Record(Protocol):
    """
    What all records have.
    """

    def to_json(self) -> dict[str, Any]:
        """
        As it is stored.
        """


RECORDS: dict[str, Callable[[Entry], Record]] = {
    metadata_keys.BROKERS: BrokerRecord.from_entry,
    metadata_keys.INCARNATIONS: IncarnationRecord.from_entry,
    metadata_keys.SEALS: SealRecord.from_entry,
    metadata_keys.JOURNALS: JournalRecord.from_entry,
    metadata_keys.NAMES: NameRecord.from_entry,
    metadata_keys.TOPICS: TopicRecord.from_entry,
    metadata_keys.PARTITIONS: PartitionRecord.from_entry,
    metadata_keys.TOMBSTONES: TombstoneRecord.from_entry,
    metadata_keys.GROUP_SHARDS: ShardRecord.from_entry,
    metadata_keys.GROUPS: GroupRecord.from_entry,
    metadata_keys.OFFSETS: CommittedOffset.from_entry,
    metadata_keys.TRANSACTIONAL_IDS: TransactionalIdRecord.from_entry,
    metadata_keys.ACLS: AclRecord.from_entry,
    metadata_keys.USERS: UserRecord.from_entry,
    metadata_keys.DELEGATION_TOKENS: DelegationTokenRecord.from_entry,
    metadata_keys.QUOTAS: QuotaRecord.from_entry,
}
"""How entries with many fields are read, by the kind of their keys."""

WHOLE: dict[str, Callable[[Entry], Record]] = {
    metadata_keys.LEVELS: LevelsRecord.from_entry,
    metadata_keys.STORE: StoreRecord.from_entry,
}
"""The same for entries that are the only ones of their kind, by their keys."""

SINGLE: dict[str, Callable[[Entry], object]] = {
    metadata_keys.CLUSTER_ID: cluster_id_of,
    metadata_keys.PRODUCER_IDS: producer_ids_of,
    metadata_keys.LOWEST_INCARNATION: lowest_incarnation_of,
    metadata_keys.MILESTONES: milestone_names_of,
    metadata_keys.LOGIN_SECRET: login_secret_of,
}
"""And those that are one value, by their keys."""


def reader_of(key: str) -> Callable[[Entry], Record]:
    """
    How the entry with this key is read.
    """
    return WHOLE[key] if key in WHOLE else RECORDS[metadata_keys.kind_of(key)]


def text_of(value: Any) -> str:
    """
    JSON as the stores write it.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
