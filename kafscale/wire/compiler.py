"""
Generation of functions from source text.

Declarations are compiled to straight-line Python, once for each message and
version, at the first use. L{kafscale.wire.decoder} generates the decoders,
L{kafscale.wire.encoder} the encoders, and both use this module.
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
    Python source under construction, with the global names that it refers to.
    """

    def __init__(self, version: int, flexible: bool) -> None:
        """
        @param version: The version of the message.
        @param flexible: Whether that version is flexible (KIP-482).
        """
        self.version = version
        self.flexible = flexible
        self.names: dict[str, Any] = dict(vars(primitives))
        self._lines: list[str] = []
        self._depth = 0
        self._count = 0
        # Adjacent fields of fixed size that are not written yet, to share one struct:
        # format, and target (decoding) or expression (encoding).
        self.run: list[tuple[str, str]] = []

    def line(self, text: str) -> None:
        """
        Append a line, indented by the open blocks.
        """
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """
        Append a line that ends in a colon, and indent the lines within the context.
        """
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def name(self, value: Any, stem: str = "k") -> str:
        """
        Add a value to the global names, and return its new name.
        """
        fresh = self.fresh(stem)
        self.names[fresh] = value
        return fresh

    def fresh(self, stem: str) -> str:
        """
        Return an unused name that begins with C{stem}.
        """
        self._count += 1
        return f"{stem}{self._count}"

    def function(self, name: str, title: str) -> Any:
        """
        Execute the source, and return the function C{name} that it defines.

        @param title: Stands for the file in tracebacks.
        """
        source = "\n".join(self._lines)
        code = compile(source, f"<{title} v{self.version}>", "exec")
        exec(code, self.names)  # noqa: S102 - of declarations only, nothing from outside
        return self.names[name]

    def take_run(self) -> tuple[struct.Struct, list[str]]:
        """
        Return the struct of the pending run with its targets or expressions, and
        begin a new run.
        """
        layout = struct.Struct(">" + "".join(code for code, _ in self.run))
        values = [value for _, value in self.run]
        self.run = []
        return layout, values


def compile_constructor(fields: Sequence[Field]) -> Callable[..., None]:
    """
    Compile an C{__init__} that takes each field as a keyword argument.
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
