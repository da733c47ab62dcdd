"""
Checking that bundles are copies of slots.
"""

from __future__ import annotations

from kafscale.errors import NoSuchObject
from kafscale.format import object_keys
from kafscale.format.bundle import GROUP, read_bundle
from kafscale.format.errors import UnreadableData
from kafscale.format.reading import list_objects
from kafscale.inspect.findings import Findings
from kafscale.inspect.view import Journal, View
from kafscale.interfaces import IObjectReader


async def check_bundles(objects: IObjectReader, view: View, journal: Journal) -> Findings:
    """
    Check the bundles of a journal. A successor reads them instead of the slots,
    so a bundle that differs from its slots is as bad as a damaged slot.
    """
    found = Findings()
    slots = view.slots(journal)
    trim = journal.record.trim
    async for info in list_objects(objects, view.bundles(journal)):
        if object_keys.parse_bundle(view.namespace, info.key) is None:
            found.note(info.key, "not an object of Kafscale")
            continue
        if object_keys.slot_number(info.key) + GROUP <= trim or journal.record.wound_up:
            found.garbage(info.key, f"a bundle of slots below the trim mark {trim}")
            continue
        try:
            for number, data in read_bundle(await objects.get(info.key)):
                if number >= trim and data != await objects.get(
                    object_keys.slot(slots, number)
                ):
                    found.wrong(info.key, f"a bundle that differs from slot {number}")
        except UnreadableData as error:
            found.wrong(info.key, error.reason)
        except NoSuchObject as missing:
            found.wrong(info.key, f"a bundle of slots that are not there: {missing}")
    return found
