"""
What all parts of the log share for as long as the process lives.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from kafscale.counts import LogCounts
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.log.reading.cache import BlockCache
from kafscale.log.settings import LogSettings


@attrs.frozen(eq=False)
class LogEnvironment:
    """
    The stores, the clock and the bounds that the log of one broker works with.

    @ivar broker_id: The id of this broker.
    @ivar objects: The object store. It waits and asks again by itself
        (`kafscale.store.retry`).
    @ivar metadata: The metadata store; likewise, but a commit is asked once.
    @ivar cache: The blocks of segments that were read last.
    @ivar clock: The time, in seconds since 1970.
    @ivar counts: What the log counts, for all incarnations of this process.
    """

    broker_id: int
    objects: IObjectStore
    metadata: IMetadataStore
    cache: BlockCache
    clock: IReactorTime
    settings: LogSettings
    counts: LogCounts = attrs.field(factory=LogCounts)
