"""
The services of a broker, and the settings of its log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from twisted.internet.defer import Deferred

from kafscale.access.authorization.authorizer import StandardAuthorizer
from kafscale.access.authorization.guard import Guard
from kafscale.cluster.image import Image
from kafscale.cluster.leadership import Leaderships
from kafscale.cluster.levels import FormatLevels
from kafscale.cluster.producer_ids import ProducerIds
from kafscale.cluster.records import ClusterRecords
from kafscale.cluster.shards import ShardOwnership
from kafscale.cluster.topic_configs import TopicConfigs
from kafscale.cluster.topics import Topics
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.config import Settings
from kafscale.counts import ConversionCounts, DenialCounts
from kafscale.errors import UnknownTopicId
from kafscale.format.bundle import GROUP
from kafscale.format.metadata_keys import BROKERS, SHARDS, shard_of
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.offsets_topic import OffsetsTopic
from kafscale.interfaces import (
    OFFSETS_PARTITIONS,
    OFFSETS_TOPIC,
    Broker,
    Change,
    IDelegationTokens,
    ILog,
    IMetadataStore,
    IService,
    IUsers,
    LogRules,
    Topic,
)
from kafscale.interfaces.quotas import IQuotas
from kafscale.log.log import Log
from kafscale.log.replicas.replicas import Replicas
from kafscale.log.rolling.volumes import MAX_CHAPTERS
from kafscale.log.settings import LogSettings
from kafscale.services.cluster.alter_partition_reassignments import (
    AlterPartitionReassignmentsService,
)
from kafscale.services.cluster.client_quotas import ClientQuotasService
from kafscale.services.cluster.delegation_tokens import DelegationTokensService
from kafscale.services.cluster.describe_acls import DescribeAclsService
from kafscale.services.cluster.describe_cluster import DescribeClusterService
from kafscale.services.cluster.describe_log_dirs import DescribeLogDirsService
from kafscale.services.cluster.describe_users import DescribeUsersService
from kafscale.services.cluster.elect_leaders import ElectLeadersService
from kafscale.services.configs.alter_configs import AlterConfigsService
from kafscale.services.configs.broker_configs import broker_configs
from kafscale.services.configs.describe_configs import DescribeConfigsService
from kafscale.services.groups.describe_groups import DescribeGroupsService
from kafscale.services.groups.find_coordinator import FindCoordinatorService
from kafscale.services.groups.join_group import JoinGroupService
from kafscale.services.groups.offset_commit import OffsetCommitService
from kafscale.services.records.delete_records import DeleteRecordsService
from kafscale.services.records.describe_producers import DescribeProducersService
from kafscale.services.records.fetch import FetchService
from kafscale.services.records.init_producer_id import InitProducerIdService
from kafscale.services.records.list_offsets import ListOffsetsService
from kafscale.services.records.message_set_conversion import DownConverter
from kafscale.services.records.produce import ProduceService
from kafscale.services.records.read_replicas import ReplicaSelector
from kafscale.services.topics.create_partitions import CreatePartitionsService
from kafscale.services.topics.create_topics import CreateTopicsService
from kafscale.services.topics.delete_topics import DeleteTopicsService
from kafscale.services.topics.describe_topic_partitions import DescribeTopicPartitionsService
from kafscale.services.topics.metadata import MetadataService
from kafscale.tap.stores import disk_space, log_directory

_DEFAULTS = Settings()


#: The topic configurations whose defaults are settings, by the settings' names.
TOPIC_DEFAULTS = {
    "compression_type": "compression.type",
    "log_cleanup_policy": "cleanup.policy",
    "log_message_timestamp_after_max_ms": "message.timestamp.after.max.ms",
    "log_message_timestamp_before_max_ms": "message.timestamp.before.max.ms",
    "log_message_timestamp_type": "message.timestamp.type",
    "log_retention_bytes": "retention.bytes",
    "log_retention_ms": "retention.ms",
    "log_roll_ms": "segment.ms",
    "log_segment_bytes": "segment.bytes",
    "message_max_bytes": "max.message.bytes",
}


def topic_configs(settings: Settings) -> TopicConfigs:
    """
    The configurations of topics, with the defaults that the settings replace.
    """
    defaults = {}
    for setting, name in TOPIC_DEFAULTS.items():
        value = getattr(settings, setting)
        if value != getattr(_DEFAULTS, setting):
            defaults[name] = ",".join(value) if isinstance(value, tuple) else str(value)
    return TopicConfigs(defaults)


def all_services(
    *,
    settings: Settings,
    broker: Broker,
    image: Image,
    configs: TopicConfigs,
    log: Log,
    replicas: Replicas,
    leaderships: Leaderships,
    coordinator: GroupCoordinator,
    shard_ownership: ShardOwnership,
    metadata: IMetadataStore,
    users: IUsers,
    tokens: IDelegationTokens,
    levels: FormatLevels,
    reactor: Any,
    run_blocking: Callable[..., Deferred[Any]],
    chance: Random,
    conversions: ConversionCounts,
    authorizer: StandardAuthorizer | None,
    denials: DenialCounts,
    quotas: IQuotas,
    quota_records: ClusterRecords,
    find_address: Callable[[str], Awaitable[str | None]],
) -> list[IService]:
    """
    All services of a broker, from the parts that they need.

    @param broker: The broker as it is registered.
    @param users: Whose credentials are in the metadata store.
    @param tokens: The delegation tokens of the cluster.
    @param run_blocking: Calls a function in a thread: inflates and compresses batches.
    @param chance: The source of ids.
    @param conversions: Counts the records converted for old clients.
    @param authorizer: Decides what clients may do; None if they may do everything.
    @param denials: Counts what the authorizer denies.
    @param quotas: Of clients, as they are used on this broker.
    @param quota_records: The quotas of the cluster.
    @param find_address: Returns the address of a host; None if it has none.
    """
    guard = None
    if authorizer is not None:
        guard = Guard(authorizer, image, settings.auto_create_topics, reactor.seconds, denials)
    topics = Topics(
        metadata,
        image,
        configs,
        leaderships.wait_for_leaders,
        levels.in_force,
        reactor,
        lambda: UUID(int=chance.getrandbits(128), version=4),
    )
    ids = ProducerIds(metadata)
    down_converter = DownConverter(
        image,
        lambda overrides: configs.value(overrides, "message.downconversion.enable"),
        WorkQueue(reactor, run_blocking),
        conversions,
    )
    services: list[IService] = [
        ProduceService(
            image,
            log,
            configs.append_rules,
            reactor,
            run_blocking,
            log.pressure.hold,
            conversions,
            leaderships.claimed,
        ),
        InitProducerIdService(ids),
        FetchService(
            image,
            log,
            reactor,
            lambda: chance.randrange(1, 2**31),
            down_converter,
            quotas,
            settings.fetch_sessions,
            replica_selector=ReplicaSelector(image, log, replicas, broker.rack, reactor),
            permitted=None if guard is None else guard.topics,
        ),
        ListOffsetsService(image, log),
        FindCoordinatorService(lambda group: shard_ownership.coordinator(shard_of(group))),
        JoinGroupService(coordinator),
        OffsetCommitService(image, coordinator, reactor, settings.offset_metadata_max_bytes),
        DescribeGroupsService(coordinator),
        MetadataService(
            image, topics, settings.auto_create_topics, settings.auto_create_partitions
        ),
        DescribeTopicPartitionsService(image, topics),
        CreateTopicsService(
            image, topics, configs, reactor, quotas, settings.auto_create_partitions
        ),
        DeleteTopicsService(image, topics, reactor, quotas),
        CreatePartitionsService(image, topics, reactor, quotas),
        DeleteRecordsService(image, log, configs, reactor),
        DescribeConfigsService(
            image, topics, configs, broker_configs(settings, broker, configs)
        ),
        AlterConfigsService(image, topics, configs),
        DescribeClusterService(image),
        DescribeLogDirsService(
            image, log, log_directory(settings), lambda: disk_space(settings)
        ),
        DescribeProducersService(image, log, topics),
        ElectLeadersService(image, leaderships.wait_for_leader, reactor),
        AlterPartitionReassignmentsService(image, topics, reactor),
        ClientQuotasService(quota_records, find_address),
        DescribeAclsService(authorizer, WorkQueue(reactor, run_blocking)),
        DescribeUsersService(users),
        DelegationTokensService(tokens),
    ]
    return services if guard is None else guard.services(services)


def log_settings(settings: Settings) -> LogSettings:
    """
    The settings of the log, in its units.
    """
    return LogSettings(
        namespace=settings.namespace,
        fencing=settings.fencing(),
        slot_bytes=settings.slot_bytes,
        slots_in_flight=settings.slots_in_flight,
        linger=settings.flush_interval_ms / 1000,
        rolls=16 if settings.s3_bucket else 2,  # S3 has a high latency and serves many at once
        segment_bytes=settings.segment_bytes,
        segment_seconds=settings.segment_ms / 1000,
        unrolled_bytes=settings.unrolled_bytes,
        journal_slots=settings.journal_slots,
        bundled=GROUP if settings.s3_bucket else 0,
        chapters=MAX_CHAPTERS if settings.s3_bucket else 0,
        orphan_seconds=settings.orphan_ms / 1000,
        readahead=settings.readahead_segments,
    )


def log_rules(image: Image, configs: TopicConfigs) -> Callable[[UUID], LogRules]:
    """
    A function that returns the segment rules in a topic's configuration.
    """

    def rules(topic_id: UUID) -> LogRules:
        try:
            topic = image.topic_by_id(topic_id)
        except UnknownTopicId:
            return LogRules()  # the topic is deleted, and soon its data
        return configs.log_rules(topic.configs)

    return rules


def topic_name(image: Image, topic_id: UUID) -> str:
    """
    Return the name of a topic; its id if there is no such topic.
    """
    try:
        return image.topic_by_id(topic_id).name
    except UnknownTopicId:
        return str(topic_id)


_OFFSETS_CONFIGS = {
    "cleanup.policy": "compact",
    "compression.type": "producer",
    "segment.bytes": "104857600",
}
"""The configuration of C{__consumer_offsets} in Kafka, for tools that describe it."""


def shown_offsets(image: Image, log: Log, clock: Any) -> OffsetsTopic:
    """
    C{__consumer_offsets}, which clients can read from now on.
    """
    topic_id = _offsets_topic_id(image)

    def name_of(topic_id: UUID) -> str | None:
        try:
            return image.topic_by_id(topic_id).name
        except UnknownTopicId:
            return None

    image.show(Topic(topic_id, OFFSETS_TOPIC, OFFSETS_PARTITIONS, _OFFSETS_CONFIGS))
    shown = OffsetsTopic(topic_id, name_of, clock.seconds)
    log.others = shown.partition
    return shown


def follow_shards(image: Image, ownership: ShardOwnership) -> None:
    """
    Have the broker that coordinates the groups of a shard as the leader of its partitions
    of C{__consumer_offsets}, now and whenever a broker comes or goes.
    """
    topic_id = _offsets_topic_id(image)

    def follow() -> None:
        owners = [ownership.coordinator(shard) for shard in range(SHARDS)]
        ids = [-1 if owner is None else owner.broker_id for owner in owners]
        image.lead(topic_id, [ids[index % SHARDS] for index in range(OFFSETS_PARTITIONS)])

    def changed(changes: Sequence[Change]) -> None:
        if any(change.key.startswith(BROKERS) for change in changes):
            follow()

    follow()
    image.on_change(changed)


def _offsets_topic_id(image: Image) -> UUID:
    """
    The same for all brokers of a cluster, and for no other cluster.
    """
    return uuid5(NAMESPACE_URL, f"{image.cluster_id}/{OFFSETS_TOPIC}")


def follow_configs(log: ILog, image: Image, configs: TopicConfigs) -> None:
    """
    Have the log follow the configurations of topics. Each is in force in the
    log before the request that has altered it is answered, because that waits
    for the image.
    """

    def changed(topic: Topic) -> None:
        log.configured(topic.topic_id, topic.partitions, configs.log_rules(topic.configs))

    image.on_topic_changed(changed)
