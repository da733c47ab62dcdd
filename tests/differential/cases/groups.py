"""
Groups of the classic protocol: every step, right and wrong, and their offsets.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import attrs

from kafscale.wire.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest

#: What a member of a consumer group says of itself: version 0, topic C{t}, no more.
SUBSCRIPTION = bytes.fromhex("0000" "00000001" "000174" "ffffffff")


@attrs.define
class Group:
    """
    A group as a case knows it.

    @ivar name: Its id.
    @ivar member: The id of its first member.
    @ivar generation: Its generation, as this member knows it.
    """

    name: str
    member: str = ""
    generation: int = -1


def _group(talk: Talk, what: str = "g") -> Group:
    """
    A group whose coordinator is ready.
    """
    name = talk.name(what)
    request = FindCoordinatorRequest(coordinator_keys=[name])
    talk.until(lambda: talk.call(request, 4).coordinators[0].error_code == 0)
    described = DescribeGroupsRequest(groups=[name])
    talk.until(lambda: talk.call(described, 5).groups[0].error_code == 0)
    return Group(name)


def _join(group: str, **fields: Any) -> JoinGroupRequest:
    protocol = JoinGroupRequest.Protocol(name="range", metadata=SUBSCRIPTION)
    whole: dict[str, Any] = {
        "group_id": group,
        "session_timeout_ms": 30_000,
        "rebalance_timeout_ms": 30_000,
        "member_id": "",
        "protocol_type": "consumer",
        "protocols": [protocol],
    }
    return JoinGroupRequest(**whole | fields)


def _sync(group: Group, **fields: Any) -> SyncGroupRequest:
    given = SyncGroupRequest.Assignment(member_id=group.member, assignment=b"mine")
    whole: dict[str, Any] = {
        "group_id": group.name,
        "generation_id": group.generation,
        "member_id": group.member,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": [given],
    }
    return SyncGroupRequest(**whole | fields)


def _stable(talk: Talk, **fields: Any) -> Group:
    """
    A group of one member that has its assignment.
    """
    group = _joined(talk, **fields)
    talk.call(_sync(group), 5)
    return group


def _joined(talk: Talk, **fields: Any) -> Group:
    """
    A group of one member that waits for its assignment.
    """
    group = _group(talk)
    answer = talk.call(_join(group.name, **fields), 3 if "group_instance_id" not in fields else 5)
    assert answer.error_code == 0, answer
    group.member, group.generation = answer.member_id, answer.generation_id
    return group


# ---------------------------------------------------------------------- steps


def _whole(join: int, talk: Talk) -> None:
    """
    A member's whole life, in the versions of JoinGroup and of what belongs to it.
    """
    group = _group(talk)
    answer = talk.ask(_join(group.name), join)
    if answer.error_code:
        answer = talk.ask(_join(group.name, member_id=answer.member_id), join)
    group.member, group.generation = answer.member_id, answer.generation_id

    def near(request: type) -> int:
        return min(newest(request), max(join - 1, 0))

    beat = HeartbeatRequest(
        group_id=group.name, generation_id=group.generation, member_id=group.member
    )
    talk.ask(beat, near(HeartbeatRequest))
    talk.ask(_sync(group), near(SyncGroupRequest))
    talk.ask(beat, near(HeartbeatRequest))
    talk.ask(_sync(group), near(SyncGroupRequest))
    talk.ask(DescribeGroupsRequest(groups=[group.name]), near(DescribeGroupsRequest))
    left = LeaveGroupRequest.Member(member_id=group.member, group_instance_id=None)
    leaving = LeaveGroupRequest(group_id=group.name, member_id=group.member, members=[left])
    talk.ask(leaving, near(LeaveGroupRequest))
    talk.ask(leaving, near(LeaveGroupRequest))
    talk.ask(beat, near(HeartbeatRequest))
    talk.ask(DescribeGroupsRequest(groups=[group.name]), near(DescribeGroupsRequest))


PROTOCOL = JoinGroupRequest.Protocol

#: Requests to join a new group, by what they are. Not with the same protocol twice:
#: Kafka never answers that.
JOINS: dict[str, dict[str, Any]] = {
    "no group": {"group_id": ""},
    "session 5999": {"session_timeout_ms": 5999},
    "session 6000": {"session_timeout_ms": 6000},
    "session 1800001": {"session_timeout_ms": 1_800_001},
    "session -1": {"session_timeout_ms": -1},
    "unknown member": {"member_id": "member"},
    "no protocols": {"protocols": []},
    "no protocol type": {"protocol_type": ""},
    "other protocol type": {"protocol_type": "connect"},
    "garbage as a subscription": {"protocols": [PROTOCOL(name="range", metadata=b"\xff")]},
    "two protocols": {
        "protocols": [PROTOCOL(name="b", metadata=b"b"), PROTOCOL(name="a", metadata=b"a")]
    },
    "static": {"group_instance_id": "one"},
    "static, without a name": {"group_instance_id": ""},
    "static, bad name": {"group_instance_id": "a/b"},
    "static, unknown member": {"group_instance_id": "one", "member_id": "member"},
}


def _joining(version: int, fields: dict[str, Any], talk: Talk) -> None:
    group = _group(talk)
    request = _join(group.name, **fields)
    answer = talk.ask(request, version)
    if answer.error_code == 79:
        talk.ask(_join(group.name, **{**fields, "member_id": answer.member_id}), version)
    talk.ask(DescribeGroupsRequest(groups=[group.name]), 5)


#: What is wrong about a member's requests.
WRONG: dict[str, dict[str, Any]] = {
    "right": {},
    "generation before": {"generation_id": 0},
    "generation after": {"generation_id": 99},
    "generation -1": {"generation_id": -1},
    "unknown member": {"member_id": "member"},
    "no member": {"member_id": ""},
    "no member, generation -1": {"member_id": "", "generation_id": -1},
    "unknown group": {"group_id": "no such group"},
    "no group": {"group_id": ""},
    "static": {"group_instance_id": "one"},
    "protocol type": {"protocol_type": "connect"},
    "protocol": {"protocol_name": "sticky"},
}


def _wrong_sync(fields: dict[str, Any], talk: Talk) -> None:
    group = _joined(talk)
    talk.ask(_sync(group, **fields), newest(SyncGroupRequest))
    talk.ask(DescribeGroupsRequest(groups=[group.name]), 5)


def _fitting(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("protocol")}


def _wrong_beat(fields: dict[str, Any], talk: Talk) -> None:
    group = _stable(talk)
    whole: dict[str, Any] = {
        "group_id": group.name,
        "generation_id": group.generation,
        "member_id": group.member,
    }
    talk.ask(HeartbeatRequest(**whole | _fitting(fields)), newest(HeartbeatRequest))


def _wrong_commit(stable: bool, fields: dict[str, Any], talk: Talk) -> None:
    topic = talk.topic()
    group = _stable(talk) if stable else _joined(talk)
    changed = _fitting(fields)
    if "generation_id" in changed:
        changed["generation_id_or_member_epoch"] = changed.pop("generation_id")
    talk.ask(_commit(talk, group, topic, **changed), newest(OffsetCommitRequest))
    talk.ask(_fetch_offsets(talk, group.name, topic), newest(OffsetFetchRequest))


def _wrong_leave(fields: dict[str, Any], talk: Talk) -> None:
    group = _stable(talk)
    member = LeaveGroupRequest.Member(
        member_id=fields.get("member_id", group.member),
        group_instance_id=fields.get("group_instance_id"),
    )
    talk.ask(
        LeaveGroupRequest(group_id=fields.get("group_id", group.name), members=[member]),
        newest(LeaveGroupRequest),
    )
    talk.ask(DescribeGroupsRequest(groups=[group.name]), 5)


def _leaving_several(version: int, talk: Talk) -> None:
    group = _stable(talk)
    member = LeaveGroupRequest.Member
    talk.ask(
        LeaveGroupRequest(
            group_id=group.name,
            member_id=group.member,
            members=[
                member(member_id="member", group_instance_id=None),
                member(member_id=group.member, group_instance_id=None),
                member(member_id="", group_instance_id="static"),
            ],
        ),
        version,
    )
    talk.ask(LeaveGroupRequest(group_id=group.name, member_id="x", members=[]), version)


def _static(talk: Talk) -> None:
    """
    A static member that comes again, and the one that it replaced.
    """
    group = _stable(talk, group_instance_id="one")
    version = newest(JoinGroupRequest)
    again = talk.ask(_join(group.name, group_instance_id="one"), version)
    static: dict[str, Any] = {"group_instance_id": "one"}
    for member in (group.member, again.member_id):
        talk.ask(
            HeartbeatRequest(
                group_id=group.name,
                generation_id=again.generation_id,
                member_id=member,
                **static,
            ),
            newest(HeartbeatRequest),
        )
    talk.ask(_join(group.name, member_id=group.member, **static), version)
    talk.ask(_sync(group, **static), newest(SyncGroupRequest))
    left = LeaveGroupRequest.Member(member_id="", group_instance_id="one")
    talk.ask(
        LeaveGroupRequest(group_id=group.name, members=[left]), newest(LeaveGroupRequest)
    )


def _two(version: int, talk: Talk) -> None:
    """
    A second member: the first one is told, joins again, and both get their part.
    """
    group = _stable(talk)
    other = talk.connect()
    first = talk.ask(_join(group.name), version, other)
    joining = _join(group.name, member_id=first.member_id)
    correlation = other.send(joining, version)

    beat = HeartbeatRequest(
        group_id=group.name, generation_id=group.generation, member_id=group.member
    )
    talk.until(lambda: talk.call(beat, 4).error_code == 27)
    topic = talk.topic()
    talk.ask(_sync(group), 5)
    talk.ask(_commit(talk, group, topic), 9)
    talk.ask(DescribeGroupsRequest(groups=[group.name]), 5)
    mine = talk.ask(_join(group.name, member_id=group.member), version)
    second = talk.answer(joining, version, correlation, other)
    group.generation = mine.generation_id
    talk.ask(beat, 4)
    given = [
        SyncGroupRequest.Assignment(member_id=member, assignment=text)
        for member, text in ((group.member, b"first"), (second.member_id, b"second"))
    ]
    talk.ask(_sync(group, assignments=given), 5)
    talk.ask(_sync(group, member_id=second.member_id, assignments=[]), 5, other)
    # A member that does not fit.
    bad = _join(group.name, protocols=[PROTOCOL(name="other", metadata=SUBSCRIPTION)])
    talk.ask(bad, 3)
    talk.ask(_join(group.name, protocol_type="connect"), 3)


# -------------------------------------------------------------------- offsets


def _commit(talk: Talk, group: Group, topic: str, **fields: Any) -> OffsetCommitRequest:
    """
    A commit of offset 7; fields of the partition are those that are called like one.
    """
    asked = OffsetCommitRequest.Topic
    own = {each.name for each in asked.Partition.fields}
    inner = {name: fields.pop(name) for name in list(fields) if name in own}
    usual = {"partition_index": 0, "committed_offset": 7, "committed_metadata": "text"}
    part = asked.Partition(**cast(dict[str, Any], usual | inner))
    named = asked(name=topic, topic_id=talk.ids.get(topic, UUID(int=5)), partitions=[part])
    whole: dict[str, Any] = {
        "group_id": group.name,
        "generation_id_or_member_epoch": group.generation,
        "member_id": group.member,
        "topics": [named],
    }
    return OffsetCommitRequest(**whole | fields)


def _fetch_offsets(
    talk: Talk, group: str, *topics: str, indexes: tuple[int, ...] = (0, 1), every: bool = False
) -> OffsetFetchRequest:
    one, many = OffsetFetchRequest.Topic, OffsetFetchRequest.Group
    named = [
        many.Topic(name=t, topic_id=talk.ids.get(t, UUID(int=5)), partition_indexes=list(indexes))
        for t in topics
    ]
    return OffsetFetchRequest(
        group_id=group,
        topics=None if every else [one(name=t, partition_indexes=list(indexes)) for t in topics],
        groups=[many(group_id=group, topics=None if every else named)],
    )


#: Commits of a group without members, by what they are.
COMMITS: dict[str, dict[str, Any]] = {
    "right": {},
    "null metadata": {"committed_metadata": None},
    "empty metadata": {"committed_metadata": ""},
    "4096 bytes of metadata": {"committed_metadata": "m" * 4096},
    "4097 bytes of metadata": {"committed_metadata": "m" * 4097},
    "offset -1": {"committed_offset": -1},
    "offset -2": {"committed_offset": -2},
    "beyond the end": {"committed_offset": 1 << 40},
    "epoch": {"committed_leader_epoch": 5},
    "epoch -2": {"committed_leader_epoch": -2},
    "partition 5": {"partition_index": 5},
    "partition -1": {"partition_index": -1},
    "member": {"member_id": "member"},
    "generation": {"generation_id_or_member_epoch": 1},
    "member and generation": {"member_id": "member", "generation_id_or_member_epoch": 1},
    "static": {"group_instance_id": "one"},
    "no topics": {"topics": []},
}


def _committing(fields: dict[str, Any], talk: Talk) -> None:
    topic = talk.topic()
    group = _group(talk)
    talk.ask(_commit(talk, group, topic, **fields), newest(OffsetCommitRequest))
    request = _fetch_offsets(talk, group.name, topic, indexes=(0, 5))
    talk.ask(request, newest(OffsetFetchRequest))
    talk.ask(DescribeGroupsRequest(groups=[group.name]), newest(DescribeGroupsRequest))


def _commit_version(version: int, talk: Talk) -> None:
    topic = talk.topic()
    group = _group(talk)
    talk.ask(_commit(talk, group, topic), version)
    talk.ask(_commit(talk, group, talk.name("missing")), version)
    unknown = Group(talk.name("unknown"), "member", 3)
    talk.ask(_commit(talk, unknown, topic), version)
    talk.ask(_commit(talk, Group(group.name, "member", 3), topic), version)
    talk.ask(_fetch_offsets(talk, group.name, topic), min(version, newest(OffsetFetchRequest)))


def _fetch_version(version: int, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    group = _group(talk)
    talk.call(_commit(talk, group, topic), 9)
    ask = functools.partial(_fetch_offsets, talk, group.name)
    talk.ask(ask(topic), version)
    talk.ask(ask(topic, indexes=(0, 5, -1)), version)
    talk.ask(ask(talk.name("missing")), version)
    talk.ask(ask(), version)
    if version >= 2:
        talk.ask(ask(every=True), version)
    talk.ask(_fetch_offsets(talk, talk.name("unknown"), topic), version)
    talk.ask(_fetch_offsets(talk, "", topic), version)
    if version >= 8:
        one = ask(topic).groups[0]
        two = _fetch_offsets(talk, talk.name("unknown"), topic).groups[0]
        talk.ask(OffsetFetchRequest(groups=[one, two]), version)
        talk.ask(OffsetFetchRequest(groups=[]), version)
    if version >= 9:
        one = ask(topic).groups[0]
        one.member_id, one.member_epoch = "member", 1
        talk.ask(OffsetFetchRequest(groups=[one]), version)


def _described(version: int, talk: Talk) -> None:
    stable = _stable(talk)
    for names in ([stable.name], [stable.name, talk.name("unknown")], [""], []):
        for operations in (False, True) if version >= 3 else (False,):
            talk.ask(
                DescribeGroupsRequest(groups=names, include_authorized_operations=operations),
                version,
            )


def _listed(version: int, talk: Talk) -> None:
    """
    ListGroups, of which only this case's groups are compared.
    """
    topic = talk.topic()
    stable, empty = _stable(talk), _group(talk, "empty")
    talk.call(_commit(talk, empty, topic), 9)
    filters: list[dict[str, Any]] = [{}]
    if version >= 4:
        filters += [{"states_filter": [state]} for state in ("Stable", "Empty", "stable", "x")]
    if version >= 5:
        filters += [{"types_filter": [kind]} for kind in ("classic", "Classic", "consumer", "x")]
    for fields in filters:
        answer = talk.call(ListGroupsRequest(**fields), version)
        answer.groups = [
            each for each in answer.groups if each.group_id in (stable.name, empty.name)
        ]
        talk.keep(answer, version)


def _deleted(version: int, talk: Talk) -> None:
    topic = talk.topic()
    stable, empty = _stable(talk), _group(talk, "empty")
    talk.call(_commit(talk, empty, topic), 9)
    for names in ([stable.name], [talk.name("unknown")], []):
        talk.ask(DeleteGroupsRequest(groups_names=names), version)
    talk.ask(DeleteGroupsRequest(groups_names=[empty.name]), version)
    talk.ask(_fetch_offsets(talk, empty.name, topic), 9)


def _offsets_deleted(talk: Talk) -> None:
    topic = talk.topic("t", 2)
    empty = _group(talk, "empty")
    talk.call(_commit(talk, empty, topic), 9)
    asked = OffsetDeleteRequest.Topic

    def ask(group: str, name: str, *indexes: int) -> None:
        parts = [asked.Partition(partition_index=index) for index in indexes]
        talk.ask(
            OffsetDeleteRequest(group_id=group, topics=[asked(name=name, partitions=parts)]), 0
        )

    ask(empty.name, topic, 1)
    ask(empty.name, topic, 0, 1)
    ask(empty.name, topic, 7)
    ask(empty.name, talk.name("missing"), 0)
    ask(talk.name("unknown"), topic, 0)
    ask("", topic, 0)
    talk.ask(_fetch_offsets(talk, empty.name, topic), 9)


def _cases() -> Iterator[Case]:
    yield from each_version("groups/life", JoinGroupRequest, _whole)
    for name, fields in JOINS.items():
        yield Case(
            f"groups/join: {name}",
            functools.partial(_joining, newest(JoinGroupRequest), fields),
        )
    for name, fields in WRONG.items():
        yield Case(f"groups/sync: {name}", functools.partial(_wrong_sync, fields))
        if name.startswith("protocol"):
            continue
        yield Case(f"groups/heartbeat: {name}", functools.partial(_wrong_beat, fields))
        yield Case(f"groups/leave: {name}", functools.partial(_wrong_leave, fields))
        for stable in (True, False):
            state = "stable" if stable else "completing"
            yield Case(
                f"groups/commit, {state}: {name}",
                functools.partial(_wrong_commit, stable, fields),
            )
    yield from each_version("groups/leave several", LeaveGroupRequest, _leaving_several)
    for version in (4, newest(JoinGroupRequest)):
        yield Case(f"groups/two members, version {version}", functools.partial(_two, version))
    yield Case("groups/static", _static)
    for name, fields in COMMITS.items():
        yield Case(f"groups/commit: {name}", functools.partial(_committing, fields))
    yield from each_version("groups/commit", OffsetCommitRequest, _commit_version)
    yield from each_version("groups/fetch", OffsetFetchRequest, _fetch_version)
    yield from each_version("groups/describe", DescribeGroupsRequest, _described)
    yield from each_version("groups/list", ListGroupsRequest, _listed)
    yield from each_version("groups/delete", DeleteGroupsRequest, _deleted)
    yield Case("groups/offsets deleted", _offsets_deleted)


CASES = list(_cases())
