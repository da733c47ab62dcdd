"""
C{subscribe()}: members that come, go, crash and come again, by all libraries.
"""

from __future__ import annotations

from tests.clients.members import Member, MembersTestCase, values

RECORDS = 50_000
PARTITIONS = 12


class MembersTests(MembersTestCase):
    """
    Each record is processed; none twice unless its commit was lost with its
    member.
    """

    def live(
        self, assignor: str | None, chosen: str, first: list[str], later: str
    ) -> list[dict[str, set[int]]]:
        """
        Let members join while records are produced, one leave, two crash and
        two replace them. Return the assignments after each step.

        @param chosen: The assignor that the group is to choose.
        @param first: The libraries of the first members: the first of these
            will leave, the last two will be killed.
        @param later: The library of the member that joins later.
        """
        flow = self.flow("t", PARTITIONS, RECORDS)
        members = self.come(*first, assignor=assignor)
        shares = [self.settled(len(first), PARTITIONS)]
        self.assertEqual(self.describe().partition_assignor, chosen)
        flow.allow(0.25)
        members += self.come(later, assignor=assignor)
        shares.append(self.settled(len(first) + 1, PARTITIONS))
        flow.allow(0.5)
        members[0].stop()
        shares.append(self.settled(len(first), PARTITIONS))
        flow.allow(0.75)
        dying = members[len(first) - 2 : len(first)]
        for member in dying:
            self.works(member)
            member.crash()
        members += self.come(*(member.job.library for member in dying), assignor=assignor)
        left = len(first) - len(dying)
        shares.append(self.settled(len(first), PARTITIONS, former=shares[-1], staying=left))
        flow.finish()
        self.all_processed(RECORDS, members)
        self.assertEqual(values(members), set(range(RECORDS)))
        self.assertEqual(self.committed(), RECORDS)
        self.assert_none_twice(members)
        for member in members:
            if not member.crashed:
                self.assertEqual(member.lost, 0, str(member))
        for member in (*members[1 : len(first) - 2], *members[len(first) :]):
            self.works(member)
            member.stop()
        self.assertEqual(self.describe().members, [])
        return shares

    def works(self, member: Member) -> None:
        """
        Check that a member has processed records.
        """
        self.assertGreater(len(member.read()), 0, str(member))

    def assert_sticky(self, shares: list[dict[str, set[int]]]) -> None:
        """
        When one came, the others only gave; when one went, they only took.
        """
        few, many, fewer, _ = shares
        for member, share in few.items():
            self.assertLessEqual(many[member], share, "after one came")
        for member, share in fewer.items():
            self.assertLessEqual(many[member], share, "after one went")

    def test_all_libraries(self) -> None:
        """
        confluent-kafka, kafka-python, aiokafka and kafkajs in one group, with
        the assignors that they take by themselves: round robin is the one
        that all have.
        """
        first = ["confluent-kafka", "aiokafka", "kafka-python", "kafkajs"]
        self.live(None, "roundrobin", first, "kafkajs")

    def test_range(self) -> None:
        """
        The range assignor, which all but kafkajs have.
        """
        first = ["aiokafka", "confluent-kafka", "kafka-python"]
        self.live("range", "range", first, "aiokafka")

    def test_sticky(self) -> None:
        """
        The sticky assignor, by aiokafka. (kafka-python has it too, but the
        two do not read each other's user data on previous assignments.)
        """
        self.assert_sticky(self.live("sticky", "sticky", ["aiokafka"] * 3, "aiokafka"))

    def test_cooperative_sticky(self) -> None:
        """
        The cooperative sticky assignor, by the libraries that have it.
        """
        chosen = "cooperative-sticky"
        first = ["kafka-python", "confluent-kafka", "kafka-python"]
        self.assert_sticky(self.live(chosen, chosen, first, "confluent-kafka"))
