"""
Verifying a namespace: C{kafscale-inspect verify}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import attrs

from kafscale.format import object_keys
from kafscale.format.reading import list_objects
from kafscale.format.slot import SMALLEST_SLOT
from kafscale.inspect.bundles import check_bundles
from kafscale.inspect.findings import Finding, Findings, Report, Weight, twice
from kafscale.inspect.journals import Tails, check_journal, scan
from kafscale.inspect.partitions import check_partition, check_tail
from kafscale.inspect.view import View
from kafscale.inspect.volumes import UNNAMED, check_volumes, named_by
from kafscale.interfaces import IObjectReader


@attrs.define
class Verification:
    """
    One verification.

    @ivar objects: Reads the objects.
    @ivar fresh: Reads the metadata as it is now.
    @ivar report: Takes a line of the report.
    @ivar found: The number of findings of each severity.
    @ivar count: The number of objects.
    @ivar size: Their size in bytes.
    """

    objects: IObjectReader
    fresh: Callable[[], Awaitable[View]]
    report: Report
    found: dict[Weight, int] = attrs.field(factory=lambda: dict.fromkeys(Weight, 0))
    count: int = 0
    size: int = 0

    async def run(self) -> bool:
        """
        Check everything and report the findings. Return whether no rule of the
        log is violated.
        """
        view = await self.fresh()
        unknown = Findings()
        for key, text in view.unknown.items():
            unknown.wrong(key, text)
        self._report(unknown)
        tails = Tails()
        for number in sorted(view.journals):
            self._report(await twice(partial(self._journal, view, number, tails)))
        for where in sorted(view.partitions):
            self._report(await twice(partial(self._partition, view, where)))
        self._report(await twice(partial(self._tails, view, tails)))
        self._report(await self._named_since(await twice(partial(self._volumes, view))))
        self._report(await twice(partial(self._strays, view)))
        wrong = self.found[Weight.WRONG]
        self.report(
            f"{'ok' if not wrong else f'{wrong} wrong'}: {self.count} objects with {self.size}"
            f" bytes; {len(view.journals)} journals, {len(view.partitions)} partitions;"
            f" {self.found[Weight.GARBAGE]} not needed"
        )
        return not wrong

    def _report(self, findings: Findings) -> None:
        for finding in findings:
            self.found[finding.weight] += 1
            self.report(str(finding))

    async def _journal(self, view: View, number: int, tails: Tails, again: bool) -> Findings:
        if again:
            view, tails = await self.fresh(), Tails(())
        journal = view.journals.get(number)
        if journal is None:
            return Findings()
        found = await check_journal(self.objects, view, journal, tails)
        found += await check_bundles(self.objects, view, journal)
        return found

    async def _partition(self, view: View, where: tuple[UUID, int], again: bool) -> Findings:
        if again:
            view = await self.fresh()
        if where not in view.partitions:
            return Findings()
        return await check_partition(self.objects, view, where)

    async def _tails(self, view: View, tails: Tails, again: bool) -> Findings:
        wanted = [each for each in sorted(view.partitions) if check_tail(view, each, tails)]
        if again:
            view = await self.fresh()
            wanted = [each for each in wanted if each in view.partitions]
            tails = await scan(self.objects, view, wanted)
        found = Findings()
        for where in wanted:
            found += check_tail(view, where, tails)
        return found

    async def _volumes(self, view: View, again: bool) -> Findings:
        if again:
            view = await self.fresh()
        return await check_volumes(self.objects, view)

    async def _named_since(self, found: Findings) -> Findings:
        """
        Return the findings without the volumes that were written after the
        metadata was read, and that records name by now.
        """
        if not any(each.text == UNNAMED for each in found):
            return found
        view = await self.fresh()
        named = {object_keys.volume(view.namespace, *volume) for volume in named_by(view)}
        return Findings(each for each in found if each.text != UNNAMED or each.where not in named)

    async def _strays(self, view: View, again: bool) -> Findings:
        """
        Find objects that belong to no journal and no partition of the metadata.
        """
        if again:
            view = await self.fresh()
        else:
            self.count = self.size = 0
        found = Findings()
        journals = {view.slots(each) for each in view.journals.values()}
        before = ""
        bundles = {view.bundles(each) for each in view.journals.values()}
        for kind in object_keys.SWEPT:
            async for info in list_objects(
                self.objects, object_keys.prefix_of(view.namespace, kind)
            ):
                if not again:
                    self.count += 1
                    self.size += info.size
                prefix = info.key[: info.key.rindex("/") + 1]
                if kind == object_keys.VOLUMES:
                    continue  # they are looked at one by one
                if _is_over(view, info.key):
                    if info.size >= SMALLEST_SLOT:  # and is no seal
                        found.garbage(info.key, "of an incarnation that is over")
                    continue
                if prefix == before:
                    continue
                before = prefix
                if kind == object_keys.TOPICS:
                    finding = _of_no_partition(view, prefix)
                    if finding is not None:
                        found.append(finding)
                elif prefix not in (bundles if kind == object_keys.BUNDLES else journals):
                    found.wrong(prefix, "a journal of which the metadata knows nothing")
        return found


def _is_over(view: View, key: str) -> bool:
    """
    Whether this is the key of a slot or a bundle of an incarnation of which
    nothing but seals is needed, and whose record is gone.
    """
    numbered = object_keys.parse_slot(view.namespace, key) or object_keys.parse_bundle(
        view.namespace, key
    )
    return numbered is not None and view.is_over(numbered[0])


def _of_no_partition(view: View, prefix: str) -> Finding | None:
    """
    Return the finding about objects with this prefix; None if they belong to a
    partition.
    """
    try:
        topic, index = (
            prefix.removeprefix(object_keys.prefix_of(view.namespace, object_keys.TOPICS))
            .strip("/")
            .split("/")
        )
        where = UUID(topic), int(index)
    except ValueError:
        return Finding(Weight.NOTE, prefix, "not of Kafscale")
    if where in view.partitions:
        return None
    if prefix != object_keys.partition(view.namespace, *where):
        return Finding(Weight.NOTE, prefix, "not of Kafscale")
    if where[0] in view.topics:
        return Finding(Weight.WRONG, prefix, "there are segments, but the metadata has no record")
    return Finding(Weight.GARBAGE, prefix, "of a topic that was deleted")
