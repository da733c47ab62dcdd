"""
Messages, declared once for all their versions.

A declaration reads like Kafka's own tables::

    class HeartbeatRequest(Request, key=12, versions="0-4", flexible="4+"):
        group_id: String
        generation_id: Int32
        member_id: String
        group_instance_id: Nullable[String] = field("3+", default=None)

Annotations are read when the class is made, so a module of declarations does
not import C{annotations} from C{__future__}.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    overload,
)
from uuid import UUID

import attrs

from kafscale.wire.compiler import compile_constructor
from kafscale.wire.decoder import Decoder, compile_decoder
from kafscale.wire.encoder import Encoder, compile_encoder
from kafscale.wire.kinds import (
    BOOLEAN_FORMAT,
    NO_VERSION,
    UUID_FORMAT,
    Blob,
    Field,
    Fixed,
    Kind,
    ListOf,
    MalformedMessage,
    Required,
    StructOf,
    Text,
    Versions,
    parse_versions,
)

__all__ = [
    "NO_UUID",
    "Array",
    "Boolean",
    "Bytes",
    "Declaration",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "MalformedMessage",
    "Message",
    "Nullable",
    "RecordPieces",
    "Records",
    "Request",
    "Response",
    "String",
    "Struct",
    "Uint16",
    "Uint32",
    "Uuid",
    "field",
]

T = TypeVar("T")

Int8: TypeAlias = Annotated[int, Fixed("b", 1)]
Int16: TypeAlias = Annotated[int, Fixed("h", 2)]
Uint16: TypeAlias = Annotated[int, Fixed("H", 2)]
Int32: TypeAlias = Annotated[int, Fixed("i", 4)]
Uint32: TypeAlias = Annotated[int, Fixed("I", 4)]
Int64: TypeAlias = Annotated[int, Fixed("q", 8)]
Float64: TypeAlias = Annotated[float, Fixed("d", 8)]
Boolean: TypeAlias = Annotated[bool, Fixed(BOOLEAN_FORMAT, 1)]
Uuid: TypeAlias = Annotated[UUID, Fixed(UUID_FORMAT, 16)]
String: TypeAlias = Annotated[str, Text()]
Bytes: TypeAlias = Annotated[bytes, Blob()]

# Both are a view into the frame when decoded, and both are encoded from bytes,
# a view, or a sequence of these. They differ in what they promise a reader:
# who receives record batches wants a view, who sends them has them in pieces.
Records: TypeAlias = Annotated[memoryview, Blob(view=True)]
RecordPieces: TypeAlias = Annotated[bytes | memoryview | Sequence[bytes], Blob(view=True)]

Array: TypeAlias = list[T]
Nullable: TypeAlias = T | None

# How the protocol says that an id is not given.
NO_UUID = UUID(int=0)


@attrs.frozen
class _Said:
    """
    What C{field()} was told, until the metaclass knows the rest.
    """

    versions: str
    nullable: str | None
    tag: int | None
    default: Any
    factory: Callable[[], Any] | None


@overload
def field(versions: str = ..., *, nullable: str | None = ..., tag: int | None = ...) -> Any: ...


@overload
def field(
    versions: str = ..., *, nullable: str | None = ..., tag: int | None = ..., default: T
) -> T: ...


@overload
def field(
    versions: str = ...,
    *,
    nullable: str | None = ...,
    tag: int | None = ...,
    factory: Callable[[], T],
) -> T: ...


def field(
    versions: str = "0+",
    *,
    nullable: str | None = None,
    tag: int | None = None,
    default: Any = Required,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """
    Say more of a field than its type.

    A tagged field is sent when it differs from its default only. A tagged
    structure is declared C{Nullable} with the default None: on the wire it
    has no null, None means that it is not sent.

    @param versions: Where it exists. Elsewhere it is not written, and reads
        as its default.
    @param nullable: Where a C{Nullable} field may be null, if not everywhere.
    @param tag: Its number, when it is sent among the tagged fields.
    @param default: Its value when it is not given.
    @param factory: Makes that value, for lists.
    """
    return _Said(versions, nullable, tag, default, factory)


def _kind(annotation: Any) -> Kind:
    """
    The wire type that an annotation (without C{Nullable}) stands for.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return cast(Kind, annotation.__metadata__[0])
    if origin is list:
        (element,) = get_args(annotation)
        return ListOf(_kind(element))
    if isinstance(annotation, Declaration):
        return StructOf(annotation)
    raise TypeError(f"{annotation!r} is no type of the wire")


def _field(name: str, annotation: Any, said: Any) -> Field:
    """
    Join what annotation and C{field()} say of one field.
    """
    if not isinstance(said, _Said):
        said = _Said("0+", None, None, said, None)
    everywhere = parse_versions(said.versions)
    nullable = NO_VERSION
    if get_origin(annotation) is Union:
        annotation = Union[tuple(x for x in get_args(annotation) if x is not type(None))]  # noqa: UP007
        nullable = parse_versions(said.nullable) if said.nullable else everywhere
    kind = _kind(annotation)
    if said.tag is not None and isinstance(kind, StructOf):
        nullable = NO_VERSION
    return Field(name, kind, everywhere, nullable, said.tag, said.default, said.factory)


def _annotations(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    The annotations of a class body that was just run.
    """
    if "__annotations__" not in namespace and sys.version_info >= (3, 14):
        from annotationlib import (
            Format,
            call_annotate_function,
            get_annotate_from_class_namespace,
        )

        annotate = get_annotate_from_class_namespace(namespace)
        return {} if annotate is None else call_annotate_function(annotate, Format.VALUE)
    return cast(Mapping[str, Any], namespace.get("__annotations__", {}))


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Declaration(type):
    """
    Makes a class of a declaration: slots, a constructor that takes keywords,
    and the fields as values for the compiler.
    """

    fields: tuple[Field, ...]
    _key: int | None

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        key: int | None = None,
        versions: str | None = None,
        flexible: str = "none",
    ) -> Declaration:
        """
        Turn the annotations of a declaration into fields, slots and a
        constructor.
        """
        fields = []
        for attribute, annotation in _annotations(namespace).items():
            if isinstance(annotation, str):
                if namespace["__module__"] == __name__:
                    # The base classes below, which declare no field.
                    namespace.pop(attribute, None)
                    continue
                raise TypeError(f"{name}: annotations must be read as they are")
            said = namespace.pop(attribute, Required)
            fields.append(_field(attribute, annotation, said))
        if fields or "__slots__" not in namespace:
            namespace["__slots__"] = tuple(each.name for each in fields)
        namespace["fields"] = tuple(fields)
        if namespace["__module__"] != __name__:
            namespace["__init__"] = compile_constructor(fields)
        if versions is not None:
            served = parse_versions(versions)
            namespace["lowest"], namespace["highest"] = served.first, served.last
            namespace["_flexible"] = parse_versions(flexible)
            namespace["_decoders"], namespace["_encoders"] = {}, {}
        made = super().__new__(mcs, name, bases, namespace)
        made._key = key
        return made

    # On the metaclass, because FindCoordinatorRequest has a field of that name:
    # asked of the class it is the API key, asked of an instance the field.
    @property
    def key(cls) -> int:
        """
        The API key of a request or response.
        """
        if cls._key is None:
            raise AttributeError(f"{cls.__name__} is no request and no response")
        return cls._key


class Struct(metaclass=Declaration):
    """
    Fields that belong together, inside a message.

    @ivar unknown_tags: Tagged fields that the declaration does not have, as
        they came; they are sent again.
    """

    __slots__ = ("unknown_tags",)

    fields: ClassVar[tuple[Field, ...]]

    unknown_tags: dict[int, bytes] | None = None

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [each.name for each in self.fields]
        return all(getattr(self, x) == getattr(other, x) for x in [*names, "unknown_tags"])

    def __repr__(self) -> str:
        shown = []
        for each in self.fields:
            value = getattr(self, each.name)
            if isinstance(value, memoryview):
                shown.append(f"{each.name}=<{value.nbytes} bytes>")
            else:
                shown.append(f"{each.name}={value!r}")
        if self.unknown_tags is not None:
            shown.append(f"unknown_tags={self.unknown_tags!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Message(Struct):
    """
    A structure that has versions, and so can stand alone.

    @cvar lowest: The lowest version that is declared.
    @cvar highest: The highest.
    """

    lowest: ClassVar[int]
    highest: ClassVar[int]
    _flexible: ClassVar[Versions]
    _decoders: ClassVar[dict[int, Decoder]]
    _encoders: ClassVar[dict[int, Encoder]]

    @classmethod
    def flexible(cls, version: int) -> bool:
        """
        Whether this version has tagged fields and compact lengths (KIP-482).
        """
        return version in cls._flexible

    @classmethod
    def decode(cls, version: int, data: bytes | memoryview, at: int = 0) -> Self:
        """
        Read the message from C{at} to the end of C{data}.

        @raise MalformedMessage: It is not such a message, or bytes are left.
        """
        message, end = cls.decode_some(version, data, at)
        if end != len(data):
            raise MalformedMessage(
                f"{cls.__name__} v{version}: {len(data) - end} bytes are left over"
            )
        return message

    @classmethod
    def decode_some(
        cls, version: int, data: bytes | memoryview, at: int = 0
    ) -> tuple[Self, int]:
        """
        Read the message from C{at}; return it, and where it ends.

        @raise MalformedMessage: It is not such a message.
        """
        decoder = cls._decoders.get(version)
        if decoder is None:
            decoder = cls._decoders[version] = compile_decoder(
                cls, cls._known(version), cls.flexible(version)
            )
        try:
            return cast("tuple[Self, int]", decoder(memoryview(data), at))
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            raise MalformedMessage(f"{cls.__name__} v{version}: {error}") from error

    def encode(self, version: int) -> list[bytes]:
        """
        The message's bytes, in pieces to be sent one after the other; large
        byte strings are pieces of their own, not copied.

        @raise MalformedMessage: Some value has no form at this version.
        """
        encoder = self._encoders.get(version)
        if encoder is None:
            encoder = self._encoders[version] = compile_encoder(
                type(self), self._known(version), self.flexible(version)
            )
        try:
            return encoder(self)
        except (struct.error, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise MalformedMessage(f"{type(self).__name__} v{version}: {error}") from error

    @classmethod
    def _known(cls, version: int) -> int:
        if not cls.lowest <= version <= cls.highest:
            raise MalformedMessage(f"{cls.__name__} has no version {version}")
        return version


class Request(Message):
    """
    What a client sends.
    """


class Response(Message):
    """
    What a broker answers.
    """
