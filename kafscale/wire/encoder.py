"""
Generation of encoders.

An encoder packs adjacent fields of fixed size with one C{struct}, and joins
small byte strings; a large one becomes a piece of its own, uncopied. The caller
maps the errors of an encoder to `MalformedMessage`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafscale.wire.compiler import Source
from kafscale.wire.kinds import (
    UUID_FORMAT,
    Blob,
    Field,
    Fixed,
    Kind,
    ListOf,
    StructOf,
    Text,
    in_line,
    tagged,
)
from kafscale.wire.primitives import TagWriter
from kafscale.wire.steps import Steps

Encoder = Callable[[Any], list[bytes]]
EncoderInSteps = Callable[[Any], Steps[list[bytes]]]

STEP = 500
"""After how many fields an encoder in steps ends a step."""


class _Encoding(Source):
    """
    Generates statements that append values to C{out}, or to C{pieces} if large.
    """

    in_steps = False

    def write(self, kind: Kind, value: str, nullable: bool) -> None:
        """
        Generate the write of the value of an expression.
        """
        if isinstance(kind, Fixed):
            suffix = ".bytes" if kind.code == UUID_FORMAT else ""
            self.run.append((kind.code, value + suffix))
        elif isinstance(kind, Text):
            text = self.fresh("text")
            self._write_sized(value, "h", nullable, text, f"{text}.encode()")
            self.line(f"add({text})")
        elif isinstance(kind, Blob):
            blob = self.fresh("blob")
            self._write_sized(value, "i", nullable, blob, blob, measure="size_of")
            self.line(f"gather(out, pieces, {blob})")
        elif isinstance(kind, ListOf):
            self._write_list(kind.element, value, nullable)
        elif nullable:
            some = self.fresh("some")
            self.flush()
            self.line(f"{some} = {value}")
            with self.block(f"if {some} is None:"):
                self.line(r'add(b"\xff")')
            with self.block("else:"):
                self.line(r'add(b"\x01")')
                self._write_struct(kind, some)
        else:
            some = self.fresh("some")
            self.line(f"{some} = {value}")
            self._write_struct(kind, some)

    def flush(self) -> None:
        """
        Generate the write of the pending run, with one struct.
        """
        if self.run:
            layout, values = self.take_run()
            self.line(f"add({self.name(layout.pack, 'pack')}({', '.join(values)}))")

    def _write_length(self, code: str, length: str) -> None:
        """
        Generate the write of a length or count; that of null is -1.
        """
        if self.flexible:
            self.flush()
            self.line(f"{length} += 1")
            self.line(f"add(VARINTS[{length}] if {length} < 128 else varint({length}))")
        else:
            self.run.append((code, length))
            self.flush()

    def _write_sized(
        self, value: str, code: str, nullable: bool, name: str, made: str, measure: str = "len"
    ) -> None:
        """
        Generate the write of the length of a string; its bytes are left in C{name}.
        """
        length = self.fresh("n")
        self.line(f"{name} = {value}")
        if nullable:
            with self.block(f"if {name} is None:"):
                self.line(f'{name} = b""')
                self.line(f"{length} = -1")
            with self.block("else:"):
                if made != name:
                    self.line(f"{name} = {made}")
                self.line(f"{length} = {measure}({name})")
        else:
            if made != name:
                self.line(f"{name} = {made}")
            self.line(f"{length} = {measure}({name})")
        self._write_length(code, length)

    def _write_list(self, element: Kind, value: str, nullable: bool) -> None:
        some, count, each = self.fresh("list"), self.fresh("n"), self.fresh("each")
        self.line(f"{some} = {value}")
        if nullable:
            with self.block(f"if {some} is None:"):
                self.line(f"{some} = ()")
                self.line(f"{count} = -1")
            with self.block("else:"):
                self.line(f"{count} = len({some})")
        else:
            self.line(f"{count} = len({some})")
        self._write_length("i", count)
        if isinstance(element, Fixed) and element.code != UUID_FORMAT:
            layout = f'f">{{len({some})}}{element.code}"'
            self.line(f"add(pack({layout}, *{some}))")
        else:
            with self.block(f"for {each} in {some}:"):
                self.write(element, each, False)
                self.flush()
                if self.in_steps:
                    with self.block(f"if len(out) > {STEP}:"):
                        self.line("pieces.append(join(out))")
                        self.line("out.clear()")
                        self.line("yield")

    def _write_struct(self, kind: StructOf, value: str) -> None:
        fields: tuple[Field, ...] = kind.declaration.fields
        for each in in_line(fields, self.version):
            self.write(each.kind, f"{value}.{each.name}", self.version in each.nullable)
        self.flush()
        if self.flexible:
            known = tagged(fields, self.version)
            plain = [f"{value}.unknown_tags is None"]
            writers = []
            for each in known:
                attribute = f"{value}.{each.name}"
                default = each.missing()
                if default is None:
                    plain.append(f"{attribute} is None")
                else:
                    plain.append(f"{attribute} == {self.name(default, 'default')}")
                writers.append((each.tag, each.name, default, _compile_tag_writer(each, self)))
            with self.block(f"if {' and '.join(plain)}:"):
                self.line(r'add(b"\x00")')
            with self.block("else:"):
                self.line(f"write_tags(out, {value}, {self.name(tuple(writers), 'tags')})")


def compile_encoder(
    declaration: type[Any], version: int, flexible: bool, in_steps: bool = False
) -> Callable[[Any], Any]:
    """
    Compile a function of a message that returns its bytes, in pieces.

    @param in_steps: Whether it is a generator that yields None after each step.
    """
    source = _Encoding(version, flexible)
    source.in_steps = in_steps
    with source.block("def encode(message):"):
        source.line("out = []")
        source.line("pieces = []")
        source.line("add = out.append")
        source.write(StructOf(declaration), "message", False)
        source.line("pieces.append(join(out))")
        source.line("return pieces")
        if in_steps:
            source.line("yield")  # also without a list it is a generator
    made: Callable[[Any], Any] = source.function("encode", f"encoder of {declaration.__name__}")
    return made


def _compile_tag_writer(declared: Field, parent: Source) -> TagWriter:
    """
    Compile a function of the value of a tagged field that returns its bytes.
    """
    source = _Encoding(parent.version, True)
    with source.block("def write_tag(value):"):
        source.line("out = []")
        source.line("pieces = []")
        source.line("add = out.append")
        source.write(declared.kind, "value", parent.version in declared.nullable)
        source.flush()
        source.line("pieces.append(join(out))")
        source.line("return join(pieces)")
    made: TagWriter = source.function("write_tag", f"tag {declared.name}")
    return made
