"""
Responses to requests that failed as a whole.

Most APIs have a field for an error code: at the top level of the response, or
with each topic, partition, group or resource that the request names. So the
declarations of request and response suffice to construct the response, for
which each API of Kafka has an C{AbstractRequest.getErrorResponse} of its own.
"""

from __future__ import annotations

from typing import Any

from kafscale.wire.first_error import CODE, has_code, struct_in
from kafscale.wire.kinds import UUID_FORMAT, Blob, Field, Fixed, ListOf, Required, Text
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import NO_UUID, Declaration, Request, Struct

#: Fields that identify an element of a list. They are copied from the request;
#: if the request has a list of plain values, each value is copied.
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
    Return the response to a request that failed as a whole.

    If this version of the response has a top-level error code, its lists are empty.
    Otherwise it repeats the elements that the request names, each with the code
    and, if it has that field, with the message.

    @param version: The version of the request, and so of the response.
    @param code: The error code.
    @param message: The value of all C{error_message} fields.
    @param values: Values of further fields, by name, at any level of the response.
        Fields without a default are 0, an empty string or an empty list otherwise.
    @return: An instance of the response class that belongs to C{request}.
    """
    values |= {CODE: code, "error_message": message}
    return _fill(RESPONSES[type(request).key], request, version, values)


def element_response(
    declaration: Declaration, element: Any, version: int, code: int, **values: Any
) -> Any:
    """
    Return the part of a response that belongs to one element of a request, if that
    element failed.

    @param declaration: Of the part of the response.
    @param element: The structure in the request, or a plain value that identifies it.
    @param code: The error code, at the first level of the part that has one.
    @param values: As in L{error_response}.
    """
    return _fill(declaration, element, version, {CODE: code, **values})


def empty_response(request: Request, version: int, **values: Any) -> Any:
    """
    Return the response to a request of which nothing was done, without an error.

    @param values: As in L{error_response}; among them the lists that the response has.
    """
    return _fill(RESPONSES[type(request).key], request, version, {CODE: 0, **values})


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
    Return the first list of a request, or of a structure within it, that this
    version has.
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
