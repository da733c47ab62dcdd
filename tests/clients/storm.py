"""
A proxy before an S3 server on which every request may meet any fate.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What becomes of a request, and how often, of a hundred.
FATES = {
    "delayed": 10,  # and then as it should be
    "dropped": 4,  # before it gets there
    "unheard": 4,  # done, and the answer is lost
    "cut": 3,  # done, and half of the answer is lost
    "late": 4,  # "500", and done some time afterwards
    "doubled": 4,  # done, and done once more some time afterwards
    "500": 4,
    "503": 4,
    "409": 3,
    "412": 2,  # although nothing is there
}


class Storm:
    """
    Passes requests on, more or less.

    @ivar calm: While True all pass as they should.
    @ivar met: How many requests met which fate.
    """

    def __init__(self, host: str, port: int, seed: int) -> None:
        self._host = host
        self._port = port
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.calm = True
        self.met: Counter[str] = Counter()
        storm = self

        class Passage(_Passage):
            passing = storm

        self._server = _Server(("127.0.0.1", 0), Passage)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """
        The value for C{KAFSCALE_S3_ENDPOINT}.
        """
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """
        No request passes any more.
        """
        self._server.shutdown()
        self._server.server_close()

    def draw(self, method: str) -> tuple[str, float]:
        """
        Draw the fate of the next request, and a number of seconds.
        """
        with self._lock:
            seconds = self._chance.uniform(0, 0.3)
            if self.calm:
                return "passed", seconds
            shares = [100 - sum(FATES.values()), *FATES.values()]
            (fate,) = self._chance.choices(["passed", *FATES], shares)
            if method != "PUT" and fate in ("412", "409"):
                fate = "passed"  # only creates get these
            self.met[fate] += 1
            return fate, seconds

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """
        Send a request to the server and return its answer.
        """
        server = http.client.HTTPConnection(self._host, self._port, timeout=30)
        with contextlib.closing(server):
            server.request(method, path, body or None, headers)
            answer = server.getresponse()
            return answer.status, answer.getheaders(), answer.read()


class _Server(ThreadingHTTPServer):
    """
    A server whose clients may be killed.
    """

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Ignore connections that ended: the storm ends them on purpose.
        """
        if not isinstance(sys.exc_info()[1], OSError | http.client.HTTPException):
            super().handle_error(request, client_address)


class _Passage(BaseHTTPRequestHandler):
    """
    A connection that the storm passes on.
    """

    passing: Storm
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """
        Log nothing.
        """

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers.items())
        request = (self.command, self.path, headers, body)
        fate, seconds = self.passing.draw(self.command)
        if fate == "delayed":
            time.sleep(seconds)
        if fate in ("500", "503", "409", "412"):
            self._answer(int(fate), [], b"")
        elif fate == "late":
            self._answer(500, [], b"")
            time.sleep(seconds * 5)
            self.passing.ask(*request)
        elif fate == "dropped":
            self._end()
        else:
            status, told, data = self.passing.ask(*request)
            if fate == "unheard":
                self._end()
            elif fate == "cut" and len(data) > 1:
                self._answer(status, told, data, len(data) // 2)
                self._end()
            else:
                self._answer(status, told, data)
            if fate == "doubled" and self.command == "PUT":
                time.sleep(seconds * 5)
                self.passing.ask(*request)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815

    def _answer(
        self, status: int, told: list[tuple[str, str]], data: bytes, of_it: int | None = None
    ) -> None:
        size = str(len(data))
        self.send_response_only(status)
        for name, value in told:
            if name.lower() == "content-length" and self.command == "HEAD":
                size = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(data[:of_it])
        self.wfile.flush()

    def _end(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
