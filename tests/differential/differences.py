"""
In what Kafscale answers otherwise than Apache Kafka, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from tests.differential.compare import ABSENT, Found

ANY = "<any>"
"""Stands for all values."""


@attrs.frozen
class Difference:
    """
    Fields that differ on purpose.

    @ivar cases: A pattern of names of cases, of one family; C{*} stands for any text.
    @ivar path: A pattern of paths within the answers.
    @ivar kafka: The value of Kafka, if it matters.
    @ivar ours: The value of Kafscale, likewise.
    """

    cases: str
    path: str
    kafka: object = attrs.field(default=ANY, kw_only=True)
    ours: object = attrs.field(default=ANY, kw_only=True)

    def covers(self, found: Found) -> bool:
        """
        Whether this is such a difference.
        """
        return (
            _matches(self.cases, found.case)
            and _matches(self.path, found.path)
            and self.kafka in (ANY, found.kafka)
            and self.ours in (ANY, found.ours)
        )


def _matches(pattern: str, text: str) -> bool:
    parts = map(re.escape, pattern.split("*"))
    return re.fullmatch(".*".join(parts), text, re.DOTALL) is not None


D = Difference

#: The differences, by their reasons as docs/protocol.md has them.
REASONS: dict[str, list[Difference]] = {
    "Kafka fails on these requests, with UNKNOWN_SERVER_ERROR; Kafscale says what is"
    " wrong with them, or takes what can be meant.": [
        D("fetch/-1 bytes of the partition", "*.error_code", kafka=-1, ours=0),
        D("fetch/isolation 2", "*.error_code", kafka=-1, ours=0),
        D("lookups/metadata, *", "14 Metadata *"),
        D("lookups/partitions", "*.error_code", kafka=-1, ours=17),
        D("configs/change: operation 4, *", "*.error_code", kafka=-1, ours=42),
        D("produce/*", "*.error_code", kafka=-1, ours=76),
        D("produce/*", "*.error_code", kafka=-1, ours=87),
    ],
    "What is no whole batch of format 2 is refused with CORRUPT_MESSAGE if it is cut off, and"
    " INVALID_RECORD if its format is another; Kafka has it the other way round.": [
        D("produce/batch: *", "*.error_code", kafka=87, ours=2),
        D("produce/batch: magic 2 as *", "*.error_code", kafka=2, ours=87),
        D("produce/small messages: two batches", "*.error_code", kafka=87, ours=10),
        D("produce/batch: control of a transaction", "*.error_code", kafka=53, ours=87),
    ],
    "Bytes behind a batch are refused; Kafka drops them.": [
        D("produce/batch: a byte too many", "*"),
    ],
    "Offset deltas of records must count up from 0 in every batch; Kafka looks at them in"
    " compressed ones.": [
        D("produce/batch: record offset *", "*"),
        D("produce/batch: offsets *", "*"),
    ],
    "If a batch is marked as LogAppendTime, its largest timestamp becomes that of the records;"
    " Kafka keeps the one in its header.": [
        D("produce/batch: append time, max timestamp too large", "*.max_timestamp"),
        D("produce/batch: append time, max timestamp too large", "* ListOffsets *", kafka=-1),
    ],
    "Timestamps that overflow are refused in topics with LogAppendTime, too; Kafka does not look"
    " at them there.": [
        D("produce/append time: timestamp overflow", "*"),
    ],
    "A batch of a producer must have its epoch; Kafka takes -1.": [
        D("produce/batch: producer without an epoch", "*"),
    ],
    "A duplicate is answered as the batch was; Kafka gives its time as that of an append.": [
        D("produce/sequences: *", "*.log_append_time_ms"),
    ],
    "The log start is not in the answer to a batch that is refused; Kafka has it there if it"
    " looked at the records.": [
        D("produce/*", "*.log_start_offset", kafka=0, ours=-1),
    ],
    "The texts for people differ, and Kafscale gives one with every error; Kafka does not,"
    " and gives one with some successes.": [
        D("lookups/*", "*.error_message"),
        D("topics/*", "*.error_message"),
        D("groups/delete, *", "*.error_message"),
        D("produce/*", "*.error_message"),
        D("configs/*", "*.error_message"),
    ],
    "A request that names a partition, a topic or a resource twice: one of the two brokers"
    " answers once, the other twice. No client sends that.": [
        D("fetch/twice, *", "*"),
        D("lookups/offsets, *", "*']", kafka=ABSENT),
        D("configs/describe, *", "*']", ours=ABSENT),
        D("configs/resources, *", "*']", ours=ABSENT),
        D("topics/delete, *", "*"),
    ],
    "Records that DeleteRecords deleted are not found by the largest timestamp (-3); Kafka"
    " finds those until their segment is deleted.": [
        D("lookups/deleted records, *", "17 ListOffsets *"),
    ],
    "Any replication factor from 1 up is accepted, because the store keeps the copies.": [
        D("topics/create: replication factor 3", "*"),
    ],
    "A topic that would be created, with validate_only, has no id; Kafka invents one.": [
        D("topics/create*", "*.topic_id", kafka="<id>", ours="<none>"),
    ],
    "Fetch names no aborted transactions, null, for a partition that is not there; Kafka has"
    " an empty list.": [
        D("fetch/*", "*.aborted_transactions", kafka=[]),
        D("topics/*", "*.aborted_transactions", kafka=[]),
    ],
    "A configuration that CreateTopics names twice is refused; Kafka takes the last value.": [
        D("topics/create: config twice", "*"),
    ],
    "The names of Kafka's internal topics are reserved, and __consumer_offsets always exists;"
    " Kafka creates such topics.": [
        D("topics/create: internal name*", "*"),
    ],
    "Of topics that one request names and whose names collide, the first is created; Kafka"
    " creates all.": [
        D("topics/create several, *", "*.error_code", kafka=0, ours=17),
    ],
    "ElectLeaders leaves out a topic of which it has nothing to say; Kafka names it.": [
        D("topics/elect, *", "*", ours=ABSENT),
    ],
    "Configurations of Kafka before version 4 are kept: tools and topics that set them go"
    " on working.": [
        D("configs/message.*", "*"),
        D("configs/describe, *", "*.configs[message.downconversion.enable]"),
        D("configs/describe, *", "*.configs[message.format.version]"),
        D("configs/describe, *", "*.configs[message.timestamp.difference.max.ms]"),
        D("topics/create*", "*.configs[message.downconversion.enable]"),
        D("topics/create*", "*.configs[message.format.version]"),
        D("topics/create*", "*.configs[message.timestamp.difference.max.ms]"),
    ],
    "min.insync.replicas has its default from the table of defaults; Kafka sets it for the"
    " cluster when eligible leader replicas are on.": [
        D("configs/*", "*[min.insync.replicas]*"),
        D("topics/create*", "*[min.insync.replicas].config_source"),
    ],
    "Values are described as they were set; Kafka describes what it read: without blanks,"
    " in lower case, each policy once.": [
        D("configs/*", "*.value", ours=" 7 "),
        D("configs/*", "*.value", ours="TRUE"),
        D("configs/min.cleanable.dirty.ratio", "*.value"),
        D("configs/cleanup.policy", "*.value"),
    ],
    "There is no tiered storage: Kafscale keeps remote.storage.enable and does nothing;"
    " Kafka refuses it where the broker has none.": [
        D("configs/remote.storage.enable", "*"),
    ],
    "Numbers that Kafka accepts and that mean nothing are refused: NaN as a ratio, -2 as a"
    " size.": [
        D("configs/min.cleanable.dirty.ratio", "*.error_code", kafka=0, ours=40),
        D("configs/retention.bytes", "*"),
    ],
    "Names of codecs are in lower case or not; Kafka refuses the latter.": [
        D("configs/compression.type", "*"),
    ],
    "A topic without a name is an invalid topic; Kafka calls it an invalid request.": [
        D("configs/replace, *", "*[']*.error_code", kafka=42, ours=17),
        D("configs/resources, *", "*[']*.error_code", kafka=42, ours=17),
    ],
    "Which versions and features there are is Kafscale's own: older versions for older"
    " clients, no transactions, no new groups, no feature that would promise these.": [
        D("various/api versions, *", "*.api_keys[*"),
        D("various/api versions, *", "*features*"),
    ],
    "Every configuration of a topic has the broker's default among its synonyms.": [
        D("configs/*", "*.synonyms[log.*", kafka=ABSENT),
    ],
    "The configuration of a broker is read-only; Kafka can change some of it while it runs.": [
        D("configs/describe, *", "*.read_only", kafka=False, ours=True),
    ],
    "There is no logger to configure.": [
        D("various/resources, *", "*.config_resources[1]", ours=ABSENT),
    ],
    "A member that is refused leaves no group behind.": [
        D("groups/join: no proto*", "*.group_state", kafka="Empty", ours="Dead"),
    ],
    "A group in which members join shows no assignments: those of the generation before"
    " hold no more.": [
        D("groups/two members, *", "*.member_assignment", ours=""),
    ],
}

def unexplained(found: Iterable[Found]) -> list[Found]:
    """
    The differences that are not known.
    """
    known = [one for held in REASONS.values() for one in held]
    return [each for each in found if not any(one.covers(each) for one in known)]
