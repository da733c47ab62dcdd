"""
Generation of decoders.

A decoder unpacks adjacent fields of fixed size with one C{struct}, checks each
length and count against the remaining bytes before it uses it, and assigns
slots directly. The caller maps the errors of a decoder (C{struct.error},
C{IndexError}, C{ValueError}) to `MalformedMessage`.
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
    min_size,
    tagged,
)
from kafscale.wire.primitives import TagReader

Decoder = Callable[[memoryview, int], tuple[Any, int]]


class _Decoding(Source):
    """
    Generates statements that read values from C{data} at C{pos}.
    """

    def read(self, kind: Kind, target: str, nullable: bool) -> None:
        """
        Generate the read of one value into C{target}, an assignable expression.
        """
        if isinstance(kind, Fixed):
            self.run.append((kind.code, target))
        elif isinstance(kind, Text):
            errors = ", 'replace'" if kind.lenient else ""
            self._read_sized(target, "h", nullable, f"str(data[pos:stop], 'utf-8'{errors})")
        elif isinstance(kind, Blob):
            value = "data[pos:stop]" if kind.view else "bytes(data[pos:stop])"
            self._read_sized(target, "i", nullable, value)
        elif isinstance(kind, ListOf):
            self._read_list(kind.element, target, nullable)
        elif nullable:
            mark = self.fresh("n")
            self.run.append(("b", mark))
            self.flush()
            with self.block(f"if {mark} < 0:"):
                self.line(f"{target} = None")
            with self.block("else:"):
                self._read_struct(kind, target)
        else:
            self.flush()
            self._read_struct(kind, target)

    def flush(self) -> None:
        """
        Generate the read of the pending run, with one struct.
        """
        if not self.run:
            return
        uuids = []
        for number, (code, target) in enumerate(self.run):
            if code == UUID_FORMAT:
                raw = self.fresh("u")
                uuids.append((target, raw))
                self.run[number] = (code, raw)
        layout, targets = self.take_run()
        unpack = self.name(layout.unpack_from, "unpack")
        self.line(f"{', '.join(targets)}, = {unpack}(data, pos)")
        self.line(f"pos += {layout.size}")
        for target, raw in uuids:
            self.line(f"{target} = uuid_of({raw})")

    def _read_length(self, code: str) -> str:
        """
        Generate the read of a length or count, negative for null; return the name
        of the variable.
        """
        length = self.fresh("n")
        if self.flexible:
            self.flush()
            self.line(f"{length} = data[pos] - 1")
            self.line("pos += 1")
            with self.block(f"if {length} > 126:"):
                self.line(f"{length}, pos = read_varint(data, pos - 1)")
                self.line(f"{length} -= 1")
        else:
            self.run.append((code, length))
            self.flush()
        return length

    def _null(self, length: str, target: str, nullable: bool) -> None:
        with self.block(f"if {length} < 0:"):
            if nullable:
                self.line(f"{target} = None")
            else:
                self.line(f"raise ValueError({f'{target} must not be null'!r})")

    def _read_sized(self, target: str, code: str, nullable: bool, value: str) -> None:
        length = self._read_length(code)
        self._null(length, target, nullable)
        with self.block("else:"):
            self.line(f"stop = pos + {length}")
            with self.block("if stop > end:"):
                self.line(f"raise ValueError({f'{target} is truncated'!r})")
            self.line(f"{target} = {value}")
            self.line("pos = stop")

    def _read_list(self, element: Kind, target: str, nullable: bool) -> None:
        count = self._read_length("i")
        least = max(1, min_size(element, self.version, self.flexible))
        self._null(count, target, nullable)
        with self.block("else:"):
            with self.block(f"if {count} * {least} > end - pos:"):
                self.line(f"raise ValueError({f'{target} is truncated'!r})")
            self.line(f"budget -= {count}")
            with self.block("if budget < 0:"):
                self.line("raise ValueError('too many elements')")
            if isinstance(element, Fixed) and element.code != UUID_FORMAT:
                layout = f'f">{{{count}}}{element.code}"'
                self.line(f"{target} = list(unpack_from({layout}, data, pos))")
                self.line(f"pos += {count} * {element.size}")
                return
            some, each = self.fresh("list"), self.fresh("each")
            self.line(f"{some} = {target} = []")
            with self.block(f"for _ in range({count}):"):
                self.read(element, each, False)
                self.flush()
                self.line(f"{some}.append({each})")

    def _read_struct(self, kind: StructOf, target: str) -> None:
        declaration = kind.declaration
        fields: tuple[Field, ...] = declaration.fields
        made = self.fresh("o")
        self.line(f"{made} = new({self.name(declaration, 'Struct')})")
        self.line(f"{made}.unknown_tags = None")
        present = in_line(fields, self.version)
        for each in fields:
            if each not in present:
                if each.factory is not None:
                    value = f"{self.name(each.factory, 'factory')}()"
                else:
                    value = self.name(each.missing(), "default")
                self.line(f"{made}.{each.name} = {value}")
        for each in present:
            self.read(each.kind, f"{made}.{each.name}", self.version in each.nullable)
        self.flush()
        if self.flexible:
            readers = {}
            for each in tagged(fields, self.version):
                readers[each.tag] = _compile_tag_reader(each, self.version)
            with self.block("if data[pos]:"):
                known = self.name(readers, "tags")
                self.line(f"pos, budget = read_tags(data, pos, end, {made}, {known}, budget)")
            with self.block("else:"):
                self.line("pos += 1")
        self.line(f"{target} = {made}")


def compile_decoder(declaration: type[Any], version: int, flexible: bool) -> Decoder:
    """
    Compile a function of (data, position) that returns the message and the
    position after it.
    """
    source = _Decoding(version, flexible)
    with source.block("def decode(data, pos):"):
        source.line("end = len(data)")
        source.line("budget = MAX_ELEMENTS")
        source.read(StructOf(declaration), "message", False)
        source.line("return message, pos")
    made: Decoder = source.function("decode", f"decoder of {declaration.__name__}")
    return made


def _compile_tag_reader(declared: Field, version: int) -> TagReader:
    """
    Compile a function of (data, struct, budget) that sets one tagged field from all
    of C{data}, and returns the remaining budget.
    """
    source = _Decoding(version, True)
    with source.block("def read_tag(data, struct, budget):"):
        source.line("pos = 0")
        source.line("end = len(data)")
        source.read(declared.kind, f"struct.{declared.name}", version in declared.nullable)
        source.flush()
        with source.block("if pos != end:"):
            source.line(f"raise ValueError({f'{declared.name} has trailing bytes'!r})")
        source.line("return budget")
    made: TagReader = source.function("read_tag", f"tag {declared.name}")
    return made
