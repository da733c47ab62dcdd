"""
DescribeClientQuotas and AlterClientQuotas.
"""

from __future__ import annotations

from math import inf, nan

from twisted.internet.defer import Deferred, succeed

from kafscale.cluster.records import ClusterRecords
from kafscale.errors import StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.quota import QuotaRecord
from kafscale.interfaces import MAX_RECORDS
from kafscale.services.cluster.client_quotas import ClientQuotasService
from kafscale.wire.messages import AlterClientQuotasRequest, DescribeClientQuotasRequest
from tests.services.client import ServiceCase

EXACT, DEFAULT, ANY = range(3)

Part = tuple[str, str | None]

ENTITIES: tuple[tuple[Part, ...], ...] = (
    (("client-id", None), ("user", "ann")),
    (("client-id", "app"),),
    (("client-id", "app"), ("user", "ann")),
    (("ip", None),),
    (("ip", "10.0.0.1"),),
    (("user", None),),
    (("user", "ann"),),
)
"""Entities in the order in which they are described."""

class QuotasTests(ServiceCase):
    """
    Tests of L{ClientQuotasService}. Codes and texts are those of Apache Kafka 4.4.0.
    """

    def setUp(self) -> None:
        """
        No entity has a quota. One host has an address.
        """
        super().setUp()
        store = self.cluster.store
        self.records = ClusterRecords(store, metadata_keys.QUOTAS, QuotaRecord.from_entry)
        self.cluster.now(self.records.start())

        def resolve(host: str) -> Deferred[str | None]:
            return succeed(host if host[0] == "1" else None)

        self.serve(ClientQuotasService(self.records, resolve))

    def alter(
        self,
        *entries: tuple[tuple[Part, ...], dict[str, float | None]],
        validate_only: bool = False,
        version: int = 1,
    ) -> list[tuple[int, str | None]]:
        """
        Set these quotas, or remove those whose value is None. Returns code and message
        of each entry in the response.
        """
        entry = AlterClientQuotasRequest.Entry
        request = AlterClientQuotasRequest(
            entries=[
                entry(
                    entity=[entry.Entity(entity_type=t, entity_name=n) for t, n in entity],
                    ops=[
                        entry.Op(key=key, value=value or 0.0, remove=value is None)
                        for key, value in values.items()
                    ],
                )
                for entity, values in entries
            ],
            validate_only=validate_only,
        )
        response = self.client.now(request, version)
        return [(each.error_code, each.error_message) for each in response.entries]

    def filter(
        self, *components: tuple[str, int, str | None], strict: bool = False
    ) -> DescribeClientQuotasRequest:
        """
        A request with these components: entity type, match type and name.
        """
        component = DescribeClientQuotasRequest.Component
        return DescribeClientQuotasRequest(
            components=[
                component(entity_type=entity, match_type=kind, match=name)
                for entity, kind, name in components
            ],
            strict=strict,
        )

    def described(
        self, *components: tuple[str, int, str | None], strict: bool = False, version: int = 1
    ) -> dict[tuple[Part, ...], dict[str, float]]:
        """
        The quotas that match these components.
        """
        response = self.client.now(self.filter(*components, strict=strict), version)
        self.assertEqual((response.error_code, response.error_message), (0, ""))
        return {
            tuple((part.entity_type, part.entity_name) for part in each.entity): {
                value.key: value.value for value in each.values
            }
            for each in response.entries
        }

    # -- altering ----------------------------------------------------------------

    def test_set_and_remove(self) -> None:
        """
        A quota is set, changed and removed; the others of its entity stay.
        """
        ann = (("user", "ann"),)
        for version in self.client.versions(AlterClientQuotasRequest):
            values: dict[str, float | None] = {
                "producer_byte_rate": 1024.0,
                "request_percentage": 12.5,
            }
            self.assertEqual(self.alter((ann, values), version=version), [(0, None)])
            self.assertEqual(self.described(version=version), {ann: values})
            self.alter((ann, {"producer_byte_rate": 2048.0, "foo": None}), version=version)
            self.assertEqual(self.described()[ann]["producer_byte_rate"], 2048.0)
            self.alter((ann, {"request_percentage": None}), version=version)
            self.assertEqual(self.described(), {ann: {"producer_byte_rate": 2048.0}})
            self.alter((ann, {"producer_byte_rate": None}), version=version)
            self.assertEqual(self.described(), {})

    def test_order_of_parts(self) -> None:
        """
        The order of an entity's parts does not matter; of two of one type the last
        counts.
        """
        self.alter(((("user", "ann"), ("client-id", None)), {"producer_byte_rate": 1.0}))
        self.alter(((("client-id", None), ("user", "ann")), {"consumer_byte_rate": 2.0}))
        self.alter(((("user", "ann"), ("user", "bob")), {"consumer_byte_rate": 3.0}))
        self.assertEqual(
            self.described(),
            {
                (("client-id", None), ("user", "ann")): {
                    "producer_byte_rate": 1.0,
                    "consumer_byte_rate": 2.0,
                },
                (("user", "bob"),): {"consumer_byte_rate": 3.0},
            },
        )

    def test_refused(self) -> None:
        """
        Each error has its text, and nothing of the entity is changed.
        """
        user, ip = (("user", "ann"),), (("ip", "10.0.0.1"),)
        produce, connect = "producer_byte_rate", "connection_creation_rate"
        cases: tuple[tuple[tuple[Part, ...], dict[str, float | None], str], ...] = (
            ((), {produce: 1.0}, "Invalid empty client quota entity"),
            ((("foo", "a"),), {produce: 1.0}, "Unhandled client quota entity type: foo"),
            ((("user", ""),), {produce: 1.0}, "Empty user not supported"),
            (
                (*ip, *user),
                {produce: 1.0},
                "Invalid quota entity combination, IP entity shouldnot be combined with User or"
                " ClientId",
            ),
            (
                (("ip", "no.example"),),
                {connect: 1.0},
                "no.example is not a valid IP or resolvable host.",
            ),
            (user, {"foo": 1.0}, "Invalid configuration key foo"),
            (user, {produce: 1.0, "foo": 1.0}, "Invalid configuration key foo"),
            (user, {connect: 1.0}, f"Invalid configuration key {connect}"),
            (ip, {produce: 1.0}, f"Invalid configuration key {produce}"),
            (user, {produce: 0.0}, f"Quota {produce} must be greater than 0"),
            (user, {produce: -1.0}, f"Quota {produce} must be greater than 0"),
            (user, {produce: 1.5}, f"{produce} cannot be a fractional value."),
            (user, {produce: nan}, f"Quota {produce} must be a finite number"),
            (user, {"request_percentage": inf}, "Quota request_percentage must be a finite number"),
            (user, {produce: 1e19}, f"Proposed value for {produce} is too large for a LONG."),
            (ip, {connect: 3e9}, f"Proposed value for {connect} is too large for an INT."),
        )
        for entity, values, text in cases:
            self.assertEqual(self.alter((entity, values)), [(42, text)])
        self.assertEqual(self.described(), {})

    def test_each_entity(self) -> None:
        """
        An error of one entity does not keep the changes of another.
        """
        outcomes = self.alter(
            ((("user", "ann"),), {"producer_byte_rate": 0.0}),
            ((("user", "bob"),), {"producer_byte_rate": 1.0}),
        )
        self.assertEqual([code for code, _ in outcomes], [42, 0])
        self.assertEqual(list(self.described()), [(("user", "bob"),)])

    def test_duplicates(self) -> None:
        """
        An entity that is there twice has one entry in the response, an error, and its
        first changes are made. With a key that is there twice nothing is changed.
        """
        ann = (("user", "ann"),)
        outcomes = self.alter(
            (ann, {"producer_byte_rate": 1.0}), (ann, {"consumer_byte_rate": 2.0})
        )
        text = "Ignoring duplicate entity ClientQuotaEntity(entries={user=ann})"
        self.assertEqual(outcomes, [(42, text)])
        self.assertEqual(self.described(), {ann: {"producer_byte_rate": 1.0}})

        entry = AlterClientQuotasRequest.Entry
        op = entry.Op(key="producer_byte_rate", value=9.0, remove=False)
        entity = [entry.Entity(entity_type="client-id", entity_name=None)]
        request = AlterClientQuotasRequest(
            entries=[entry(entity=entity, ops=[op, op])], validate_only=False
        )
        (outcome,) = self.client.now(request, 1).entries
        text = "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=null})"
        self.assertEqual((outcome.error_code, outcome.error_message), (42, text))
        self.assertEqual(list(self.described()), [ann])

    def test_validate_only(self) -> None:
        """
        The outcome is that of a change, and nothing is changed.
        """
        outcomes = self.alter(
            ((("user", "ann"),), {"producer_byte_rate": 1.0}),
            ((("user", "bob"),), {"producer_byte_rate": 0.0}),
            validate_only=True,
        )
        self.assertEqual([code for code, _ in outcomes], [0, 42])
        self.assertEqual(self.described(), {})

    def test_many(self) -> None:
        """
        A request may have more entities than a commit has room for.
        """
        entries = [
            ((("user", f"user-{at}"),), {"producer_byte_rate": at + 1.0})
            for at in range(2 * MAX_RECORDS + 1)
        ]
        self.assertEqual(self.alter(*entries), [(0, None)] * len(entries))  # type: ignore[arg-type]
        self.assertEqual(len(self.described()), len(entries))

    def test_store_away(self) -> None:
        """
        If the store does not answer, each entity has that error.
        """

        def fail(*_: object) -> None:
            raise StoreUnavailable("503")

        self.patch(self.records, "change", fail)
        outcomes = self.alter(((("user", "ann"),), {"producer_byte_rate": 1.0}))
        self.assertEqual([code for code, _ in outcomes], [56])

    # -- describing ----------------------------------------------------------------

    def test_filters(self) -> None:
        """
        An entity matches if it has all parts that are asked for, and, if the filter is
        strict, no others.
        """
        rate = {"ip": "connection_creation_rate"}
        for entity in ENTITIES:
            self.alter((entity, {rate.get(entity[0][0], "producer_byte_rate"): 1.0}))
        every = range(len(ENTITIES))
        for components, strict, found in (
            ([], False, every),
            ([], True, []),
            ([("user", ANY, None)], False, [0, 2, 5, 6]),
            ([("user", ANY, None)], True, [5, 6]),
            ([("user", DEFAULT, None)], False, [5]),
            ([("user", EXACT, "ann")], False, [0, 2, 6]),
            ([("user", EXACT, "ann")], True, [6]),
            ([("user", EXACT, "bob")], False, []),
            ([("client-id", EXACT, "app")], False, [1, 2]),
            ([("client-id", DEFAULT, None)], False, [0]),
            ([("client-id", DEFAULT, None), ("user", ANY, None)], True, [0]),
            ([("ip", ANY, None)], False, [3, 4]),
            ([("ip", DEFAULT, None)], True, [3]),
        ):
            described = self.described(*components, strict=strict)
            self.assertEqual(list(described), [ENTITIES[at] for at in found], components)

    def test_bad_filters(self) -> None:
        """
        Filters that Kafka refuses are refused.
        """
        for components, code, text in (
            ((("", ANY, None),), 42, "Invalid empty entity type."),
            (
                (("user", ANY, None), ("user", ANY, None)),
                42,
                "Entity type user cannot appear more than once in the filter.",
            ),
            ((("user", 3, None),), 42, "Unknown match type 3"),
            (
                (("user", EXACT, None),),
                42,
                "Request specified MATCH_TYPE_EXACT, but set match string to null.",
            ),
            (
                (("user", ANY, "ann"),),
                42,
                "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
            ),
            (
                (("user", DEFAULT, "ann"),),
                42,
                "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
            ),
            (
                (("ip", ANY, None), ("user", ANY, None)),
                42,
                "Invalid entity filter component combination. IP filter component should not be"
                " used with user or clientId filter component.",
            ),
            ((("topic", ANY, None),), 35, "Unsupported entity type topic"),
        ):
            failure = self.failureResultOf(self.client.start(self.filter(*components), 1))
            self.assertEqual((failure.value.code, str(failure.value)), (code, text))

    def test_failed(self) -> None:
        """
        The error is on top of the response to a description, and entries are null; and
        with each entity of an alteration.
        """
        for version in self.client.versions(DescribeClientQuotasRequest):
            response = self.client.failed(self.filter(), version, 42)
            self.assertEqual((response.error_code, response.entries), (42, None))
        entry = AlterClientQuotasRequest.Entry
        entity = [entry.Entity(entity_type="user", entity_name="ann")]
        request = AlterClientQuotasRequest(
            entries=[entry(entity=entity, ops=[])], validate_only=False
        )
        for version in self.client.versions(AlterClientQuotasRequest):
            (outcome,) = self.client.failed(request, version, 31).entries
            self.assertEqual(outcome.error_code, 31)
            self.assertEqual(outcome.entity[0].entity_name, "ann")
