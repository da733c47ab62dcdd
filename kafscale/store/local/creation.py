"""
Has threads create small files, and learns in the reactor's thread how that ended.

A flush of the journal is a small file, and producers wait for it. So it does not take
the way of all other blocking work, through a thread pool: its threads are C{_creator.c},
where that was built, and need no turn of the interpreter between one system call and the
next; and the reactor learns of all files that have ended by one wake-up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.store.blocking import RunBlocking
from kafscale.store.local import plain_creator
from kafscale.store.local.plain_creator import Ended
from kafscale.wire.record_walk import NotBuilt


class Creator(Protocol):
    """
    See L{plain_creator.Creator}.
    """

    def submit(
        self,
        ended: Ended,
        temporary: str,
        path: str,
        directory: str,
        pieces: list[bytes | memoryview],
        /,
    ) -> None:
        """
        See L{plain_creator.Creator.submit}.
        """

    def finished(self) -> list[tuple[Ended, int]]:
        """
        See L{plain_creator.Creator.finished}.
        """

    def work(self) -> None:
        """
        See L{plain_creator.Creator.work}.
        """

    def close(self) -> None:
        """
        See L{plain_creator.Creator.close}.
        """


MakeCreator = Callable[[int], Creator]


def creator_of(mode: str) -> MakeCreator:
    """
    Choose what creates small files.

    @param mode: See L{kafscale.wire.record_walk.choose}.
    @raise NotBuilt: the compiled one is required, and was not built.
    """
    if mode != "off":
        try:
            from kafscale.store.local._creator import Creator as CompiledCreator
        except ImportError as error:
            if mode == "require":
                raise NotBuilt(
                    f"kafscale.store.local._creator cannot be imported: {error}"
                ) from error
        else:
            return CompiledCreator
    return plain_creator.Creator


@implementer(IReadDescriptor)
class Creation:
    """
    Creates small files in some threads.
    """

    def __init__(
        self,
        make: MakeCreator,
        threads: int,
        run_blocking: RunBlocking,
        reactor: IReactorFDSet,
    ) -> None:
        """
        @param make: The result of L{creator_of}.
        @param threads: How many files are created at once.
        @param run_blocking: Runs as many functions at once, which return when this is
            closed.
        """
        self._reactor = reactor
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._creator = make(self._wake)
        for _ in range(threads):
            run_blocking(self._creator.work)
        reactor.addReader(self)

    def create(
        self,
        temporary: str,
        path: str,
        directory: str,
        pieces: Sequence[bytes | memoryview],
        ended: Ended,
    ) -> None:
        """
        Create a file. The parameters are those of L{plain_creator.Creator.submit}.

        @param ended: Called in the reactor's thread, with 0 when the file and its name
            are durable, and otherwise with an C{errno}.
        """
        self._creator.submit(ended, temporary, path, directory, list(pieces))

    def close(self) -> None:
        """
        Release the threads. No file is being created.
        """
        self._creator.close()
        self._reactor.removeReader(self)
        os.close(self._woken)
        os.close(self._wake)

    # -- for the reactor --------------------------------------------------------

    def fileno(self) -> int:
        """
        See C{IReadDescriptor}.
        """
        return self._woken

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """
        See C{IReadDescriptor}.
        """
        os.read(self._woken, 4096)
        for ended, error in self._creator.finished():
            ended(error)

    def connectionLost(self, reason: Failure) -> None:
        """
        See C{IReadDescriptor}.
        """

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """
        See C{IReadDescriptor}.
        """
        return "kafscale"
