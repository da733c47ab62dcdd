"""
Create and alter a topic, and print the lag of every group, with confluent-kafka.

    python examples/admin.py [host:port]
"""

import sys

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

TOPIC = "audit"


def create(admin: AdminClient) -> None:
    """
    Create the topic with a configuration of its own and two partitions, and
    give it four.
    """
    try:
        # Kafscale accepts any replication factor: the object store keeps the copies.
        topic = NewTopic(TOPIC, 2, config={"message.timestamp.type": "LogAppendTime"})
        admin.create_topics([topic])[TOPIC].result()
        admin.create_partitions([NewPartitions(TOPIC, 4)])[TOPIC].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def alter(admin: AdminClient) -> None:
    """
    Keep records for a day, and print what the topic sets for itself.
    """
    day = ConfigEntry(
        "retention.ms", str(24 * 60 * 60 * 1000), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, TOPIC, incremental_configs=[day])
    # The alteration is in force when it is answered.
    admin.incremental_alter_configs([resource])[resource].result()
    for name, entry in sorted(admin.describe_configs([resource])[resource].result().items()):
        if not entry.is_default:
            print(f"{TOPIC}: {name}={entry.value}")


def print_lag(admin: AdminClient) -> None:
    """
    For each partition that a group has committed: how far the group is behind.
    """
    for listed in admin.list_consumer_groups().result().valid:
        asked = ConsumerGroupTopicPartitions(listed.group_id)
        answered = admin.list_consumer_group_offsets([asked])[listed.group_id].result()
        committed = answered.topic_partitions
        latest = {each: OffsetSpec.latest() for each in committed}
        ends = admin.list_offsets(latest) if latest else {}
        for each in committed:
            end = ends[each].result().offset
            place = f"{each.topic}-{each.partition}"
            print(f"{listed.group_id}: {place} at {each.offset} of {end}, lag {end - each.offset}")


if __name__ == "__main__":
    client = AdminClient(
        {"bootstrap.servers": sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"}
    )
    create(client)
    alter(client)
    print_lag(client)
