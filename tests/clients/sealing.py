"""
Seals in the journal of a running broker.
"""

from __future__ import annotations

from kafscale.format.slot import write_seal
from tests.clients.broker import Broker


def newest_journal(broker: Broker) -> list[str]:
    """
    The keys of the slots and seals of the broker's present incarnation.
    """
    keys = list(broker.objects.sizes("default/journal/"))
    newest = max(int(key.split("/")[-2]) for key in keys)
    return [key for key in keys if int(key.split("/")[-2]) == newest]


def seal(broker: Broker) -> None:
    """
    Seal this broker's journal as a successor does: create a seal at the slot
    that the broker will write next.
    """
    folder, _, last = newest_journal(broker)[-1].rpartition("/")
    broker.objects.write(f"{folder}/{int(last) + 1:020d}", write_seal(10**9))
