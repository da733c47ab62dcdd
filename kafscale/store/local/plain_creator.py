"""
Creates small files durably in threads of Python: the twin of C{_creator.c}.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from kafscale.store.local import file_io
from kafscale.store.local.directory import sync_directory

Ended = Callable[[int], None]
"""Called, by what takes the list, with the C{errno} of the system call that failed, or 0."""

_Job = tuple[Ended, str, str, str, list[bytes | memoryview]]


class Creator:
    """
    A queue of files to create, and a list of those that were created or failed.
    """

    def __init__(self, wake: int) -> None:
        """
        @param wake: A byte is written to this file descriptor when the list is no
            longer empty: one, however many files end until the list is taken.
        """
        self._wake = wake
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._done: deque[tuple[Ended, int]] = deque()

    def submit(
        self,
        ended: Ended,
        temporary: str,
        path: str,
        directory: str,
        pieces: list[bytes | memoryview],
    ) -> None:
        """
        Queue a file. It is written and synced under a temporary name, linked to its
        own, and its directory is synced.

        @param ended: Identifies the file in what L{finished} returns.
        @param temporary: A path at which there is nothing, nor will be afterwards.
        @param path: The path of the file.
        @param directory: The directory that C{path} is in, which exists.
        @param pieces: The contents.
        """
        self._jobs.put((ended, temporary, path, directory, pieces))

    def finished(self) -> list[tuple[Ended, int]]:
        """
        Take the list: C{ended} of each file, and the C{errno} of the system call that
        failed; 0 if the file and its name are durable. After an error of another call
        than the last, the syncing of the directory, the file has no name.
        """
        with self._lock:
            done, self._done = self._done, deque()
        return list(done)

    def work(self) -> None:
        """
        Create the files of the queue in this thread, until L{close} was called and the
        queue is empty. Several threads may call this at once.
        """
        while (job := self._jobs.get()) is not None:
            ended, temporary, path, directory, pieces = job
            error = _create(temporary, path, directory, pieces)
            with self._lock:
                self._done.append((ended, error))
                if len(self._done) == 1:
                    with suppress(BlockingIOError):  # a pipe that is full wakes, too
                        os.write(self._wake, b"\0")
        self._jobs.put(None)  # for the next thread

    def close(self) -> None:
        """
        Let all calls of L{work} return.
        """
        self._jobs.put(None)


def _create(
    temporary: str, path: str, directory: str, pieces: list[bytes | memoryview]
) -> int:
    try:
        try:
            file_io.write_buffered(temporary, pieces)
            os.link(temporary, path)
            sync_directory(directory)
        finally:
            with suppress(OSError):
                os.unlink(temporary)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
