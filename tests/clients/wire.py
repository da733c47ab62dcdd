"""
A proxy between a broker and its store that can be cut, or held, or hold answers.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Wire:
    """
    Passes connections on to a server. While it is cut, connections end and new
    ones are refused. While it is held, it passes on nothing and reports no
    error, as a network that loses packets.

    @ivar port: Where it listens.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._flows = threading.Event()
        self._flows.set()
        self._held: tuple[bytes, ...] = ()
        self._answers = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """
        The value for C{KAFSCALE_S3_ENDPOINT}.
        """
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """
        End all connections, in the middle of whatever they carry.
        """
        with self._lock:
            self._is_cut = True
            self._flows.set()
            self._answers.set()
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """
        Carry nothing from now on.
        """
        self._flows.clear()

    def hold_answers(self, *words: bytes) -> None:
        """
        Carry requests as before, but no answer to those that contain all of these
        words in one piece of data.
        """
        self._answers.clear()
        self._held = words

    def mend(self) -> None:
        """
        Let connections pass again, and those that were held.
        """
        with self._lock:
            self._is_cut = False
            self._held = ()
            self._flows.set()
            self._answers.set()

    def close(self) -> None:
        """
        Cut it for good.
        """
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:  # the server is away
                    near.close()
                    continue
                self._open |= {near, far}
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        others = {near: far, far: near}
        is_held = False
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for each in others:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    self._flows.wait()
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        raise OSError("the end")
                    if source is near and self._held:
                        is_held |= all(word in data for word in self._held)
                    elif is_held:
                        self._answers.wait()
                        is_held = False
                    others[source].sendall(data)
        with self._lock:
            self._open -= {near, far}
            near.close()
            far.close()
