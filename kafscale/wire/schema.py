"""
Declarations of messages, one for all versions.

A declaration follows Kafka's message definitions::

    class HeartbeatRequest(Request, key=12, versions="0-4", flexible="4+"):
        group_id: String
        generation_id: Int32
        member_id: String
        group_instance_id: Nullable[String] = field("3+", default=None)

Annotations are evaluated when the class is created, so a module of declarations
must not import C{annotations} from C{__future__}.
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
from kafscale.wire.encoder import Encoder, EncoderInSteps, compile_encoder
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
from kafscale.wire.steps import Steps

__all__ = [
    "NOT_TEXT",
    "NO_UUID",
    "Array",
    "Boolean",
    "Bytes",
    "Declaration",
    "Float64",
    "GroupName",
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

_NOT_ENCODED = (struct.error, ValueError, TypeError, AttributeError, OverflowError)
"""What encoders raise about a value that cannot be encoded."""

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
#: The name of a group in a request: invalid UTF-8 is decoded as `NOT_TEXT`, as in
#: Kafka.
GroupName: TypeAlias = Annotated[str, Text(lenient=True)]
Bytes: TypeAlias = Annotated[bytes, Blob()]

# Both are decoded as a view of the frame, and encoded from bytes, a view, or a
# sequence of these. They differ for type checkers only: a receiver of record
# batches reads a view, a sender has them in pieces.
Records: TypeAlias = Annotated[memoryview, Blob(view=True)]
RecordPieces: TypeAlias = Annotated[bytes | memoryview | Sequence[bytes], Blob(view=True)]

Array: TypeAlias = list[T]
Nullable: TypeAlias = T | None

#: Stands in a `GroupName` for bytes that are not UTF-8.
NOT_TEXT = "\ufffd"

#: Stands for no id in the protocol (Kafka's C{Uuid.ZERO_UUID}).
NO_UUID = UUID(int=0)


@attrs.frozen
class _FieldOptions:
    """
    The arguments of C{field()}, until the metaclass knows name and annotation.
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
    Declare the properties of a field beyond its type.

    A tagged field is encoded only if it differs from its default. A tagged structure
    is declared C{Nullable} with the default None: it has no null on the wire, and
    None means that it is absent.

    @param versions: The versions that have the field. In others it is not encoded,
        and decodes as its default.
    @param nullable: The versions in which a C{Nullable} field may be null; all of
        them by default.
    @param tag: The number of a tagged field.
    @param default: The value if none is given.
    @param factory: Creates a new default, for mutable values.
    """
    return _FieldOptions(versions, nullable, tag, default, factory)


def _kind(annotation: Any) -> Kind:
    """
    Return the wire type of an annotation, without its C{Nullable}.

    @raise TypeError: the annotation is not a wire type.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return cast(Kind, annotation.__metadata__[0])
    if origin is list:
        (element,) = get_args(annotation)
        return ListOf(_kind(element))
    if isinstance(annotation, Declaration):
        return StructOf(annotation)
    raise TypeError(f"{annotation!r} is not a wire type")


def _field(name: str, annotation: Any, options: Any) -> Field:
    """
    Return the field that annotation and C{field()} declare.
    """
    if not isinstance(options, _FieldOptions):
        options = _FieldOptions("0+", None, None, options, None)
    everywhere = parse_versions(options.versions)
    nullable = NO_VERSION
    if get_origin(annotation) is Union:
        annotation = Union[tuple(x for x in get_args(annotation) if x is not type(None))]  # noqa: UP007
        nullable = parse_versions(options.nullable) if options.nullable else everywhere
    kind = _kind(annotation)
    if options.tag is not None and isinstance(kind, StructOf):
        nullable = NO_VERSION
    return Field(name, kind, everywhere, nullable, options.tag, options.default, options.factory)


def _annotations(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Return the annotations in the namespace of a class body.
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
    The metaclass of declarations: adds slots, a constructor with keyword arguments,
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
        Turn annotations into fields, slots and a constructor.

        @param key: The API key of a request or response.
        @param versions: The declared versions of a message, e.g. ``"0-4"``.
        @param flexible: Its flexible versions, e.g. ``"4+"``.
        @raise TypeError: an annotation is not evaluated, or not a wire type.
        """
        fields = []
        for attribute, annotation in _annotations(namespace).items():
            if isinstance(annotation, str):
                if namespace["__module__"] == __name__:
                    # The base classes below, which declare no field.
                    namespace.pop(attribute, None)
                    continue
                raise TypeError(f"{name}: annotations must not be strings")
            options = namespace.pop(attribute, Required)
            fields.append(_field(attribute, annotation, options))
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
            namespace["_encoders_in_steps"] = {}
        made = super().__new__(mcs, name, bases, namespace)
        made._key = key
        return made

    # On the metaclass, because FindCoordinatorRequest has a field of that name:
    # the attribute of the class is the API key, that of an instance the field.
    @property
    def key(cls) -> int:
        """
        The API key of a request or response.

        @raise AttributeError: the class is neither.
        """
        if cls._key is None:
            raise AttributeError(f"{cls.__name__} is neither a request nor a response")
        return cls._key


class Struct(metaclass=Declaration):
    """
    A structure within a message.

    @ivar unknown_tags: Undeclared tagged fields, as received; they are encoded
        again.
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
    A structure with versions, which can be encoded on its own.

    @cvar lowest: The lowest declared version.
    @cvar highest: The highest declared version.
    """

    lowest: ClassVar[int]
    highest: ClassVar[int]
    _flexible: ClassVar[Versions]
    _decoders: ClassVar[dict[int, Decoder]]
    _encoders: ClassVar[dict[int, Encoder]]
    _encoders_in_steps: ClassVar[dict[int, EncoderInSteps]]

    @classmethod
    def flexible(cls, version: int) -> bool:
        """
        Whether this version has tagged fields and compact lengths (KIP-482).
        """
        # For each request and each response: so without a call.
        return cls._flexible.first <= version <= cls._flexible.last

    @classmethod
    def decode(cls, version: int, data: bytes | memoryview, at: int = 0) -> Self:
        """
        Decode the message that begins at C{at} and ends with C{data}.

        @raise MalformedMessage: the bytes are not such a message, or more follow.
        """
        message, end = cls.decode_some(version, data, at)
        if end != len(data):
            raise MalformedMessage(
                f"{cls.__name__} v{version}: {len(data) - end} trailing bytes"
            )
        return message

    @classmethod
    def decode_some(
        cls, version: int, data: bytes | memoryview, at: int = 0
    ) -> tuple[Self, int]:
        """
        Decode the message that begins at C{at}; return it, and the position after it.

        @raise MalformedMessage: the bytes are not such a message.
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
        Return the bytes of the message, in pieces to send one after the other. Large
        byte strings are pieces of their own, uncopied.

        @raise MalformedMessage: a value cannot be encoded in this version.
        """
        encoder = self._encoders.get(version)
        if encoder is None:
            encoder = self._encoders[version] = compile_encoder(
                type(self), self._known(version), self.flexible(version)
            )
        try:
            return encoder(self)
        except _NOT_ENCODED as error:
            raise MalformedMessage(f"{type(self).__name__} v{version}: {error}") from error

    def encode_in_steps(self, version: int) -> Steps[list[bytes]]:
        """
        Do what L{encode} does in short steps. The message must not change meanwhile.

        @raise MalformedMessage: a value cannot be encoded in this version.
        """
        encoder = self._encoders_in_steps.get(version)
        if encoder is None:
            encoder = self._encoders_in_steps[version] = compile_encoder(
                type(self), self._known(version), self.flexible(version), in_steps=True
            )
        try:
            return (yield from encoder(self))
        except _NOT_ENCODED as error:
            raise MalformedMessage(f"{type(self).__name__} v{version}: {error}") from error

    @classmethod
    def _known(cls, version: int) -> int:
        if not cls.lowest <= version <= cls.highest:
            raise MalformedMessage(f"{cls.__name__} has no version {version}")
        return version


class Request(Message):
    """
    A message from a client to a broker.
    """


class Response(Message):
    """
    A message from a broker to a client, in reply to a request.
    """
