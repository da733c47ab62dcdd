"""
The kinds of values that settings have: how they are parsed and described.

A kind's description appears in the help, in the documentation and in error
messages, so it is made from the bounds that the parser uses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import attrs

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@attrs.frozen
class Listen:
    """
    An address to listen on.

    @ivar endpoint: A string for Twisted's C{serverFromString}.
    @ivar host: The interface; empty if it is unknown, or all of them.
    @ivar port: The port; None if the endpoint does not name one.
    """

    endpoint: str
    host: str = ""
    port: int | None = None


@attrs.frozen
class NamedAddress:
    """
    The address of a listener.

    @ivar name: Of the listener, in capitals.
    @ivar host: The host; empty for all interfaces.
    @ivar port: The port.
    """

    name: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """
        Host and port.
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.name}://{self.address}"


NOWHERE = Listen("")
"""The value of C{off}: do not listen."""


@attrs.frozen
class Kind:
    """
    A kind of values.

    @ivar parse: Turns the user's text into the value, or raises ValueError.
    @ivar expects: The accepted values in words, to follow "expected".
    @ivar metavar: Stands for the value in the help.
    """

    parse: Callable[[str], Any]
    expects: str
    metavar: str


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
            raise ValueError(text)
        value = int(text)
        if not lowest <= value <= highest:
            raise ValueError(text)
        return value

    return parse


def number(lowest: int, highest: int, unit: str = "") -> Kind:
    """
    A whole number within bounds.

    @param unit: What is counted, in the plural.
    """
    what = f"a whole number of {unit}" if unit else "a whole number"
    metavar = {"milliseconds": "MS"}.get(unit, unit.upper()) or "NUMBER"
    return Kind(_whole(lowest, highest), f"{what} from {lowest} to {highest}", metavar)


_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB}


def size(lowest: int, highest: int) -> Kind:
    """
    A number of bytes within bounds, with or without a binary unit.
    """

    def parse(text: str) -> int:
        match = re.fullmatch(r"(-?[0-9]{1,19})\s*(?:([kmg])(?:ib)?)?", text.lower(), re.ASCII)
        if match is None:
            raise ValueError(text)
        value = int(match[1]) * _UNITS[match[2] or ""]
        if not lowest <= value <= highest:
            raise ValueError(text)
        return value

    bounds = f"from {_in_words(lowest)} to {_in_words(highest)}"
    return Kind(parse, f"a size in bytes {bounds}, e.g. 1048576, 1MiB or 1M", "SIZE")


def _in_words(count: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit}{name}"
    return str(count)


def fraction(lowest: str, highest: str) -> Kind:
    """
    A decimal number within bounds.

    @param lowest: The bound as a user would write it; so is C{highest}.
    """

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
            raise ValueError(text)
        value = float(text)
        if not float(lowest) <= value <= float(highest):
            raise ValueError(text)
        return value

    return Kind(parse, f"a number from {lowest} to {highest}, e.g. 1 or 0.5", "NUMBER")


def choice(*values: str) -> Kind:
    """
    One of at least two words, in any case.
    """
    known = {value.lower(): value for value in values}

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(text)
        return known[text.lower()]

    *others, last = values
    metavar = "|".join(values) if len(values) < 5 else "WORD"
    return Kind(parse, f"{', '.join(others)} or {last}", metavar)


def choices(*values: str) -> Kind:
    """
    One or more of these words, with commas between.
    """

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in text.split(","))
        if not set(words) <= set(values):
            raise ValueError(text)
        return words

    return Kind(parse, f"one or more of {', '.join(values)}, with commas between", "LIST")


def _parse_boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


BOOLEAN = Kind(_parse_boolean, "1, true, yes or on; or 0, false, no or off", "1|0")

_PORT = _whole(0, 65535)
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?", re.ASCII)
_TYPES_WITH_PORT = ("tcp", "tcp6", "ssl")


def _parse_host(text: str) -> str:
    """
    A host name or an IP address (IPv6 with or without brackets).
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
    Whether C{host} means all interfaces, so that clients cannot connect to it.
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


def parse_listen(text: str) -> Listen:
    """
    An address to listen on.

    @raise ValueError: It is none.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[")
    if not colon or host in _TYPES_WITH_PORT or (":" in host and not bracketed):
        return _parse_endpoint(text)
    interface = _parse_host(host) if host else ""
    escaped = interface.replace(":", r"\:")
    suffix = f":interface={escaped}" if interface else ""
    # With Twisted's own backlog of 50, thousands of clients that reconnect at
    # once wait for seconds.
    return Listen(f"tcp:{_PORT(port)}{suffix}:backlog=1024", interface, _PORT(port))


def _parse_endpoint(text: str) -> Listen:
    """
    A Twisted endpoint string: its parts are separated by colons, and a
    backslash escapes the next character.
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
    # IPv6 addresses are refused because treq's URLs do not support them.
    match = re.fullmatch(r"(https?)://([^][:/]+)(?::([0-9]{1,5}))?/?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    scheme, host, port = match.groups()
    return f"{scheme.lower()}://{_parse_host(host)}{f':{_PORT(port)}' if port else ''}"


def _parse_urls(text: str) -> tuple[str, ...]:
    """
    URLs separated by commas. Duplicates are refused: every URL is one more
    server to ask.
    """
    found = tuple(_parse_url(each.strip()) for each in text.split(","))
    if len(set(found)) < len(found):
        raise ValueError(text)
    return found


def _parse_bucket(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", text, re.ASCII):
        raise ValueError(text)
    return text


_LISTENER = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,248})://(.*):([0-9]{1,5})")

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
"""What clients can speak on a listener, by Kafka's names."""


def _parse_listeners(text: str) -> tuple[NamedAddress, ...]:
    """
    C{NAME://host:port}, with commas between; each name once.
    """
    found = []
    for each in text.split(","):
        match = _LISTENER.fullmatch(each.strip())
        if match is None:
            raise ValueError(text)
        name, host, port = match.groups()
        found.append(NamedAddress(name.upper(), _parse_host(host) if host else "", _PORT(port)))
    if len({each.name for each in found}) < len(found):
        raise ValueError(text)
    return tuple(found)


def _parse_advertised_listeners(text: str) -> tuple[NamedAddress, ...]:
    found = _parse_listeners(text)
    if any(is_wildcard(each.host) or not each.port for each in found):
        raise ValueError(text)
    return found


def _parse_networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(each.strip())) for each in text.split(","))


def _parse_protocol_map(text: str) -> tuple[str, ...]:
    """
    C{NAME:PROTOCOL}, with commas between; each name once.
    """
    found = [each.strip().upper() for each in text.split(",")]
    names = [each.rpartition(":")[0] for each in found]
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(text)
    if any(each.rpartition(":")[2] not in PROTOCOLS for each in found):
        raise ValueError(text)
    return tuple(found)


def _parse_listen_or_off(text: str) -> Listen:
    return NOWHERE if text.lower() == "off" else parse_listen(text)


def _parse_principals(text: str) -> tuple[str, ...]:
    """
    Principals with semicolons between, because names of certificates have commas. What
    looks like a list with commas would be one principal that nobody has.
    """
    found = tuple(each.strip() for each in text.split(";") if each.strip())
    for each in found:
        kind, _, name = each.partition(":")
        if not (kind and name) or re.search(r",\s*User:", name):
            raise ValueError(text)
    return found


def _parse_words(text: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    if not found:
        raise ValueError(text)
    return found


def _parse_keys(text: str) -> str:
    """
    A URL, with its scheme in lower case, or a path.
    """
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*):(.*)", text, re.ASCII | re.IGNORECASE)
    if match is None:
        return text
    scheme, rest = match[1].lower(), match[2]
    urlsplit(text)  # raises ValueError, for example of an address with one bracket
    if scheme in ("http", "https") and re.fullmatch(r"//[^/\s]+(/\S*)?", rest):
        return f"{scheme}:{rest}"
    path = rest.removeprefix("//")
    if scheme != "file" or not path:
        raise ValueError(text)
    return path


_ADDRESS = "host:port, [IPv6 address]:port or a Twisted endpoint such as"

_COUNT = _whole(0, 1_000_000)


def _parse_counts(text: str) -> tuple[tuple[str, int], ...]:
    """
    C{address:count}, with commas between; each address once.
    """
    found = {}
    for each in text.split(","):
        host, _, count = each.strip().rpartition(":")
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        if address in found:
            raise ValueError(text)
        found[address] = _COUNT(count)
    return tuple(found.items())


TEXT = Kind(str, "any text", "TEXT")
COUNTS = Kind(
    _parse_counts,
    "ADDRESS:COUNT, with commas between, each address once, a count from 0 to 1000000",
    "ADDRESS:COUNT,...",
)
LISTENER_NAME = Kind(str.upper, "the name of a listener", "NAME")
PATH = Kind(str, "a path", "PATH")
WORDS = Kind(_parse_words, "words with commas between", "WORD,...")
KEYS = Kind(_parse_keys, "a URL with https://, http:// or file:, or a path", "URL")
LISTEN = Kind(parse_listen, f"{_ADDRESS} tcp:9092", "ADDRESS")
LISTEN_OR_OFF = Kind(_parse_listen_or_off, f"{_ADDRESS} tcp:9308; or off", "ADDRESS")
ADVERTISED = Kind(_parse_advertised, "a host name or an IP address, not 0.0.0.0 or ::", "HOST")
NAMESPACE = Kind(_parse_namespace, "1 to 100 letters, digits, '.', '_' and '-'", "NAME")
BUCKET = Kind(_parse_bucket, "the name of a bucket, without s3:// or a path", "NAME")
URL = Kind(
    _parse_url, "http://host:port or https://host:port, without a path or an IPv6 address", "URL"
)
PRINCIPALS = Kind(
    _parse_principals, "principals such as User:alice, with semicolons between", "PRINCIPAL;..."
)
URLS = Kind(
    _parse_urls, "URLs http://host:port or https://host:port, separated by commas", "URL,..."
)
NETWORKS = Kind(
    _parse_networks, "IP addresses and networks such as 10.0.0.0/8, with commas between", "LIST"
)
LISTENERS = Kind(
    _parse_listeners, "NAME://host:port, with commas between, each name once", "NAME://HOST:PORT,..."
)
ADVERTISED_LISTENERS = Kind(
    _parse_advertised_listeners,
    "NAME://host:port, with commas between, each name once; a host that is not 0.0.0.0 or ::",
    "NAME://HOST:PORT,...",
)
PROTOCOL_MAP = Kind(
    _parse_protocol_map,
    f"NAME:PROTOCOL, with commas between, each name once; a protocol is {', '.join(PROTOCOLS[:-1])}"
    f" or {PROTOCOLS[-1]}",
    "NAME:PROTOCOL,...",
)
