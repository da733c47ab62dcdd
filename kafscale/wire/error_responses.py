"""
Responses to requests that failed as a whole.

Most APIs have a place for an error code: on top of the response, or with each
topic, partition, group or resource that the request names. So the declarations
of request and response are enough to make the response, as Kafka's
C{AbstractRequest.getErrorResponse} does for each API by hand.
"""

from __future__ import annotations

from typing import Any

from kafscale.wire.codes import CODE, has_code, struct_in
from kafscale.wire.kinds import UUID_FORMAT, Blob, Field, Fixed, ListOf, Required, Text
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import NO_UUID, Declaration, Request, Struct

#: Fields that say what an element of a list is about. They are copied from the
#: request. Where the request has a list of plain values, these are it.
_IDENTITIES = frozenset(
    {
        "group_id",
        "index",
        "key",
        "name",
        "partition",
        "partition_index",
        "resource_name",
        "resource_type",
        "topic",
        "topic_id",
    }
)


def error_response(
    request: Request, version: int, code: int, message: str, **values: Any
) -> Any:
    """
    The response to a request that failed, of the class that belongs to it.

    If the response has an error code on top, in this version, its lists are
    empty. Otherwise it repeats what the request names, each with the code and,
    where there is a field for it, the message.

    @param values: For fields that are to have another value than their default,
        or 0, an empty string or an empty list where they have none. By name,
        wherever in the response the field is.
    """
    values |= {CODE: code, "error_message": message}
    return _fill(RESPONSES[type(request).key], request, version, values)


def _fill(declaration: Declaration, source: Any, version: int, values: dict[str, Any]) -> Any:
    fields = [field for field in declaration.fields if version in field.versions]
    has_own_code = any(field.name == CODE for field in fields)
    filled = {}
    for field in fields:
        element = struct_in(field.kind)
        if field.name in values:
            filled[field.name] = values[field.name]
        elif element is not None and has_code(element) and not has_own_code:
            named = _list_in(source, version)
            filled[field.name] = [_fill(element, each, version, values) for each in named]
        elif field.name in _IDENTITIES:
            filled[field.name] = _identity(source, field, version)
        elif field.default is Required and field.factory is None:
            filled[field.name] = _zero(field, version)
    return declaration(**filled)


def _list_in(source: Struct, version: int) -> list[Any]:
    """
    What a request, or a part of it, names: its first list in this version.
    """
    for field in source.fields:
        if isinstance(field.kind, ListOf) and version in field.versions:
            return getattr(source, field.name) or []
    return []


def _identity(source: Any, field: Field, version: int) -> Any:
    if not isinstance(source, Struct):
        return source
    if hasattr(source, field.name):
        return getattr(source, field.name)
    # Fetch has "partition" in the request, and "partition_index" in the response.
    return getattr(source, field.name.removesuffix("_index"), _zero(field, version))


def _zero(field: Field, version: int) -> Any:
    if version in field.nullable:
        return None
    match field.kind:
        case Fixed(code="?"):
            return False
        case Fixed(code=code):
            return NO_UUID if code == UUID_FORMAT else 0
        case Text():
            return ""
        case Blob():
            return b""
    return []
