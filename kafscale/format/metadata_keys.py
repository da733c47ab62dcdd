"""
The keys of the metadata store.

The metadata store puts a prefix of its own before each key, so keys begin with
the kind of entry. Numbers are padded where entries are read in their order.
docs/storage.md has the same layouts in a table, with what the entries hold.

The shard of a group or a transactional id is the CRC-32 (zlib's) of its name in UTF-8,
modulo L{SHARDS}. The names of groups, transactional ids and users may be any text, so in
a key everything but letters, digits and ``_.-~`` is written as ``%XX``.
"""

from __future__ import annotations

import json
from hashlib import sha256
from urllib.parse import quote, unquote
from uuid import UUID
from zlib import crc32

from kafscale.format.acl import AclRecord
from kafscale.format.partition import TopicIdPartition
from kafscale.format.quota import QuotaEntity

CLUSTER_ID = "cluster/id"
STORE = "store"
LAST_INCARNATION = "last-incarnation"
LOWEST_INCARNATION = "lowest-incarnation"
PRODUCER_IDS = "producer-ids"
LEVELS = "levels"
MILESTONES = "milestones"
LOGIN_SECRET = "login-secret"

BROKERS = "brokers/"
INCARNATIONS = "incarnations/"
SEALS = "seals/"
JOURNALS = "journals/"
NAMES = "names/"
TOPICS = "topics/"
PARTITIONS = "partitions/"
TOMBSTONES = "tombstones/"
GROUP_SHARDS = "group-shards/"
GROUPS = "groups/"
OFFSETS = "offsets/"
TRANSACTIONAL_IDS = "transactional-ids/"
ACLS = "acls/"
USERS = "users/"
DELEGATION_TOKENS = "delegation-tokens/"
QUOTAS = "quotas/"

SHARDS = 16
"""How many shards groups and transactional ids are divided into. It says where a group is,
so it never changes."""


def kind_of(key: str) -> str:
    """
    What the keys of all entries of the same kind begin with, for example
    L{TOPICS}; an empty string if the key is the only one of its kind.
    """
    return key[: key.find("/") + 1]


# -- brokers and their incarnations --------------------------------------------


def broker(broker_id: int) -> str:
    """
    A broker's registration.
    """
    return f"{BROKERS}{broker_id}"


def broker_of(key: str) -> int:
    """
    The id of the broker whose registration has this key.
    """
    return int(key.removeprefix(BROKERS))


def incarnation(number: int) -> str:
    """
    An incarnation's record: its broker and its trim mark.
    """
    return f"{INCARNATIONS}{number:020d}"


def seal(incarnation: int) -> str:
    """
    What stops an incarnation. A key of its own, so that "not sealed" can be
    compared whatever else the incarnation writes.
    """
    return f"{SEALS}{incarnation:020d}"


def journal(incarnation: int) -> str:
    """
    How many slots of an incarnation's journal are stored at least.
    """
    return f"{JOURNALS}{incarnation:020d}"


def incarnation_of(key: str) -> int:
    """
    The incarnation in an L{incarnation}'s, L{seal}'s or L{journal}'s key.
    """
    return int(key.rsplit("/", 1)[1])


# -- topics and partitions -----------------------------------------------------


def name(topic_name: str) -> str:
    """
    Which topic has a name.
    """
    return f"{NAMES}{topic_name}"


def similar_names(topic_name: str) -> str | None:
    """
    Which topic has one of the names that differ only in ``.`` and ``_``: metrics have
    ``_`` for both. None if no other name is so similar. (No topic's name has a ``~``.)
    """
    blurred = topic_name.replace(".", "_")
    return f"{NAMES}~{blurred}" if "_" in blurred else None


def topic(topic_id: UUID) -> str:
    """
    A topic: its name, partitions and configuration.
    """
    return f"{TOPICS}{topic_id}"


def tombstone(topic_id: UUID) -> str:
    """
    A topic that was deleted, and whose data may be left.
    """
    return f"{TOMBSTONES}{topic_id}"


def topic_of(key: str) -> UUID:
    """
    The id in a L{topic}'s or a L{tombstone}'s key.
    """
    return UUID(key.split("/")[1])


def partitions(topic_id: UUID) -> str:
    """
    The prefix of the records of a topic's partitions.
    """
    return f"{PARTITIONS}{topic_id}/"


def partition(topic_id: UUID, index: int) -> str:
    """
    A partition's record (L{kafscale.format.partition.PartitionRecord}).
    """
    return f"{PARTITIONS}{topic_id}/{index:010d}"


def partition_of(key: str) -> TopicIdPartition:
    """
    The partition in a L{partition}'s key.
    """
    _, topic_id, index = key.split("/")
    return UUID(topic_id), int(index)


# -- groups --------------------------------------------------------------------


def shard_of(group: str) -> int:
    """
    The shard of a group, or of a transactional id.
    """
    return crc32(group.encode()) % SHARDS


def group_shard(shard: int) -> str:
    """
    A shard's record: the incarnation that coordinates its groups.
    """
    return f"{GROUP_SHARDS}{shard:02d}"


def groups(shard: int) -> str:
    """
    The prefix of all groups of a shard.
    """
    return f"{GROUPS}{shard:02d}/"


def group(name: str) -> str:
    """
    A group.
    """
    return groups(shard_of(name)) + quote(name, safe="")


def group_of(key: str) -> str:
    """
    The name in a L{group}'s key.
    """
    return unquote(key.split("/")[2])


def offsets(shard: int) -> str:
    """
    The prefix of all committed offsets of a shard's groups.
    """
    return f"{OFFSETS}{shard:02d}/"


def offsets_of(group: str) -> str:
    """
    The prefix of all committed offsets of a group.
    """
    return offsets(shard_of(group)) + quote(group, safe="") + "/"


def offset(prefix: str, where: TopicIdPartition) -> str:
    """
    A committed offset.

    @param prefix: L{offsets_of} the group.
    """
    topic_id, index = where
    return f"{prefix}{topic_id}/{index:010d}"


def offset_of(key: str) -> tuple[str, TopicIdPartition]:
    """
    The group and the partition in an L{offset}'s key.
    """
    _, _, name, topic_id, index = key.split("/")
    return unquote(name), (UUID(topic_id), int(index))


# -- transactional ids ---------------------------------------------------------


def transactional_ids(shard: int) -> str:
    """
    The prefix of all transactional ids of a shard.
    """
    return f"{TRANSACTIONAL_IDS}{shard:02d}/"


def transactional_id(name: str) -> str:
    """
    The record of a transactional id
    (L{kafscale.format.transactional_id.TransactionalIdRecord}).
    """
    return transactional_ids(shard_of(name)) + quote(name, safe="")


def transactional_id_of(key: str) -> str:
    """
    The name in a L{transactional_id}'s key.
    """
    return unquote(key.split("/")[2])


# -- access --------------------------------------------------------------------


def acl(record: AclRecord) -> str:
    """
    An ACL: a digest of its fields, so that equal ACLs are one entry, and keys are short
    whatever the names in them.
    """
    fields = json.dumps(list(record.to_json().values()), ensure_ascii=False)
    return f"{ACLS}{sha256(fields.encode()).hexdigest()[:32]}"


def user(name: str) -> str:
    """
    A user's record (L{kafscale.format.user.UserRecord}).
    """
    return USERS + quote(name, safe="")


def user_of(key: str) -> str:
    """
    The name in a L{user}'s key.
    """
    return unquote(key.removeprefix(USERS))


def delegation_token(token_id: str) -> str:
    """
    A delegation token's record
    (L{kafscale.format.delegation_token.DelegationTokenRecord}).
    """
    return DELEGATION_TOKENS + quote(token_id, safe="")


def delegation_token_of(key: str) -> str:
    """
    The id in a L{delegation_token}'s key.
    """
    return unquote(key.removeprefix(DELEGATION_TOKENS))


def quota(entity: QuotaEntity) -> str:
    """
    The quotas of an entity: a digest of it, so that keys are short whatever the names in it.
    """
    fields = json.dumps(entity, ensure_ascii=False)
    return f"{QUOTAS}{sha256(fields.encode()).hexdigest()[:32]}"
