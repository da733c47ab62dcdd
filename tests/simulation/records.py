"""
Checks of the records in the metadata store, made at each write.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from tests.simulation.checker import Checker
from tests.simulation.etcd import Done, Row

GROWING = ("epoch", "rolled_to", "log_start")


class Records:
    """
    Sees every change of a record that has an order.

    @ivar bound: How many segments have taken chapters in.
    @ivar deleted: How many records of incarnations were deleted.
    """

    def __init__(self, checker: Checker, namespace: str) -> None:
        self._checker = checker
        self._prefix = f"{namespace}/"
        self._ends: dict[str, int] = {}  # of sealed incarnations
        self._gone: set[int] = set()  # incarnations whose records were deleted
        self.bound = 0
        self.deleted = 0

    def seen(self, done: list[Done]) -> None:
        """
        These changes were made, in one commit.
        """
        for each in done:
            kind, _, rest = each.key.removeprefix(self._prefix).partition("/")
            if kind == "seals" and each.after is not None:
                end = _value(each.after).get("sealed_at")
                if end is not None:
                    self._ends.setdefault(rest, end)
            self._follow_incarnations(each, kind, rest)
            if each.before is None or each.after is None:
                continue
            if kind == "partitions":
                self._grow(each, GROWING)
                before, after = _value(each.before), _value(each.after)
                self._checker.note(
                    after["log_start"] <= after["rolled_to"], f"{each.key} is {after}"
                )
                rolled = after["rolled_to"] > before["rolled_to"]
                self.bound += rolled and "chapters" in before and "chapters" not in after
            elif kind == "group-shards":
                before, after = _value(each.before), _value(each.after)
                self._checker.note(
                    after["sequence"] > before["sequence"],
                    f"{each.key} was {before}, and is {after}",
                )
            elif kind == "groups":
                self._grow(each, ("generation",))
            elif kind == "incarnations":
                self._grow(each, ("trim",))
                self._trimmed(each)
            elif kind == "seals":
                before, after = _value(each.before), _value(each.after)
                self._checker.note(
                    "sealed_at" not in before, f"{each.key} was {before}, and is {after}"
                )

    def _follow_incarnations(self, each: Done, kind: str, rest: str) -> None:
        """
        A record goes when its journal is wound up, and nothing names the
        incarnation any more (rule 27).
        """
        if kind == "incarnations" and each.before is not None and each.after is None:
            record = _value(each.before)
            is_over = record.get("wound_up") is True and record.get("level") == 1
            self._checker.note(is_over, f"{each.key} is deleted, and was {record}")
            self._gone.add(int(rest))
            self.deleted += 1
        elif kind in ("incarnations", "seals", "journals") and each.after is not None:
            self._checker.note(int(rest) not in self._gone, f"{each.key} comes back")
        elif kind == "partitions" and each.after is not None:
            after = _value(each.after)
            chapters = (chapter[1] for chapter in after.get("chapters", ()))
            named = {after["incarnation"], *(number for number, _ in after["journals"]), *chapters}
            self._checker.note(
                not named & self._gone, f"{each.key} names {named & self._gone}, which are gone"
            )
        elif kind == "lowest-incarnation" and each.before is not None:
            assert each.after is not None
            before, lowest = _value(each.before), _value(each.after)
            self._checker.note(lowest >= before, f"{each.key} was {before}, and is {lowest}")

    def _trimmed(self, each: Done) -> None:
        """
        Once the end is recorded, the trim mark moves there and nowhere else
        (rule 7).
        """
        assert each.before is not None and each.after is not None
        before, after = _value(each.before), _value(each.after)
        end = self._ends.get(each.key.rpartition("/")[2])
        if end is not None and after["trim"] not in (before["trim"], end):
            self._checker.note(False, f"{each.key} was {before}, is {after}; it ends at {end}")

    def _grow(self, each: Done, names: tuple[str, ...]) -> None:
        assert each.before is not None and each.after is not None
        before, after = _value(each.before), _value(each.after)
        for name in names:
            if after[name] < before[name]:
                self._checker.note(False, f"{each.key}: {name} was {before}, and is {after}")


def _value(row: Row) -> Any:
    return json.loads(b64decode(row.value))
