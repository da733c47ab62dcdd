"""
How a broker joins the cluster, and leaves it.

Each start of a broker is an incarnation, which owns a journal of its own. Its
number must never have been used before, and it is not enough that it is random:
numbers that grow tell an operator which came first. The metadata store's
revision is such a number already, so registering *is* drawing it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from uuid import UUID, uuid4

from kafscale.cluster import keys
from kafscale.cluster.ids import base64_of, fresh
from kafscale.errors import CommitConflict
from kafscale.interfaces import Broker, Compare, Delete, IMetadataStore, Put


async def cluster_id(store: IMetadataStore, new_id: Callable[[], UUID] = uuid4) -> str:
    """
    The cluster's id, 22 characters of base64url; whoever comes first makes it,
    and it never changes.
    """
    while True:
        entry = await store.get(keys.CLUSTER_ID)
        if entry is not None:
            return str(entry.value)
        made = Put(keys.CLUSTER_ID, base64_of(fresh(new_id)))
        with suppress(CommitConflict):  # another broker was first: its id is the cluster's
            await store.commit([Compare(keys.CLUSTER_ID, 0)], [made])


async def register(
    store: IMetadataStore,
    broker: Broker,
    lease: int | None = None,
    fencing: str = "create",
) -> int:
    """
    Tell the cluster of this broker, and return its new incarnation.

    After a failure of unknown outcome it is called again as a whole: an
    incarnation that was drawn and never used has an empty journal, and does
    no harm.

    @param lease: What the registration lives with; None: until `unregister`.
    @param fencing: What stops it (`kafscale.log.fencing`): "create" or
        "metadata".
    """
    value = {"host": broker.host, "port": broker.port, "rack": broker.rack}
    incarnation = await store.commit([], [Put(keys.broker(broker.broker_id), value, lease)])
    # The number is known only now, so the incarnation's own record is a commit
    # of its own. It is there before anything is written to the journal.
    key = keys.incarnation(incarnation)
    record: dict[str, int | str] = {"broker": broker.broker_id, "trim": 0}
    if fencing != "create":
        record["fencing"] = fencing
    await store.commit([Compare(key, 0)], [Put(key, record)])
    return incarnation


async def unregister(store: IMetadataStore, broker_id: int, incarnation: int) -> None:
    """
    Take the broker out of the cluster, unless a later incarnation of it has
    registered meanwhile.
    """
    key = keys.broker(broker_id)
    # A conflict: the registration is another's, or has ended with its lease.
    with suppress(CommitConflict):
        await store.commit([Compare(key, incarnation)], [Delete(key)])
