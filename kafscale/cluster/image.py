"""
A view of the cluster metadata, which this broker keeps in memory.

Watches of the metadata store keep it up to date, so that requests look up
dictionaries and do not access the store. It is never ahead of the store, and a
moment behind it. A caller that has committed a change, and depends on it, waits
with `Image.until`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.cluster.assignments import in_progress
from kafscale.cluster.racks import Racks
from kafscale.errors import UnknownTopicId, UnknownTopicOrPartition
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.partition import leadership_of
from kafscale.format.topic import Reassignment, TopicRecord
from kafscale.interfaces import (
    Broker,
    Change,
    Compare,
    Entry,
    IImage,
    IMetadataStore,
    IWatch,
    Leadership,
    Phase,
    Topic,
)

Changed = Callable[[Sequence[Change]], None]

_NOBODY = Leadership(leader=-1, leader_epoch=-1)


def topic_of(entry: Entry) -> Topic:
    """
    Return the topic of an entry below ``topics/``.
    """
    record = TopicRecord.from_entry(entry)
    return Topic(
        metadata_keys.topic_of(entry.key),
        record.name,
        record.partitions,
        record.configs,
        record.replicas,
        record.reassignments,
    )


def broker_of(broker_id: int, entry: Entry) -> Broker:
    """
    Return the broker of an entry below ``brokers/``.
    """
    record = BrokerRecord.from_entry(entry)
    return Broker(
        broker_id,
        record.host,
        record.port,
        record.rack,
        record.incarnation,
        record.weight,
        Phase(record.phase),
        record.listeners,
    )


@implementer(IImage)
class Image:
    """
    Brokers, topics and leaders of partitions, as the metadata store has them.

    @ivar cluster_id: The id of the cluster.
    @ivar broker_id: The id of this broker.
    @ivar topic_changes: See L{IImage}.
    """

    _log = Logger()

    def __init__(self, store: IMetadataStore, cluster_id: str, broker: Broker) -> None:
        """
        @param store: The metadata store to watch.
        @param cluster_id: The id of the cluster.
        @param broker: This broker with the address that clients use. It is one of
            L{brokers} even without a registration.
        """
        self.cluster_id = cluster_id
        self.broker_id = broker.broker_id
        self.topic_changes = 0
        self._store = store
        self._watches: list[IWatch] = []
        self._subscribers: list[Changed] = []
        self._seen: dict[str, int] = {}
        self._waiting: list[tuple[str, int, Deferred[None]]] = []
        self._brokers: dict[int, Broker] = {broker.broker_id: broker}
        self._names: dict[str, Topic] = {}
        self._topics: dict[UUID, Topic] = {}
        self._revisions: dict[UUID, int] = {}  # of the topics' entries
        self._shown: set[UUID] = set()  # topics that are not stored
        self._leaders: dict[tuple[UUID, int], Leadership] = {}
        # Computed on demand; None after a change.
        self._sorted_brokers: Sequence[Broker] | None = None
        self._sorted_topics: Sequence[Topic] | None = None
        self._racks: Racks | None = None

    # -- keeping it ----------------------------------------------------------

    async def start(self) -> None:
        """
        Read all metadata, and begin to watch for changes.
        """
        for prefix, apply in (
            (metadata_keys.BROKERS, self._apply_broker),
            (metadata_keys.TOPICS, self._apply_topic),
            (metadata_keys.PARTITIONS, self._apply_partition),
            (metadata_keys.TOMBSTONES, self._apply_tombstone),
        ):
            entries, revision = await self._store.range(prefix)
            for entry in entries:
                apply(entry.key, entry)
            self._saw(prefix, revision)
            self._watches.append(
                await self._store.watch(prefix, revision, partial(self._changed, prefix, apply))
            )

    def stop(self) -> None:
        """
        Stop watching.
        """
        for watch in self._watches:
            watch.stop()
        self._watches.clear()

    def on_change(self, changed: Changed) -> None:
        """
        Call C{changed} after each later change to a key below ``brokers/``, ``topics/``,
        ``partitions/`` or ``tombstones/``, when the image has it. Changes of one commit to
        keys of one kind come in one call. The order of changes to keys of different kinds
        may differ from that of the commits.
        """
        self._subscribers.append(changed)

    def on_topic_changed(self, changed: Callable[[Topic], None]) -> None:
        """
        Call C{changed} with each topic that is created, grows or has its configuration
        altered from now on. The call comes before L{until} fires for that commit.
        """

        def apply(changes: Sequence[Change]) -> None:
            for change in changes:
                if change.key.startswith(metadata_keys.TOPICS):
                    topic = self._topics.get(metadata_keys.topic_of(change.key))
                    if topic is not None:
                        changed(topic)

        self.on_change(apply)

    def on_topic_deleted(self, deleted: Callable[[UUID], None]) -> None:
        """
        Call C{deleted} with the id of each topic that is deleted from now on.
        """

        def changed(changes: Sequence[Change]) -> None:
            for change in changes:
                if change.entry is None and change.key.startswith(metadata_keys.TOPICS):
                    deleted(metadata_keys.topic_of(change.key))

        self.on_change(changed)

    async def gone(self, topic_ids: Iterable[UUID]) -> list[UUID]:
        """
        Return the topics that are deleted, and not merely unknown to the image so far.
        Topic ids are never reused.
        """
        unknown = [each for each in topic_ids if each not in self._topics]
        return [
            each for each in unknown if await self._store.get(metadata_keys.topic(each)) is None
        ]

    def until(self, revision: int, prefix: str = metadata_keys.TOPICS) -> Deferred[None]:
        """
        Return a Deferred that fires when the image has the commit of a revision.

        @param revision: The revision of the commit.
        @param prefix: The commit must have changed a key below it, because the watch does
            not see other commits.
        """
        done: Deferred[None] = Deferred(self._forget)
        if self._seen.get(prefix, 0) >= revision:
            done.callback(None)
        else:
            self._waiting.append((prefix, revision, done))
        return done

    def _forget(self, cancelled: Deferred[None]) -> None:
        self._waiting = [each for each in self._waiting if each[2] is not cancelled]

    def _changed(
        self,
        prefix: str,
        apply: Callable[[str, Entry | None], None],
        changes: Sequence[Change],
    ) -> None:
        for change in changes:
            apply(change.key, change.entry)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(changes)
            except Exception:
                self._log.failure(
                    "internal error in a subscriber to changes below {prefix}; the broker should be"
                    " restarted",
                    prefix=prefix,
                )
        if changes:
            self._saw(prefix, changes[-1].revision)

    def _saw(self, prefix: str, revision: int) -> None:
        self._seen[prefix] = max(revision, self._seen.get(prefix, 0))
        ready = [each for each in self._waiting if each[0] == prefix and each[1] <= revision]
        if ready:
            self._waiting = [each for each in self._waiting if each not in ready]
            for _, _, done in ready:
                done.callback(None)

    def _apply_broker(self, key: str, entry: Entry | None) -> None:
        broker_id = metadata_keys.broker_of(key)
        self._sorted_brokers = self._racks = None
        if entry is not None:
            self._brokers[broker_id] = broker_of(broker_id, entry)
        elif broker_id != self.broker_id:  # this broker is alive
            self._brokers.pop(broker_id, None)

    def _apply_topic(self, key: str, entry: Entry | None) -> None:
        topic_id = metadata_keys.topic_of(key)
        self._sorted_topics = None
        self.topic_changes += 1
        before = self._topics.pop(topic_id, None)
        self._revisions.pop(topic_id, None)
        if before is not None and self._names.get(before.name) is before:
            del self._names[before.name]
        if entry is not None:
            topic = topic_of(entry)
            self._topics[topic_id] = topic
            self._revisions[topic_id] = entry.revision
            self._names[topic.name] = topic

    def _apply_partition(self, key: str, entry: Entry | None) -> None:
        where = metadata_keys.partition_of(key)
        if entry is None:
            self._leaders.pop(where, None)
            return
        leadership = Leadership(*leadership_of(entry))
        # Most changes of this record concern the log, not the leader.
        if self._leaders.get(where) != leadership:
            self._leaders[where] = leadership

    def _apply_tombstone(self, key: str, entry: Entry | None) -> None:
        """
        Do nothing: tombstones concern subscribers only. The key of the topic is deleted
        in the same commit.
        """

    def show(self, topic: Topic) -> None:
        """
        Have a topic that is not stored, unless there is one of its name.

        @param topic: Its leaders are those of L{lead}.
        """
        if topic.name not in self._names:
            self._shown.add(topic.topic_id)
            self._topics[topic.topic_id] = self._names[topic.name] = topic
            self._sorted_topics = None

    def lead(self, topic_id: UUID, leaders: Sequence[int]) -> None:
        """
        Have these brokers, by id, as the leaders of the partitions of a topic that is not
        stored.
        """
        for index, broker_id in enumerate(leaders):
            self._leaders[topic_id, index] = Leadership(broker_id, 0)

    # -- asking it -----------------------------------------------------------

    def brokers(self) -> Sequence[Broker]:
        """
        Return the live brokers, this one included, ordered by id.
        """
        if self._sorted_brokers is None:
            self._sorted_brokers = tuple(
                self._brokers[broker_id] for broker_id in sorted(self._brokers)
            )
        return self._sorted_brokers

    def topics(self) -> Sequence[Topic]:
        """
        Return all topics, ordered by name.
        """
        if self._sorted_topics is None:
            self._sorted_topics = tuple(self._names[name] for name in sorted(self._names))
        return self._sorted_topics

    def stored_topics(self) -> list[UUID]:
        """
        Return the ids of all topics whose partitions are in the log.
        """
        return [each.topic_id for each in self.topics() if each.topic_id not in self._shown]

    def topic(self, name: str) -> Topic:
        """
        Return the topic with a name.

        @raise UnknownTopicOrPartition: there is none.
        """
        topic = self._names.get(name)
        if topic is None:
            raise UnknownTopicOrPartition
        return topic

    def topic_by_id(self, topic_id: UUID) -> Topic:
        """
        Return the topic with an id.

        @raise UnknownTopicId: there is none.
        """
        topic = self._topics.get(topic_id)
        if topic is None:
            raise UnknownTopicId
        return topic

    def guard_of(self, topic_id: UUID) -> Compare:
        """
        Return a compare that holds in the store while a topic exists and is unchanged.
        """
        # No entry has revision -1, so an unknown topic fails the compare.
        return Compare(metadata_keys.topic(topic_id), self._revisions.get(topic_id, -1))

    def leadership(self, topic_id: UUID, index: int) -> Leadership:
        """
        Return the leader of a partition; -1 if it has none.
        """
        return self._leaders.get((topic_id, index), _NOBODY)

    def _by_rack(self) -> Racks:
        if self._racks is None:
            self._racks = Racks(self.brokers())
        return self._racks

    def nearest(self, rack: str, topic_id: UUID, index: int) -> int:
        """
        See L{IImage.nearest}.
        """
        where = topic_id, index
        leader = self._leaders.get(where, _NOBODY).leader
        if topic_id in self._shown:
            return leader
        return self._by_rack().nearest(rack, where, leader, self._assigned(*where))

    def replicas(self, topic_id: UUID, index: int) -> Sequence[int]:
        """
        See L{IImage.replicas}.
        """
        where = topic_id, index
        leader = self._leaders.get(where, _NOBODY).leader
        racks = self._by_rack()
        if assigned := self._assigned(topic_id, index):
            added = racks.alive(leader) and leader not in assigned
            return (*assigned, leader) if added else assigned
        if not racks.alive(leader):
            return ()
        several = racks.several and topic_id not in self._shown
        return racks.replicas(where, leader) if several else (leader,)

    def _assigned(self, topic_id: UUID, index: int) -> Sequence[int]:
        """
        Return the replicas assigned to a partition by hand; none if there are none.
        """
        topic = self._topics.get(topic_id)
        return () if topic is None else topic.replicas.get(index, ())

    def reassignment(self, topic_id: UUID, index: int) -> Reassignment | None:
        """
        See L{IImage.reassignment}.
        """
        changes = self.topic_by_id(topic_id).reassignments
        if not changes:
            return None
        return in_progress(changes, index, self.leadership(topic_id, index).leader_epoch)
