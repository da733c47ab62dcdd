"""
DescribeClientQuotas and AlterClientQuotas.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import isfinite

import attrs
from zope.interface import implementer

from kafscale.errors import InvalidRequest, KafkaError, UnsupportedVersion
from kafscale.format import metadata_keys
from kafscale.format.quota import QuotaEntity, QuotaRecord
from kafscale.interfaces import (
    MAX_RECORDS,
    IAdminService,
    IClusterRecords,
    RequestContext,
    Serving,
)
from kafscale.interfaces.quotas import (
    CLIENT_ID,
    CONNECTION_RATE,
    FETCH_RATE,
    IP,
    MUTATION_RATE,
    PRODUCE_RATE,
    REQUEST_PERCENTAGE,
    USER,
)
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
)

_EXACT, _DEFAULT, _ANY = range(3)

_ANY_NAME = object()

_LONG = 2**63 - 1
_INT = 2**31 - 1

#: The largest whole value of a quota; None if it may have a fraction, and any value.
_CLIENT_KEYS = {
    PRODUCE_RATE: _LONG,
    FETCH_RATE: _LONG,
    REQUEST_PERCENTAGE: None,
    MUTATION_RATE: None,
}
_ADDRESS_KEYS = {CONNECTION_RATE: _INT}

_JAVA_TYPES = {_LONG: "a LONG", _INT: "an INT"}


@attrs.frozen
class _Changes:
    """
    The changes to the quotas of one entity.

    @ivar values: The new values; None removes a quota.
    """

    entity: QuotaEntity
    values: Mapping[str, float | None]


@implementer(IAdminService)
class ClientQuotasService:
    """
    Versions 0 to 1 of DescribeClientQuotas and of AlterClientQuotas. Version 1 is
    flexible. Errors and their texts are those of Kafka's C{ClientQuotasImage} and
    C{ClientQuotaControlManager}.
    """

    def __init__(
        self, quotas: IClusterRecords, resolve: Callable[[str], Awaitable[str | None]]
    ) -> None:
        """
        @param quotas: The records of all quotas.
        @param resolve: Returns the address of a host; None if the name has none.
        """
        self._quotas = quotas
        self._resolve = resolve

    def serves(self) -> list[Serving]:
        """
        DescribeClientQuotas and AlterClientQuotas.
        """
        return [
            Serving(DescribeClientQuotasRequest, 0, 1, self.describe, refusal()),
            Serving(AlterClientQuotasRequest, 0, 1, self.alter, _refuse_all),
        ]

    # -- describing ------------------------------------------------------------

    async def describe(
        self, request: DescribeClientQuotasRequest, context: RequestContext
    ) -> DescribeClientQuotasResponse:
        """
        The quotas of all entities that match each component, and, if the request is
        strict, have no further part.
        """
        wanted = _filter_of(request.components)
        found: list[QuotaRecord] = [
            record
            for record in self._quotas.records().values()
            if _matches(dict(record.entity), wanted, request.strict)
        ]
        found.sort(key=lambda record: [(kind, name or "") for kind, name in record.entity])
        entry = DescribeClientQuotasResponse.Entry
        return DescribeClientQuotasResponse(
            error_message="",
            entries=[
                entry(
                    entity=[
                        entry.Entity(entity_type=kind, entity_name=name)
                        for kind, name in record.entity
                    ],
                    values=[
                        entry.Value(key=key, value=value)
                        for key, value in sorted(record.values.items())
                    ],
                )
                for record in found
            ],
        )

    # -- altering ----------------------------------------------------------------

    async def alter(
        self, request: AlterClientQuotasRequest, context: RequestContext
    ) -> AlterClientQuotasResponse:
        """
        Each entity has one entry in the response, when its changes are durable and in
        force on this broker. If it is in the request twice that is an error, and the
        first changes are made nevertheless, as by Kafka.
        """
        outcomes: dict[QuotaEntity, Exception | None] = {}
        accepted: list[_Changes] = []
        for entry in request.entries:
            # The last one of a type counts.
            parts = {part.entity_type: part.entity_name for part in entry.entity}
            entity = tuple((kind, parts[kind]) for kind in sorted(parts))
            values = {op.key: None if op.remove else op.value for op in entry.ops}
            try:
                if entity in outcomes or len(values) < len(entry.ops):
                    raise InvalidRequest(f"Ignoring duplicate entity {_as_kafka(entity)}")
                await self._check(parts, values)
            except KafkaError as error:
                outcomes[entity] = error
                continue
            outcomes[entity] = None
            accepted.append(_Changes(entity, values))
        if not request.validate_only:
            for at in range(0, len(accepted), MAX_RECORDS):
                some = accepted[at : at + MAX_RECORDS]
                try:
                    await self._change(some)
                except Exception as error:
                    for changes in some:
                        outcomes[changes.entity] = error
        return AlterClientQuotasResponse(
            entries=[_outcome(entity, error) for entity, error in outcomes.items()]
        )

    async def _check(
        self, parts: Mapping[str, str | None], values: Mapping[str, float | None]
    ) -> None:
        """
        @raise InvalidRequest: there is no such entity, or no such quota.
        """
        if not parts:
            raise InvalidRequest("Invalid empty client quota entity")
        for kind, name in parts.items():
            if kind not in (USER, CLIENT_ID, IP):
                raise InvalidRequest(f"Unhandled client quota entity type: {kind[:100]}")
            if name == "":
                raise InvalidRequest(f"Empty {kind} not supported")
        if IP in parts and len(parts) > 1:
            raise InvalidRequest(
                "Invalid quota entity combination, IP entity shouldnot be combined with User or"
                " ClientId"
            )
        host = parts.get(IP)
        if host is not None and await self._resolve(host) is None:
            raise InvalidRequest(f"{host[:300]} is not a valid IP or resolvable host.")
        for key, value in values.items():
            if value is not None:
                _check_value(_ADDRESS_KEYS if IP in parts else _CLIENT_KEYS, key, value)

    async def _change(self, accepted: Sequence[_Changes]) -> None:
        changes = {metadata_keys.quota(each.entity): each for each in accepted}

        def decide(present: Mapping[str, QuotaRecord]) -> Mapping[str, QuotaRecord | None]:
            records: dict[str, QuotaRecord | None] = {}
            for key, each in changes.items():
                values = dict(present[key].values) if key in present else {}
                values |= {name: value for name, value in each.values.items() if value is not None}
                for name, value in each.values.items():
                    if value is None:
                        values.pop(name, None)
                records[key] = QuotaRecord(each.entity, values) if values else None
            return records

        await self._quotas.change(changes, decide)


def _check_value(keys: Mapping[str, int | None], key: str, value: float) -> None:
    """
    @raise InvalidRequest: there is no such quota, or it cannot have this value.
    """
    if key not in keys:
        raise InvalidRequest(f"Invalid configuration key {key[:100]}")
    if not isfinite(value):
        raise InvalidRequest(f"Quota {key} must be a finite number")
    if value <= 0:
        raise InvalidRequest(f"Quota {key} must be greater than 0")
    most = keys[key]
    if most is None:
        return
    if value > most:
        raise InvalidRequest(f"Proposed value for {key} is too large for {_JAVA_TYPES[most]}.")
    if value % 1 > 1e-6:
        raise InvalidRequest(f"{key} cannot be a fractional value.")


def _filter_of(
    components: Sequence[DescribeClientQuotasRequest.Component],
) -> dict[str, str | object | None]:
    """
    The name that a part must have, by its type: None for the default, L{_ANY_NAME} for any.

    @raise InvalidRequest: Kafka refuses such a filter.
    @raise UnsupportedVersion: there is no such type of entity.
    """
    wanted: dict[str, str | object | None] = {}
    for component in components:
        kind, match = component.entity_type, component.match
        if not kind:
            raise InvalidRequest("Invalid empty entity type.")
        if kind in wanted:
            raise InvalidRequest(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in (USER, CLIENT_ID, IP):
            raise UnsupportedVersion(f"Unsupported entity type {kind[:100]}")
        if component.match_type == _EXACT:
            if match is None:
                raise InvalidRequest(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null."
                )
            wanted[kind] = match
            continue
        words = {_DEFAULT: "DEFAULT", _ANY: "SPECIFIED"}.get(component.match_type)
        if words is None:
            raise InvalidRequest(f"Unknown match type {component.match_type}")
        if match is not None:
            raise InvalidRequest(
                f"Request specified MATCH_TYPE_{words}, but also specified a match string."
            )
        wanted[kind] = None if component.match_type == _DEFAULT else _ANY_NAME
    if IP in wanted and len(wanted) > 1:
        raise InvalidRequest(
            "Invalid entity filter component combination. IP filter component should not be used"
            " with user or clientId filter component."
        )
    return wanted


def _matches(
    entity: Mapping[str, str | None], wanted: Mapping[str, str | object | None], strict: bool
) -> bool:
    if strict and len(entity) != len(wanted):
        return False
    return all(
        kind in entity and (name is _ANY_NAME or entity[kind] == name)
        for kind, name in wanted.items()
    )


def _refuse_all(
    request: AlterClientQuotasRequest, context: RequestContext, code: int, message: str
) -> AlterClientQuotasResponse:
    entry = AlterClientQuotasResponse.Entry
    return AlterClientQuotasResponse(
        entries=[
            entry(
                entity=[
                    entry.Entity(entity_type=part.entity_type, entity_name=part.entity_name)
                    for part in each.entity
                ],
                error_code=code,
                error_message=message,
            )
            for each in request.entries
        ]
    )


def _outcome(entity: QuotaEntity, error: Exception | None) -> AlterClientQuotasResponse.Entry:
    entry = AlterClientQuotasResponse.Entry
    code, message = 0, None
    if error is not None:
        code, message = error_fields(error, f"alter the quotas of {_as_kafka(entity)}")
    return entry(
        entity=[entry.Entity(entity_type=kind, entity_name=name) for kind, name in entity],
        error_code=code,
        error_message=message,
    )


def _as_kafka(entity: QuotaEntity) -> str:
    """
    As Kafka's messages have it.
    """
    parts = ", ".join(f"{kind}={'null' if name is None else name}" for kind, name in entity)
    return f"ClientQuotaEntity(entries={{{parts}}})"
