"""
Conversations about authentication, up to and after the end of a connection.

A script is a list of steps; each sends a request or a bare token, and what comes back is
kept: the codes, texts and tokens that do not differ between any two connections, or
that the connection was closed.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.messages import (
    RESPONSES,
    ApiVersionsRequest,
    ApiVersionsResponse,
    MetadataRequest,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import Request

SECONDS = 60.0

Seen = tuple[Any, ...]
CLOSED: Seen = ("closed",)


class Login:
    """
    One connection, and what was seen of it.
    """

    def __init__(self, port: int) -> None:
        self.seen: list[Seen] = []
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)

    def close(self) -> None:
        """
        Close it.
        """
        self._socket.close()

    def request(self, request: Request, version: int) -> None:
        """
        Send a request, and keep what can be compared of the response.
        """
        key = type(request).key
        header = request_header(key, version, 5, "differential")
        frame = self.exchange(header + b"".join(request.encode(version)))
        if frame is None:
            return
        if key == ApiVersionsRequest.key and frame[4:6] == b"\0\x23":
            self.seen.append(("ApiVersions", 35))
            return
        _, at = read_response_header(key, version, frame)
        response, _ = RESPONSES[key].decode_some(version, frame, at)
        match response:
            case ApiVersionsResponse():
                self.seen.append(("ApiVersions", response.error_code))
            case SaslHandshakeResponse():
                offered = tuple(sorted(response.mechanisms))
                self.seen.append(("SaslHandshake", response.error_code, offered))
            case SaslAuthenticateResponse():
                told = response.session_lifetime_ms
                code, text = response.error_code, response.error_message
                self.seen.append(("SaslAuthenticate", code, text, bytes(response.auth_bytes), told))
            case _:
                self.seen.append((type(response).__name__,))

    def token(self, token: bytes) -> None:
        """
        Send a bare token, and keep the answer.
        """
        frame = self.exchange(token)
        if frame is not None:
            self.seen.append(("token", frame))

    def end(self) -> None:
        """
        Wait until the other end closes the connection.
        """
        if CLOSED in self.seen:
            return
        try:
            data = self._socket.recv(1)
        except ConnectionError:
            data = b""
        self.seen.append(("more", data) if data else CLOSED)

    def exchange(self, frame: bytes) -> bytes | None:
        """
        Send a frame and return the one that answers it; None if the broker has closed
        the connection.
        """
        if CLOSED in self.seen:
            return None
        try:
            self._socket.sendall(struct.pack(">i", len(frame)) + frame)
            (size,) = struct.unpack(">i", self._exactly(4))
            return self._exactly(size)
        except ConnectionError:
            self.seen.append(CLOSED)
            return None

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data


@attrs.frozen
class Step:
    """
    One step of a script.

    @ivar run: Does it.
    """

    run: Callable[[Login], None]


def _request(request: Request, version: int) -> Step:
    return Step(lambda login: login.request(request, version))


def versions(version: int = 3, name: str = "differential") -> Step:
    """
    ApiVersions.
    """
    return _request(
        ApiVersionsRequest(client_software_name=name, client_software_version="1"), version
    )


def newest_versions() -> Step:
    """
    ApiVersions of a version that there is not.
    """

    def run(login: Login) -> None:
        body = b"".join(
            ApiVersionsRequest(client_software_name="x", client_software_version="1").encode(3)
        )
        header = struct.pack(">hhih", 18, 99, 5, -1) + b"\0"
        frame = login.exchange(header + body)
        if frame is not None:
            login.seen.append(("ApiVersions", struct.unpack_from(">h", frame, 4)[0]))

    return Step(run)


def handshake(mechanism: str = "PLAIN", version: int = 1) -> Step:
    """
    SaslHandshake.
    """
    return _request(SaslHandshakeRequest(mechanism=mechanism), version)


def authenticate(token: bytes, version: int = 2) -> Step:
    """
    SaslAuthenticate.
    """
    return _request(SaslAuthenticateRequest(auth_bytes=token), version)


def bare(token: bytes) -> Step:
    """
    A bare token.
    """
    return Step(lambda login: login.token(token))


METADATA = _request(MetadataRequest(topics=[]), 12)
END = Step(Login.end)
WAIT = Step(lambda login: time.sleep(1.1))
LATE = Step(lambda login: time.sleep(4.2))

RIGHT = b"\0alice\0secret"
WRONG = b"\0alice\0wrong"
OTHER = b"\0bob\0secret"

#: On a listener whose sessions do not end.
FOREVER: Mapping[str, Sequence[Step]] = {
    "metadata first": [METADATA],
    "token first": [authenticate(RIGHT)],
    "short frame": [bare(b"abc")],
    "versions twice": [versions(), versions()],
    "too new versions": [newest_versions(), versions(), handshake()],
    "invalid versions": [versions(name="-x!"), versions(), handshake()],
    "unknown mechanism": [versions(), handshake("GSSAPI"), END],
    "unknown mechanism, version 0": [handshake("", 0), END],
    "versions after the handshake": [handshake(), versions(), END],
    "metadata after the handshake": [handshake(), METADATA, END],
    "second handshake": [handshake(), handshake(), END],
    "right": [versions(), handshake(), authenticate(RIGHT), versions(5), METADATA],
    "right, version 0": [handshake(), authenticate(RIGHT, 0), METADATA],
    "right, version 1": [handshake(), authenticate(RIGHT, 1), METADATA],
    "right, with its name": [handshake(), authenticate(b"alice" + RIGHT), METADATA],
    "wrong": [handshake(), authenticate(WRONG), END],
    "unknown": [handshake(), authenticate(b"\0nobody\0secret"), END],
    "other authorization id": [handshake(), authenticate(b"bob" + RIGHT), END],
    "no name": [handshake(), authenticate(b"\0\0secret"), END],
    "no password": [handshake(), authenticate(b"\0alice\0"), END],
    "one token": [handshake(), authenticate(b"alice"), END],
    "empty token": [handshake(), authenticate(b""), END],
    "five tokens": [handshake(), authenticate(b"a\0b\0c\0d\0e"), END],
    "scram garbage": [handshake("SCRAM-SHA-256"), authenticate(b"x"), END],
    "scram channel binding": [
        handshake("SCRAM-SHA-256"), authenticate(b"p=tls-unique,,n=alice,r=abc"), END,
    ],
    "scram without binding": [
        handshake("SCRAM-SHA-256"), authenticate(b"y,,n=alice,r=abc"), END,
    ],
    "bare": [handshake("PLAIN", 0), bare(RIGHT), METADATA],
    "bare, wrong": [handshake("PLAIN", 0), bare(WRONG)],
    "bare, wrapped": [handshake("PLAIN", 0), authenticate(RIGHT)],
    "again": [handshake(), authenticate(RIGHT), handshake(), authenticate(RIGHT), METADATA],
}  # fmt: skip

#: On one whose sessions end after four seconds.
ENDING: Mapping[str, Sequence[Step]] = {
    "lifetime": [handshake(), authenticate(RIGHT), METADATA],
    "renewed": [
        handshake(), authenticate(RIGHT), handshake(), authenticate(RIGHT), METADATA, WAIT,
        versions(), handshake(), authenticate(RIGHT), METADATA,
    ],
    "renewed late": [handshake(), authenticate(RIGHT), LATE, handshake(), authenticate(RIGHT),
                     METADATA],
    "ended": [handshake(), authenticate(RIGHT), LATE, METADATA],
    "ended, versions": [handshake(), authenticate(RIGHT), LATE, versions()],
    "too soon": [
        handshake(), authenticate(RIGHT), handshake(), authenticate(RIGHT), handshake(), METADATA,
    ],
    "renewed, wrong": [handshake(), authenticate(RIGHT), handshake(), authenticate(WRONG), END],
    "renewed, other": [handshake(), authenticate(RIGHT), handshake(), authenticate(OTHER), END],
    "renewed, metadata": [handshake(), authenticate(RIGHT), handshake(), METADATA, END],
    "renewed, versions": [handshake(), authenticate(RIGHT), handshake(), versions(), END],
    "renewed, other mechanism": [
        handshake(), authenticate(RIGHT), handshake("SCRAM-SHA-256"),
        authenticate(b"n,,n=alice,r=abc"),
    ],
    "renewed, unknown mechanism": [handshake(), authenticate(RIGHT), handshake("GSSAPI"), END],
    "renewed, version 0": [handshake(), authenticate(RIGHT), handshake("PLAIN", 0),
                           authenticate(RIGHT)],
}  # fmt: skip


def run(script: Sequence[Step], port: int) -> list[Seen]:
    """
    What is seen of a script.
    """
    login = Login(port)
    try:
        for step in script:
            step.run(login)
    finally:
        login.close()
    return login.seen
