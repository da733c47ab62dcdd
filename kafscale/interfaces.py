"""
What the rooms promise one another.

No room imports another; each takes what it needs as one of these interfaces,
and ``kafscale.tap`` joins them. Methods that may have to wait return
awaitables (implementers write ``async def``); a `Deferred` stands in a
signature only where one event fires once for many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kafscale.errors import KafkaError

# --------------------------------------------------------------------------
# Object store
# --------------------------------------------------------------------------


@attrs.frozen
class ObjectInfo:
    """
    One object of a listing.

    @ivar key: The whole key.
    @ivar size: Its length in bytes.
    """

    key: str
    size: int


class IObjectStore(Interface):
    """
    Named byte strings that are created once and never change.

    Keys are ``/``-separated; each part is of ``[A-Za-z0-9._=-]`` and does not
    begin with a dot; none is the directory of another. ValueError otherwise.
    Every method may raise `kafscale.errors.StoreUnavailable`: the store did
    not answer, and the outcome is unknown. The caller decides about retries.
    """

    def create(key: str, pieces: Sequence[bytes | memoryview]) -> Awaitable[None]:
        """
        Store the concatenation of C{pieces} under C{key}, durably, unless the
        key exists (in S3's words: ``If-None-Match: *``).

        The pieces must not change until the answer.

        @raise ObjectExists: the key was there before, or an earlier attempt
            of ours, whose answer was lost, made it: read it to see whose.
        """

    def get(key: str, start: int = 0, length: int | None = None) -> Awaitable[bytes]:
        """
        The bytes of an object from C{start}, at most C{length} of them.

        @raise NoSuchObject: nothing under that key.
        """

    def get_suffix(key: str, length: int) -> Awaitable[tuple[bytes, int]]:
        """
        The last C{length} bytes of an object (all, when it is shorter), and
        the object's whole size.

        @raise NoSuchObject: nothing under that key.
        """

    def list(prefix: str, after: str = "", limit: int = 1000) -> Awaitable[list[ObjectInfo]]:
        """
        At most C{limit} objects whose key begins with C{prefix} and is greater
        than C{after}, in the order of their keys (as UTF-8 bytes). Fewer than
        C{limit} means that there are no more.
        """

    def delete(keys: Sequence[str]) -> Awaitable[None]:
        """
        Remove these objects; those that are not there are no error.
        """

    def close() -> Awaitable[None]:
        """
        End what is under way and let go of everything. No call comes after.
        """


# --------------------------------------------------------------------------
# Metadata store
# --------------------------------------------------------------------------


@attrs.frozen
class Entry:
    """
    A key's value in the metadata store.

    @ivar value: Plain JSON data (dict, list, str, int, float, bool, None).
    @ivar revision: The store's revision at which this value was put.
    """

    key: str
    value: Any
    revision: int


@attrs.frozen
class Compare:
    """
    What a commit demands of a key: that its revision is exactly C{revision};
    0 demands that the key is absent.
    """

    key: str
    revision: int


@attrs.frozen
class Put:
    """
    Set C{key} to C{value} (plain JSON data); with C{lease}, for as long as
    that lease lives.
    """

    key: str
    value: Any
    lease: int | None = None


@attrs.frozen
class Delete:
    """
    Remove C{key} (absent is no error).
    """

    key: str


@attrs.frozen
class Change:
    """
    What a watch tells: C{entry} is None when the key was deleted.
    """

    key: str
    entry: Entry | None
    revision: int


class IWatch(Interface):
    """
    A watch under way.
    """

    def stop() -> None:
        """
        No further change is delivered after this returns.
        """


class IMetadataStore(Interface):
    """
    A small, ordered, linearizable key-value store, in etcd's words.

    Keys are relative to the namespace: the store adds its own prefix. Every
    commit raises the revision of the whole store by at least one. Every
    method may raise `kafscale.errors.StoreUnavailable`: the outcome of a
    commit is then unknown, and must be read back.
    """

    def get(key: str) -> Awaitable[Entry | None]:
        """
        The key's present entry.
        """

    def range(prefix: str) -> Awaitable[tuple[list[Entry], int]]:
        """
        All entries whose keys begin with C{prefix}, in the order of their
        keys, and the store's revision at which they were read.
        """

    def commit(
        compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> Awaitable[int]:
        """
        If every compare holds, do all the operations as one, durably; return
        the revision at which they were done (the puts' new revision). At most
        100 compares and 100 operations.

        @raise CommitConflict: some compare did not hold, or the lease of a put
            has ended; nothing was done.
        """

    def watch(
        prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> Awaitable[IWatch]:
        """
        Call C{changed} with every change to keys that begin with C{prefix}
        made after C{revision}, in order, those of one commit together; from
        the reactor's thread.
        """

    def lease(seconds: float) -> Awaitable[int]:
        """
        A new lease, kept alive by the store for as long as it can; keys put
        under it go when it ends. Its id.
        """

    def revoke(lease: int) -> Awaitable[None]:
        """
        End a lease now: its keys are deleted.
        """

    def close() -> Awaitable[None]:
        """
        End watches, and let go of everything. No call comes after.
        """


# --------------------------------------------------------------------------
# Log
# --------------------------------------------------------------------------


@attrs.define(slots=True)
class Append:
    """
    A batch that has its offset, and may not be durable yet.

    @ivar base_offset: Of its first record.
    @ivar append_time: The broker's time in ms if the topic's timestamp type is
        LogAppendTime, else -1.
    @ivar settled: Has the batch's `wait`; None when it is durable already (a
        duplicate of an old batch).
    """

    base_offset: int
    append_time: int
    settled: ISettlement | None


class ISettlement(Interface):
    """
    The fate of what was appended together: all durable, or all refused.
    """

    number = Attribute("""Settlements come in the order of these: waiting for
        the one with the largest number is waiting for all.""")

    def wait() -> Deferred[None]:
        """
        Fires when it is durable and visible; a new Deferred for each caller.

        Fails with a `kafscale.errors.KafkaError` (NOT_LEADER_OR_FOLLOWER)
        when the broker was fenced.
        """


@attrs.frozen
class AppendRules:
    """
    What a topic's configuration says of a batch.

    @ivar max_bytes: ``max.message.bytes``.
    @ivar log_append_time: ``message.timestamp.type=LogAppendTime``.
    @ivar before_ms: ``message.timestamp.before.max.ms``.
    @ivar after_ms: ``message.timestamp.after.max.ms``.
    @ivar compacted: ``cleanup.policy`` has compact: every record has a key.
    """

    max_bytes: int = 1048588
    log_append_time: bool = False
    before_ms: int = 2**63 - 1
    after_ms: int = 3_600_000
    compacted: bool = False


@attrs.frozen
class LogRules:
    """
    What a topic's configuration says of segments: when one is made, and when
    it goes. Without any nothing is asked for: the broker's own bounds hold.

    @ivar retention_ms: ``retention.ms``; -1 for no limit.
    @ivar retention_bytes: ``retention.bytes``; -1 for no limit.
    @ivar segment_bytes: ``segment.bytes``.
    @ivar segment_ms: ``segment.ms``.
    @ivar delete: ``cleanup.policy`` has delete: what is too old or too much
        goes.
    """

    retention_ms: int = -1
    retention_bytes: int = -1
    segment_bytes: int = 2**31 - 1
    segment_ms: int = 2**63 - 1
    delete: bool = True


@attrs.frozen
class Fetched:
    """
    Whole batches, in order.

    @ivar pieces: Their bytes, to be sent one after the other.
    @ivar size: The length of all pieces in bytes.
    """

    pieces: list[bytes] | tuple[bytes, ...] = ()
    size: int = 0


class IPartition(Interface):
    """
    One partition that this broker leads.
    """

    topic_id = Attribute("L{UUID} of the topic.")
    index = Attribute("Number of the partition in the topic.")
    leader_epoch = Attribute("The epoch in which this broker leads it.")
    log_start = Attribute("Offset of the first record that can be read.")
    high_watermark = Attribute("Offset after the last durable record. Never goes back.")
    next_offset = Attribute("Offset that the next record will get.")
    is_open = Attribute("Whether L{append} may be called at once.")

    def opened() -> Deferred[None]:
        """
        Fires when the partition's producer states are loaded; those who wait
        are called in the order in which they came.
        """

    def append(batch: memoryview, rules: AppendRules) -> Append:
        """
        Check one record batch (as it came in a produce request: it is copied)
        and give it its offset. At once: the order of calls is the order of
        the log.

        @raise KafkaError: CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE,
            INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER,
            INVALID_PRODUCER_EPOCH, NOT_LEADER_OR_FOLLOWER and others.
        """

    def available(offset: int) -> int:
        """
        How many bytes of durable batches stand at and after C{offset}: a
        quick estimate, 0 only if there are none.
        """

    def read(offset: int, max_bytes: int, at_least_one: bool) -> Fetched | None:
        """
        Durable batches from the one that contains C{offset}, at most
        C{max_bytes} of them, or one larger batch with C{at_least_one}; at
        once from memory. None: they must be had with L{load}.

        @raise OffsetOutOfRange: below the log start or above the next offset.
        """

    def load(offset: int, max_bytes: int, at_least_one: bool) -> Awaitable[Fetched]:
        """
        As L{read}, from the object store.
        """

    def watch(wake: Callable[[], None]) -> None:
        """
        Call C{wake} (once for each L{watch}) when the high watermark next
        moves, or the partition is dropped or deleted.
        """

    def unwatch(wake: Callable[[], None]) -> None:
        """
        Take a L{watch} back; none there is no error.
        """

    def offset_at(timestamp: int) -> Awaitable[tuple[int, int] | None]:
        """
        (timestamp, offset) of the first durable record at or after
        C{timestamp} (ms), found by record; None when there is none.
        """

    def latest_timestamp() -> Awaitable[tuple[int, int] | None]:
        """
        (timestamp, offset) of the first record with the largest timestamp.
        """

    def end_of_epoch(epoch: int) -> tuple[int, int]:
        """
        (epoch, end offset) for the largest epoch at or below C{epoch}:
        (-1, -1) when C{epoch} is unknown (KIP-101, KIP-279).
        """

    def epoch_at(offset: int) -> int:
        """
        The leader epoch in which the record at C{offset} was appended; -1 if
        unknown.
        """

    def delete_before(offset: int) -> Awaitable[int]:
        """
        Move the log start to C{offset} (-1: the high watermark), durably;
        return the new log start.

        @raise OffsetOutOfRange: past the high watermark or below the start.
        """

    def producers() -> Sequence[Any]:
        """
        The producers' states, for DescribeProducers: objects with
        C{producer_id}, C{producer_epoch}, C{last_sequence},
        C{last_timestamp}.
        """

    def size() -> int:
        """
        Bytes stored of the partition.
        """


class ILog(Interface):
    """
    The partitions that this broker leads.
    """

    def partition(topic_id: UUID, index: int) -> IPartition:
        """
        @raise NotLeaderOrFollower: this broker does not lead it.
        """

    def recover(wanted: Iterable[tuple[UUID, int]]) -> Awaitable[None]:
        """
        Stop this broker's former incarnations for good, then L{claim}.
        """

    def claim(wanted: Iterable[tuple[UUID, int]]) -> Awaitable[None]:
        """
        Lead these partitions, whose leaders are gone or never were.
        """

    def configured(topic_id: UUID, partitions: int) -> None:
        """
        A topic's configuration may have changed; it has so many partitions.
        """

    def delete(topic_id: UUID) -> Awaitable[None]:
        """
        Remove all that the log has of a topic, records and objects. To be
        repeated as a whole if it does not come to its end.
        """


class IPressure(Interface):
    """
    Whether the broker has room for more.
    """

    def spent() -> bool:
        """
        True while so much waits for the store that clients must be slowed.
        """

    def relieved() -> Deferred[None]:
        """
        Fires when it is not spent any more; a new Deferred for each caller.
        """

    def hold(size: int) -> None:
        """
        So many bytes more wait in memory to be appended; below 0, less.
        """


# --------------------------------------------------------------------------
# Cluster
# --------------------------------------------------------------------------


@attrs.frozen
class Broker:
    """
    A broker of the cluster, as clients are told of it.
    """

    broker_id: int
    host: str
    port: int
    rack: str | None = None


@attrs.frozen
class Topic:
    """
    A topic as the metadata store has it.

    @ivar configs: Its configuration's overrides, name to value (strings).
    @ivar partitions: How many it has.
    """

    topic_id: UUID
    name: str
    partitions: int
    configs: Mapping[str, str]


@attrs.frozen
class Leadership:
    """
    Who leads a partition.

    @ivar leader: Broker id, or -1.
    """

    leader: int
    leader_epoch: int


class IImage(Interface):
    """
    What is known of the cluster now: a watched view of the metadata store.
    """

    cluster_id = Attribute("Stable, 22 characters of base64url.")
    broker_id = Attribute("This broker's id.")

    def brokers() -> Sequence[Broker]:
        """
        The live brokers, this one among them, by id.
        """

    def topics() -> Sequence[Topic]:
        """
        All topics, by name.
        """

    def topic(name: str) -> Topic:
        """
        @raise UnknownTopicOrPartition: there is none of that name.
        """

    def topic_by_id(topic_id: UUID) -> Topic:
        """
        @raise UnknownTopicId: there is none of that id.
        """

    def leadership(topic_id: UUID, index: int) -> Leadership:
        """
        Who leads it; leader -1 while nobody does.
        """

    def gone(topic_ids: Iterable[UUID]) -> Awaitable[Sequence[UUID]]:
        """
        Those of these topics that are deleted, and not merely unknown to the
        image yet.
        """


class ITopics(Interface):
    """
    Changes to topics.
    """

    def check_name(name: str) -> None:
        """
        @raise InvalidTopicException: no topic can have this name.
        """

    def create(
        name: str, partitions: int, configs: Mapping[str, str], validate_only: bool = False
    ) -> Awaitable[Topic]:
        """
        Durable, in the image, and led when it answers.

        @raise KafkaError: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS,
            INVALID_PARTITIONS, INVALID_CONFIG.
        """

    def delete(topic: Topic) -> Awaitable[None]:
        """
        Durable when it answers; the data goes afterwards.
        """

    def grow(topic: Topic, partitions: int, validate_only: bool = False) -> Awaitable[Topic]:
        """
        Raise the number of partitions.

        @raise InvalidPartitions: not more than there are.
        """

    def alter(
        topic: Topic,
        change: Callable[[Mapping[str, str]], Mapping[str, str]],
        validate_only: bool = False,
    ) -> Awaitable[Topic]:
        """
        Change the topic's configuration: C{change} is given the overrides that
        there are, and returns those that there shall be; it is asked again if
        somebody else changes them meanwhile. Durable, and in force on this
        broker, when it answers.

        @raise InvalidConfig: they cannot be.
        @raise UnknownTopicOrPartition: it is deleted already.
        """


@attrs.frozen
class TopicConfig:
    """
    One configuration of a topic, as it is in force.

    @ivar value: As text, in the form in which it is set.
    @ivar kind: What it is made of: ``boolean``, ``int``, ``long``, ``double``,
        ``string`` or ``list``.
    @ivar source: Where the value comes from: ``topic`` (an override),
        ``broker`` (a setting of the brokers) or ``default``.
    @ivar meaning: One line for people.
    @ivar synonym: What Kafka calls the setting of the brokers from which it
        comes where the topic has none; empty when there is no such setting.
    """

    name: str
    value: str
    kind: str
    source: str
    meaning: str
    synonym: str = ""


class ITopicConfigs(Interface):
    """
    What the configurations of topics mean. All take a topic's overrides, as
    in L{Topic.configs}.
    """

    def check(overrides: Mapping[str, str | None]) -> None:
        """
        @raise InvalidConfig: an unknown name, a value that cannot be, or two
            that contradict each other; the message names the configuration.
        """

    def describe(overrides: Mapping[str, str]) -> Sequence[TopicConfig]:
        """
        Every configuration of the topic, by name.
        """

    def value(overrides: Mapping[str, str], name: str) -> Any:
        """
        One configuration in its own type: bool, int, float, str, or a tuple
        of str for a list.

        @raise KeyError: Kafka knows none of that name.
        """

    def append_rules(overrides: Mapping[str, str]) -> AppendRules:
        """
        What they say of a batch that is appended.
        """

    def log_rules(overrides: Mapping[str, str]) -> LogRules:
        """
        What they say of segments.
        """


class IProducerIds(Interface):
    """
    Where producer ids come from.
    """

    def new() -> Awaitable[int]:
        """
        An id that was never given before.
        """


# --------------------------------------------------------------------------
# Groups
# --------------------------------------------------------------------------


@attrs.frozen
class Joining:
    """
    What a member brings when it joins.

    @ivar member_id: Empty at first.
    @ivar instance_id: Makes it a static member (KIP-345).
    @ivar session_timeout_ms: How long it may be silent.
    @ivar rebalance_timeout_ms: How long it may take to join again.
    @ivar protocols: Name and metadata, the most wanted first.
    @ivar takes_id_first: Whether it understands that it must come again with
        the id that it is given (KIP-394).
    @ivar may_skip: Whether it understands L{Joined.skip_assignment}.
    """

    group: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: Sequence[tuple[str, bytes]]
    takes_id_first: bool = False
    may_skip: bool = False


@attrs.frozen
class JoinedMember:
    """
    A member, as the leader of its group is told of it.
    """

    member_id: str
    instance_id: str | None
    metadata: bytes


@attrs.frozen
class Joined:
    """
    The round that a member has joined.

    @ivar generation: -1 if there is none yet: it must join again, under the
        id in C{member_id} (MEMBER_ID_REQUIRED).
    @ivar leader: Member id of the one that assigns.
    @ivar members: All of them, told to the leader only.
    @ivar skip_assignment: The leader need not assign: nothing has changed
        (KIP-814).
    """

    member_id: str
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: Sequence[JoinedMember] = ()
    skip_assignment: bool = False


@attrs.frozen
class Membership:
    """
    Who a request says that it comes from.

    @ivar generation: -1 from one who is in no generation.
    """

    member_id: str = ""
    generation: int = -1
    instance_id: str | None = None


@attrs.frozen
class Synced:
    """
    A member's part of the work, as the leader wrote it.
    """

    protocol_type: str
    protocol: str
    assignment: bytes


@attrs.frozen
class CommittedOffset:
    """
    How far a group has read in one partition.

    @ivar offset: The next to be read.
    @ivar leader_epoch: Of the record read last; -1 if unknown.
    @ivar metadata: A note of the consumer's.
    @ivar committed_ms: When it was committed, in ms.
    @ivar expires_ms: When it is to be forgotten, if the consumer said so;
        otherwise -1.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    committed_ms: int = -1
    expires_ms: int = -1


#: Topic id and index.
Where = tuple[UUID, int]


@attrs.frozen
class DescribedMember:
    """
    A member, as it is shown. Metadata and assignment are empty while the
    group rebalances.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@attrs.frozen
class DescribedGroup:
    """
    A group, as it is shown.

    @ivar state: ``Empty``, ``PreparingRebalance``, ``CompletingRebalance``,
        ``Stable`` or ``Dead``.
    @ivar protocol: Empty while the group rebalances.
    """

    name: str
    state: str
    protocol_type: str
    protocol: str
    members: Sequence[DescribedMember]


class ICoordinator(Interface):
    """
    The groups that this broker coordinates, and how far they have read. All
    methods raise `CoordinatorLoadInProgress` while these are read from the
    store, and `NotCoordinator` when somebody else coordinates the group.
    """

    def join(joining: Joining) -> Awaitable[Joined]:
        """
        Take part in the group's next generation; answered when it is formed.

        @raise KafkaError: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT,
            INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
            GROUP_MAX_SIZE_REACHED, REBALANCE_IN_PROGRESS.
        """

    def sync(
        group: str,
        member: Membership,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Awaitable[Synced]:
        """
        The member's part; answered when the leader has brought those of all,
        and they are durable.

        @param protocol_type: What the member takes it for; None: it does not
            say. So too C{protocol}.
        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS,
            INCONSISTENT_GROUP_PROTOCOL.
        """

    def heartbeat(group: str, member: Membership) -> None:
        """
        The member is still there.

        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def leave(group: str, member_id: str, instance_id: str | None) -> None:
        """
        The member leaves. One with an instance id may be named by that alone.

        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            FENCED_INSTANCE_ID.
        """

    def commit(
        group: str, member: Membership, offsets: Mapping[Where, CommittedOffset]
    ) -> Awaitable[None]:
        """
        Durable when it is answered.

        @raise KafkaError: GROUP_ID_NOT_FOUND (there is no such group, but a
            generation of it), UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def committed(group: str) -> Mapping[Where, CommittedOffset]:
        """
        What is committed; nothing for a group that is not there.
        """

    def forget(group: str, wanted: Sequence[Where], topics: Mapping[UUID, str]) -> Awaitable[
        Mapping[Where, KafkaError]
    ]:
        """
        Forget these commits. Returns those that are not forgotten, with the
        reason: GROUP_SUBSCRIBED_TO_TOPIC.

        @param topics: The names of the topics.
        @raise KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP (its members
            use another protocol than consumers).
        """

    def describe(group: str) -> DescribedGroup:
        """
        @raise GroupIdNotFound: there is none of that name.
        """

    def groups() -> Sequence[DescribedGroup]:
        """
        All groups, by name, without their members.
        """

    def delete(group: str) -> Awaitable[None]:
        """
        Forget a group and its commits.

        @raise KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """


# --------------------------------------------------------------------------
# Services
# --------------------------------------------------------------------------


@attrs.frozen
class RequestContext:
    """
    Where a request came from.

    @ivar api_version: The version in which it came, and is answered.
    @ivar client_id: As the client calls itself, or None.
    @ivar host: The address that the client's connection comes from.
    @ivar connection: Identifies the connection: requests of one connection
        have the same object here.
    """

    api_version: int
    client_id: str | None
    host: str
    connection: object


@attrs.frozen
class Serving:
    """
    One API as a service serves it; what is advertised, decoded and
    dispatched follows from these alone.

    @ivar request: The request's class (its C{key} is the API key).
    @ivar lowest: The lowest version that is served.
    @ivar highest: The highest.
    @ivar answer: Called with (request, context); returns the response, or None
        when none is owed (acks=0), or a coroutine or Deferred of it.
    @ivar failed: Called with (request, context, code, message): the response
        that says so in the API's own schema, when C{answer} raised.
    @ivar overlaps: Whether it may be under way together with earlier ones of
        its kind on one connection (Produce).
    """

    request: type[Any]
    lowest: int
    highest: int
    answer: Callable[[Any, RequestContext], Any]
    failed: Callable[[Any, RequestContext, int, str], Any]
    overlaps: bool = False


class IService(Interface):
    """
    A family of APIs.
    """

    def serves() -> Sequence[Serving]:
        """
        The APIs of this family.
        """


class IProduceService(IService):
    """
    Produce and InitProducerId.
    """


class IFetchService(IService):
    """
    Fetch, ListOffsets and OffsetForLeaderEpoch.
    """


class ICoordinationService(IService):
    """
    FindCoordinator and all of groups.
    """


class IAdminService(IService):
    """
    Metadata, topics, configurations, the cluster.
    """
