"""
Produce ten orders and read the topic from its start, with confluent-kafka.

    python examples/produce_and_consume.py [host:port]
"""

import sys

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "orders"
PARTITIONS = 3


def create_topic(servers: str) -> None:
    """
    Create the topic, unless an earlier run has done so.
    """
    admin = AdminClient({"bootstrap.servers": servers})
    try:
        admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def produce(servers: str) -> None:
    """
    Produce ten orders, and return when all of them are stored.
    """
    # With idempotence a retry leaves no duplicate, not even over a restart of the broker.
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    failures = []

    def delivered(error, message):
        if error is not None:
            failures.append(error)

    for number in range(10):
        # Records with the same key go to the same partition, and stay in order.
        producer.produce(
            TOPIC, key=f"customer-{number % 4}", value=f"order {number}", on_delivery=delivered
        )
    unanswered = producer.flush(30)
    if failures or unanswered:
        sys.exit(f"{len(failures)} records failed, {unanswered} are unanswered: {failures[:1]}")


def consume(servers: str) -> None:
    """
    Print all records of the topic, partition by partition.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            # librdkafka requires a group.id; assign() without commits uses no group.
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(TOPIC, index, OFFSET_BEGINNING) for index in range(PARTITIONS)])
    at_end = 0
    while at_end < PARTITIONS:
        message = consumer.poll(30)
        if message is None:
            sys.exit("no answer from the broker for 30 s")
        if message.error() is None:
            place = f"{message.topic()}-{message.partition()} @ {message.offset()}"
            print(f"{place}: {message.key().decode()}, {message.value().decode()}")
        elif message.error().code() == KafkaError._PARTITION_EOF:
            at_end += 1
        else:
            raise KafkaException(message.error())
    consumer.close()


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
    create_topic(address)
    produce(address)
    consume(address)
