"""
What values a setting may have: how they are written, and within what bounds.

The words with which a kind says what it accepts stand in the documentation
and in the error that a user sees, so they are made from the same bounds.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

import attrs

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@attrs.frozen
class Listen:
    """
    Where the broker listens.

    @ivar endpoint: As Twisted's C{serverFromString} takes it.
    @ivar host: The interface; empty when it is not known, or all of them.
    @ivar port: The port; None when the endpoint does not name one.
    """

    endpoint: str
    host: str = ""
    port: int | None = None


NOWHERE = Listen("")
"""Does not listen."""


@attrs.frozen
class Kind:
    """
    What values a setting may have.

    @ivar parse: Turns what the user wrote into the value, or raises ValueError.
    @ivar accepts: The same in words, to follow "accepted is".
    """

    parse: Callable[[str], Any]
    accepts: str


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
            raise ValueError(text)
        value = int(text)
        if not lowest <= value <= highest:
            raise ValueError(text)
        return value

    return parse


def number(lowest: int, highest: int, of: str = "") -> Kind:
    """
    A whole number within bounds.
    """
    what = f"a whole number of {of}" if of else "a whole number"
    return Kind(_whole(lowest, highest), f"{what} from {lowest} to {highest}")


_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB}


def size(lowest: int, highest: int) -> Kind:
    """
    A number of bytes within bounds, with or without a unit.
    """

    def parse(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,19})\s*(?:([kmg])(?:ib)?)?", text.lower(), re.ASCII)
        if match is None:
            raise ValueError(text)
        value = int(match[1]) * _UNITS[match[2] or ""]
        if not lowest <= value <= highest:
            raise ValueError(text)
        return value

    bounds = f"from {_in_words(lowest)} to {_in_words(highest)}"
    return Kind(parse, f"a number of bytes {bounds}, such as 1048576, 1MiB or 1M")


def _in_words(count: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit}{name}"
    return str(count)


def fraction(lowest: str, highest: str) -> Kind:
    """
    A decimal number within bounds, which are written as users write them.
    """

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
            raise ValueError(text)
        value = float(text)
        if not float(lowest) <= value <= float(highest):
            raise ValueError(text)
        return value

    return Kind(parse, f"a number from {lowest} to {highest}, such as 1 or 0.5")


def choice(*values: str) -> Kind:
    """
    One of a few words.
    """

    def parse(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(text)
        return text.lower()

    return Kind(parse, f"one of {', '.join(values)}")


def _parse_boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


BOOLEAN = Kind(_parse_boolean, "1, true, yes, on or 0, false, no, off")

_PORT = _whole(0, 65535)
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?", re.ASCII)
_TYPES_WITH_PORT = ("tcp", "tcp6", "ssl")


def _parse_host(text: str) -> str:
    """
    A host's name, or an address (IPv6 with or without brackets).
    """
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if ":" in text:
        return str(ipaddress.IPv6Address(text))
    if re.fullmatch(r"[0-9.]+", text):
        return str(ipaddress.IPv4Address(text))
    if _HOST_NAME.fullmatch(text) is None:
        raise ValueError(text)
    return text


def is_wildcard(host: str) -> bool:
    """
    Whether C{host} stands for all interfaces, so that nobody can dial it.
    """
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _parse_advertised(text: str) -> str:
    host = _parse_host(text)
    if is_wildcard(host):
        raise ValueError(text)
    return host


def _parse_listen(text: str) -> Listen:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[")
    if not colon or host in _TYPES_WITH_PORT or (":" in host and not bracketed):
        return _parse_endpoint(text)
    interface = _parse_host(host) if host else ""
    escaped = interface.replace(":", r"\:")
    suffix = f":interface={escaped}" if interface else ""
    # Twisted's own backlog of 50 makes thousands of clients that come back at
    # once wait for seconds.
    return Listen(f"tcp:{_PORT(port)}{suffix}:backlog=1024", interface, _PORT(port))


def _parse_endpoint(text: str) -> Listen:
    """
    An endpoint string: its parts are separated by colons, a backslash takes
    the meaning from the next character.
    """
    parts = re.findall(r"(?:\\.|[^\\:])+", text)
    if "::" in text or len(parts) < 2 or re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", parts[0]) is None:
        raise ValueError(text)
    if parts[0] not in _TYPES_WITH_PORT:
        return Listen(text)
    host, port = "", ""
    for part in (re.sub(r"\\(.)", r"\1", each) for each in parts[1:]):
        name, equals, value = part.partition("=")
        if name == "interface" and equals:
            host = value
        elif name == "port" and equals:
            port = value
        elif not equals and not port:
            port = part
    return Listen(text, host, _PORT(port))


def _parse_namespace(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text) or text in (".", ".."):
        raise ValueError(text)
    return text


def _parse_url(text: str) -> str:
    # No IPv6 addresses: treq's URLs cannot hold one.
    match = re.fullmatch(r"(https?)://([^][:/]+)(?::([0-9]{1,5}))?/?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    scheme, host, port = match.groups()
    return f"{scheme.lower()}://{_parse_host(host)}{f':{_PORT(port)}' if port else ''}"


def _parse_urls(text: str) -> tuple[str, ...]:
    """
    None of them twice: each is one more to ask.
    """
    found = tuple(_parse_url(each.strip()) for each in text.split(","))
    if len(set(found)) < len(found):
        raise ValueError(text)
    return found


def _parse_bucket(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", text, re.ASCII):
        raise ValueError(text)
    return text


URL = Kind(_parse_url, "http://host:port or https://host:port, without a path; not an IPv6 address")
URLS = Kind(
    _parse_urls, "one or more of http://host:port and https://host:port, with commas between them"
)
BUCKET = Kind(_parse_bucket, "the name of a bucket, without s3:// or a path")


def _parse_listen_or_off(text: str) -> Listen:
    return NOWHERE if text.lower() == "off" else _parse_listen(text)


_ADDRESS = "host:port, [IPv6 address]:port or a Twisted endpoint such as"
LISTEN = Kind(_parse_listen, f"{_ADDRESS} tcp:9092")
LISTEN_OR_OFF = Kind(_parse_listen_or_off, f"{_ADDRESS} tcp:9308; or off")
ADVERTISED = Kind(_parse_advertised, "a host name or an address, not 0.0.0.0 or ::")
NAMESPACE = Kind(_parse_namespace, "1 to 100 of letters, digits, '.', '_' and '-'")
TEXT = Kind(str, "any text")
