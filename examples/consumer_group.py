"""
Process payments in a consumer group and commit by hand, with kafka-python.

Each run produces five payments and processes what the group has not processed
yet. Stop it at any moment: the next run goes on after the last commit.

    python examples/consumer_group.py [host:port]
"""

import sys

from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata

TOPIC = "payments"
GROUP = "billing"


def produce(servers: str) -> None:
    """
    Produce five payments. The first produce creates the topic.
    """
    producer = KafkaProducer(bootstrap_servers=servers)
    sent = [producer.send(TOPIC, b"%d euros" % amount) for amount in (5, 10, 20, 40, 80)]
    for each in sent:
        each.get(30)  # raises what the broker answered, if it stored nothing
    producer.close()


def consume(servers: str) -> None:
    """
    Process payments until the group has reached the end of the topic.
    """
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=servers,
        group_id=GROUP,
        # Where the group starts when it has committed nothing yet.
        auto_offset_reset="earliest",
        # A commit by hand says that records were processed, not only that they were read.
        enable_auto_commit=False,
    )
    while not reached_end(consumer):
        for partition, records in consumer.poll(timeout_ms=1000).items():
            for record in records:
                print(f"offset {record.offset}: {record.value.decode()}")
            # The commit names the record to go on with. After a crash before this
            # line the records come again: each is processed at least once.
            after = OffsetAndMetadata(records[-1].offset + 1, "", records[-1].leader_epoch)
            consumer.commit({partition: after})
    consumer.close()


def reached_end(consumer: KafkaConsumer) -> bool:
    """
    Whether this member has its partitions, and has read all of them.
    """
    assigned = consumer.assignment()
    ends = consumer.end_offsets(assigned) if assigned else {}
    return bool(ends) and all(consumer.position(each) >= end for each, end in ends.items())


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
    produce(address)
    consume(address)
