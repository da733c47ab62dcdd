"""
Apache Kafka's command-line tools, as scripts on the path: a folder with a
C{kafka-topics.sh} and so on for one version, as its distribution has them.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from tests.harness.peers import java

#: The classes that the scripts run, by the versions that have them there.
CLASSES: dict[str, dict[str, str]] = {
    "kafka-acls.sh": {"4.4": "org.apache.kafka.tools.AclCommand"},
    "kafka-broker-api-versions.sh": {"4.4": "org.apache.kafka.tools.BrokerApiVersionsCommand"},
    "kafka-cluster.sh": {"4.4": "org.apache.kafka.tools.ClusterTool"},
    "kafka-configs.sh": {
        "4.4": "org.apache.kafka.tools.ConfigCommand",
        "3.9": "kafka.admin.ConfigCommand",
        "2.8": "kafka.admin.ConfigCommand",
    },
    "kafka-console-consumer.sh": {
        "4.4": "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "3.9": "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "2.8": "kafka.tools.ConsoleConsumer",
        "0.11": "kafka.tools.ConsoleConsumer",
    },
    "kafka-console-producer.sh": {
        "4.4": "org.apache.kafka.tools.ConsoleProducer",
        "3.9": "kafka.tools.ConsoleProducer",
        "2.8": "kafka.tools.ConsoleProducer",
        "0.11": "kafka.tools.ConsoleProducer",
    },
    "kafka-consumer-groups.sh": {
        "4.4": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "3.9": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "2.8": "kafka.admin.ConsumerGroupCommand",
        "0.11": "kafka.admin.ConsumerGroupCommand",
    },
    "kafka-delegation-tokens.sh": {"4.4": "org.apache.kafka.tools.DelegationTokenCommand"},
    "kafka-delete-records.sh": {"4.4": "org.apache.kafka.tools.DeleteRecordsCommand"},
    "kafka-get-offsets.sh": {"4.4": "org.apache.kafka.tools.GetOffsetShell"},
    "kafka-leader-election.sh": {"4.4": "org.apache.kafka.tools.LeaderElectionCommand"},
    "kafka-log-dirs.sh": {"4.4": "org.apache.kafka.tools.LogDirsCommand"},
    "kafka-producer-perf-test.sh": {"4.4": "org.apache.kafka.tools.ProducerPerformance"},
    "kafka-reassign-partitions.sh": {
        "4.4": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    },
    "kafka-topics.sh": {
        "4.4": "org.apache.kafka.tools.TopicCommand",
        "3.9": "org.apache.kafka.tools.TopicCommand",
        "2.8": "kafka.admin.TopicCommand",
    },
}


def tools(folder: Path, version: str) -> dict[str, str]:
    """
    Write the scripts of a version into a folder.

    @return: Environment variables with which a shell finds them.
    """
    folder.mkdir()
    for name, classes in CLASSES.items():
        if version in classes:
            script = folder / name
            command = shlex.join(java(version, classes[version]))
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
