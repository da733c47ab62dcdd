"""
Principals from certificates: the subject as text, and the rules that map it.

The text is that of Java's C{X500Principal.getName()}, which Kafka uses: RFC 2253,
the most specific name first, no blanks after commas. ACLs and C{super.users} that
were written for Kafka hold here, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

_KEYWORDS = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
"""The attributes that have a name in RFC 2253, by their object identifiers."""

_TEXTS = frozenset({0x0C, 0x13, 0x14, 0x16, 0x1B, 0x1C, 0x1E})
"""The tags of ASN.1's kinds of text. Java reads all of them as UTF-8."""


def name_of(subject: bytes) -> str:
    """
    The text of a distinguished name.

    @param subject: The C{Name} of RFC 5280 in DER.
    @raise ValueError: It is none.
    """
    try:
        ((_, names, _),) = _elements(subject)
        found = ["+".join(map(_attribute, _parts(part))) for _, part, _ in _elements(names)]
    except IndexError:
        raise ValueError("the name is cut off") from None
    return ",".join(reversed(found))


def _parts(part: bytes) -> Iterator[bytes]:
    for _, value, _ in _elements(part):
        yield value


def _attribute(pair: bytes) -> str:
    (_, identifier, _), (tag, value, whole) = _elements(pair)
    dotted = _dotted(identifier)
    keyword = _KEYWORDS.get(dotted)
    if keyword is None or tag not in _TEXTS:
        return f"{keyword or dotted}=#{whole.hex()}"
    return f"{keyword}={_escaped(value.decode(errors='replace'))}"


def _escaped(text: str) -> str:
    text = re.sub(r'[,=+<>#;"\\]', r"\\\g<0>", text).replace("\0", r"\00")
    blanks = re.compile(r"[ \r\n]")
    start = len(text) - len(text.lstrip(" \r\n"))
    end = len(text.rstrip(" \r\n"))
    if start >= end:
        return blanks.sub(r"\\\g<0>", text)
    return (
        blanks.sub(r"\\\g<0>", text[:start])
        + text[start:end]
        + blanks.sub(r"\\\g<0>", text[end:])
    )


def _dotted(identifier: bytes) -> str:
    numbers, value = [], 0
    for byte in identifier:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """
    The elements of a DER sequence: tag, contents, and all bytes of each.
    """
    at = 0
    while at < len(data):
        begin, size = at, data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("an element is longer than the name")
        yield data[begin], data[at : at + size], data[begin : at + size]
        at += size


@attrs.frozen
class _Rule:
    """
    One rule.

    @ivar pattern: None: C{DEFAULT}.
    """

    pattern: re.Pattern[str] | None = None
    replacement: str = ""
    case: str = ""

    def apply(self, name: str) -> str | None:
        if self.pattern is None:
            return name
        if self.pattern.fullmatch(name) is None:
            return None
        found = self.pattern.sub(self._expanded, name)
        if self.case:
            return found.lower() if self.case == "L" else found.upper()
        return found

    def _expanded(self, match: re.Match[str]) -> str:
        """
        The replacement, with C{$1} as in Java; a number without a group stays.
        """

        def group(reference: re.Match[str]) -> str:
            if reference[1] is None:
                return reference[0][1:]
            number = int(reference[1])
            return (match[number] or "") if number <= match.re.groups else reference[0]

        return re.sub(r"\$(\d)|\\.", group, self.replacement)


_RULE = re.compile(
    r"\s*(?:(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?))\s*(?:,|$)"
)


class PrincipalRules:
    """
    Maps distinguished names to names of users, as C{ssl.principal.mapping.rules}.
    """

    def __init__(self, text: str = "DEFAULT") -> None:
        """
        @param text: C{DEFAULT} or C{RULE:pattern/replacement/}, followed by C{L} for
            lower or C{U} for upper case, with commas between. The first rule whose
            pattern matches the whole name decides (Kafka's SslPrincipalMapper.java).
        @raise ValueError: The text is not of that form.
        """
        self._rules: list[_Rule] = []
        at = 0
        while at < len(text):
            found = _RULE.match(text, at)
            if found is None:
                raise ValueError(f"{text[at:]!r} is none of these")
            default, pattern, replacement, case = found.groups()
            try:
                rule = _Rule() if default else _Rule(re.compile(pattern), replacement, case)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no pattern: {error}") from None
            self._rules.append(rule)
            at = found.end()

    def apply(self, name: str) -> str | None:
        """
        The name of the user; None if no rule matches.

        @param name: A distinguished name.
        """
        for rule in self._rules:
            found = rule.apply(name)
            if found is not None:
                return found
        return None
