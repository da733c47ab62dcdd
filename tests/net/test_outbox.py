"""
Tests of `kafscale.net.outbox`.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.net.outbox import PORTION, Outbox
from tests.net.fakes import Transport


class FullTransport(Transport):
    """
    Is full after a write of some size, as transports of the reactor are.
    """

    def writeSequence(self, data: list[bytes]) -> None:  # noqa: N802
        """
        Take it, and say so when it is much.
        """
        super().writeSequence(data)
        if sum(map(len, data)) >= PORTION:
            assert self.producer is not None
            self.producer.pauseProducing()


class OutboxTests(SynchronousTestCase):
    """
    What the transport has no room for is kept.
    """

    def setUp(self) -> None:
        """
        An outbox that counts how often it is drained.
        """
        self.transport = FullTransport()
        self.drained = 0

        def drained() -> None:
            self.drained += 1

        self.outbox = Outbox(self.transport, drained)

    def test_small(self) -> None:
        """
        What is small is passed on.
        """
        self.outbox.send([b"ab", b"c"])
        self.assertEqual(self.transport.value(), b"abc")
        self.assertFalse(self.outbox.full)

    def test_large(self) -> None:
        """
        What is large is given portion by portion, in order.
        """
        pieces = [bytes([number]) * (PORTION // 2) for number in range(5)]
        self.outbox.send(pieces)
        self.outbox.send([b"end"])
        self.assertTrue(self.outbox.full)
        self.assertEqual(len(self.transport.value()), PORTION)
        self.outbox.resumeProducing()
        self.assertEqual(len(self.transport.value()), 2 * PORTION)
        self.assertTrue(self.outbox.full)
        self.outbox.resumeProducing()
        self.assertEqual(self.transport.value(), b"".join(pieces) + b"end")
        self.assertEqual(self.drained, 2)

    def test_close(self) -> None:
        """
        To close is to hand over all, unregister, and lose the connection.
        """
        self.outbox.send([bytes(PORTION), b"end"])
        self.outbox.close()
        self.assertEqual(len(self.transport.value()), PORTION + 3)
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.disconnecting)

    def test_lost(self) -> None:
        """
        When the connection is lost, what was not sent is let go of.
        """
        self.outbox.send([bytes(PORTION), b"end"])
        self.outbox.stopProducing()
        self.outbox.resumeProducing()
        self.assertEqual(len(self.transport.value()), PORTION)
