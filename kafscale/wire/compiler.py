"""
Declarations turned into straight-line functions, one per message and version.

A decoder reads neighbouring fields of fixed size with one C{struct}, checks
every length and count against the bytes that remain before it uses it, and
assigns slots directly. What goes wrong inside (C{struct.error}, C{IndexError},
C{ValueError}) is mapped to `MalformedMessage` by the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafscale.wire import primitives
from kafscale.wire.kinds import (
    UUID_FORMAT,
    Blob,
    Field,
    Fixed,
    Kind,
    ListOf,
    Required,
    StructOf,
    Text,
    in_line,
    least_size,
    tagged,
)

Decoder = Callable[[memoryview, int], tuple[Any, int]]
Encoder = Callable[[Any], list[bytes]]


class _Source:
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
        self._run: list[tuple[str, str]] = []

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
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

    def _take_run(self) -> tuple[struct.Struct, list[str]]:
        layout = struct.Struct(">" + "".join(code for code, _ in self._run))
        values = [value for _, value in self._run]
        self._run = []
        return layout, values


def compile_constructor(fields: Sequence[Field]) -> Callable[..., None]:
    """
    An C{__init__} that takes every field as a keyword.
    """
    source = _Source(0, False)
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


# ---------------------------------------------------------------------------
# Decoding
# ---------------------------------------------------------------------------


class _Decoding(_Source):
    """
    Writes statements that read values from C{data} at C{pos}.
    """

    def read(self, kind: Kind, target: str, nullable: bool) -> None:
        """
        Read one value into C{target}, an expression that can be assigned.
        """
        if isinstance(kind, Fixed):
            self._run.append((kind.code, target))
        elif isinstance(kind, Text):
            self._read_sized(target, "h", nullable, "str(data[pos:stop], 'utf-8')")
        elif isinstance(kind, Blob):
            value = "data[pos:stop]" if kind.view else "bytes(data[pos:stop])"
            self._read_sized(target, "i", nullable, value)
        elif isinstance(kind, ListOf):
            self._read_list(kind.element, target, nullable)
        elif nullable:
            mark = self.fresh("n")
            self._run.append(("b", mark))
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
        Read what waits in the run, with one struct.
        """
        if not self._run:
            return
        uuids = []
        for number, (code, target) in enumerate(self._run):
            if code == UUID_FORMAT:
                raw = self.fresh("u")
                uuids.append((target, raw))
                self._run[number] = (code, raw)
        layout, targets = self._take_run()
        unpack = self.name(layout.unpack_from, "unpack")
        self.line(f"{', '.join(targets)}, = {unpack}(data, pos)")
        self.line(f"pos += {layout.size}")
        for target, raw in uuids:
            self.line(f"{target} = uuid_of({raw})")

    def _read_length(self, code: str) -> str:
        """
        Read a length or count; null is below zero. The name that holds it.
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
            self._run.append((code, length))
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
                self.line(f"raise ValueError({f'{target} is cut short'!r})")
            self.line(f"{target} = {value}")
            self.line("pos = stop")

    def _read_list(self, element: Kind, target: str, nullable: bool) -> None:
        count = self._read_length("i")
        least = max(1, least_size(element, self.version, self.flexible))
        self._null(count, target, nullable)
        with self.block("else:"):
            with self.block(f"if {count} * {least} > end - pos:"):
                self.line(f"raise ValueError({f'{target} is cut short'!r})")
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
    A function of (data, position) that gives the message and where it ends.
    """
    source = _Decoding(version, flexible)
    with source.block("def decode(data, pos):"):
        source.line("end = len(data)")
        source.line("budget = MOST_ELEMENTS")
        source.read(StructOf(declaration), "message", False)
        source.line("return message, pos")
    made: Decoder = source.function("decode", f"decoder of {declaration.__name__}")
    return made


def _compile_tag_reader(declared: Field, version: int) -> primitives.TagReader:
    """
    A function of (data, struct, budget) that sets one tagged field from all
    of C{data}, and gives what is left of the budget.
    """
    source = _Decoding(version, True)
    with source.block("def read_tag(data, struct, budget):"):
        source.line("pos = 0")
        source.line("end = len(data)")
        source.read(declared.kind, f"struct.{declared.name}", version in declared.nullable)
        source.flush()
        with source.block("if pos != end:"):
            source.line(f"raise ValueError({f'{declared.name} is followed by more'!r})")
        source.line("return budget")
    made: primitives.TagReader = source.function("read_tag", f"tag {declared.name}")
    return made


# ---------------------------------------------------------------------------
# Encoding
# ---------------------------------------------------------------------------


class _Encoding(_Source):
    """
    Writes statements that append values to C{out}, or C{pieces} if large.
    """

    def write(self, kind: Kind, value: str, nullable: bool) -> None:
        """
        Write the value of an expression.
        """
        if isinstance(kind, Fixed):
            suffix = ".bytes" if kind.code == UUID_FORMAT else ""
            self._run.append((kind.code, value + suffix))
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
        Append what waits in the run, with one struct.
        """
        if self._run:
            layout, values = self._take_run()
            self.line(f"add({self.name(layout.pack, 'pack')}({', '.join(values)}))")

    def _write_length(self, code: str, length: str) -> None:
        """
        Write a length or count; that of null is -1.
        """
        if self.flexible:
            self.flush()
            self.line(f"{length} += 1")
            self.line(f"add(VARINTS[{length}] if {length} < 128 else varint({length}))")
        else:
            self._run.append((code, length))
            self.flush()

    def _write_sized(
        self, value: str, code: str, nullable: bool, name: str, made: str, measure: str = "len"
    ) -> None:
        """
        Write the length of a string; leave its bytes in C{name}.
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


def compile_encoder(declaration: type[Any], version: int, flexible: bool) -> Encoder:
    """
    A function of a message that gives its bytes in pieces.
    """
    source = _Encoding(version, flexible)
    with source.block("def encode(message):"):
        source.line("out = []")
        source.line("pieces = []")
        source.line("add = out.append")
        source.write(StructOf(declaration), "message", False)
        source.line("pieces.append(join(out))")
        source.line("return pieces")
    made: Encoder = source.function("encode", f"encoder of {declaration.__name__}")
    return made


def _compile_tag_writer(declared: Field, parent: _Source) -> primitives.TagWriter:
    """
    A function of a tagged field's value that gives its bytes.
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
    made: primitives.TagWriter = source.function("write_tag", f"tag {declared.name}")
    return made
