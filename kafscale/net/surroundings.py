"""
What a connection finds around it.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from kafscale.interfaces import IPressure
from kafscale.net.dispatch import Dispatch
from kafscale.net.memory import Memory


@attrs.frozen
class Surroundings:
    """
    What all connections of a broker share.

    @ivar max_request_bytes: The largest frame that is accepted.
    @ivar idle_seconds: A connection on which nothing was asked, and nothing is
        owed, is closed after so long; 0: never.
    """

    dispatch: Dispatch
    pressure: IPressure
    memory: Memory
    clock: IReactorTime
    max_request_bytes: int
    idle_seconds: float
