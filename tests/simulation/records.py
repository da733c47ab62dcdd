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
    """

    def __init__(self, checker: Checker, namespace: str) -> None:
        self._checker = checker
        self._prefix = f"{namespace}/"
        self._ends: dict[str, int] = {}  # of sealed incarnations
        self.bound = 0

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
