"""
Source text that becomes functions.

Declarations are compiled to straight-line Python, once for each message and
version, when it is first needed: L{kafscale.wire.decoder} writes what reads,
L{kafscale.wire.encoder} what writes, and both of them with the means of this
module.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafscale.wire import primitives
from kafscale.wire.kinds import Field, Required


class Source:
    """
    Python source under construction, and the names that it refers to.
    """

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.names: dict[str, Any] = dict(vars(primitives))
        self._lines: list[str] = []
        self._depth = 0
        self._count = 0
        # Neighbours of fixed size that wait for their struct: format, target
        # (decoding) or expression (encoding).
        self.run: list[tuple[str, str]] = []

    def line(self, text: str) -> None:
        """
        Write a line, as deep as the blocks that are open.
        """
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """
        Write a line that ends in a colon, and indent what follows.
        """
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def name(self, value: Any, stem: str = "k") -> str:
        """
        A new global name for a value.
        """
        fresh = self.fresh(stem)
        self.names[fresh] = value
        return fresh

    def fresh(self, stem: str) -> str:
        """
        A name that is not used yet.
        """
        self._count += 1
        return f"{stem}{self._count}"

    def function(self, name: str, title: str) -> Any:
        """
        Run what was written; the function of that name.
        """
        source = "\n".join(self._lines)
        code = compile(source, f"<{title} v{self.version}>", "exec")
        exec(code, self.names)  # noqa: S102 - of declarations only, nothing from outside
        return self.names[name]

    def take_run(self) -> tuple[struct.Struct, list[str]]:
        """
        The struct of the run so far, and its targets or expressions.
        """
        layout = struct.Struct(">" + "".join(code for code, _ in self.run))
        values = [value for _, value in self.run]
        self.run = []
        return layout, values


def compile_constructor(fields: Sequence[Field]) -> Callable[..., None]:
    """
    An C{__init__} that takes every field as a keyword.
    """
    source = Source(0, False)
    names = [each.name for each in fields]
    arguments = []
    for each in fields:
        if each.factory is not None:
            arguments.append(f"{each.name}=Required")
        elif each.default is Required:
            arguments.append(each.name)
        else:
            arguments.append(f"{each.name}={source.name(each.default, 'default_')}")
    source.names["Required"] = Required
    signature = ", ".join([*arguments, "unknown_tags=None"])
    with source.block(f"def __init__(self, *, {signature}):"):
        for each in fields:
            value = each.name
            if each.factory is not None:
                factory = source.name(each.factory, "factory_")
                value = f"{factory}() if {value} is Required else {value}"
            source.line(f"self.{each.name} = {value}")
        source.line("self.unknown_tags = unknown_tags")
    made: Callable[..., None] = source.function("__init__", f"init of {', '.join(names)}")
    return made
