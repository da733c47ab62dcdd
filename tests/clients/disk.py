"""
A disk that a test can fill.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

MIB = 1 << 20


class SmallDisk:
    """
    A file system of some MiB, mounted at a folder in a namespace of its own,
    so that it takes no privileges; it is there for the processes that enter
    the namespace, and until C{close}.

    @ivar entering: What comes before the command of a process that is to see it.
    @ivar seen: Its folder, as processes outside of the namespace reach it.
    """

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True)
        mount = 'mount -t tmpfs -o size="$1" tmpfs "$0" && echo mounted && read line'
        shell = ["sh", "-c", mount, str(folder), str(size)]
        self._keeper = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", *shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"mounted\n", "no file system could be mounted"
        pid = self._keeper.pid
        self.entering = [
            "nsenter", "--user", "--mount", "--preserve-credentials", f"--target={pid}",
            f"--wd={folder.parent}", "--",
        ]  # fmt: skip
        self.seen = Path(f"/proc/{pid}/root{folder}")
        self._filling = self.seen / "filling"

    def fill(self) -> None:
        """
        Leave no room at all.
        """
        with self._filling.open("wb", buffering=0) as file:
            for size in (MIB, 4096, 1):
                while _write(file.fileno(), bytes(size)):
                    pass

    def make_room(self) -> None:
        """
        Take away what filled it.
        """
        self._filling.unlink()

    def close(self) -> None:
        """
        Remove the disk.
        """
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()


def _write(file: int, data: bytes) -> bool:
    try:
        return os.write(file, data) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
