"""
Tests for L{kafscale.store.s3.bodies}.
"""

from __future__ import annotations

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.s3.bodies import CHUNK, PieceProducer, checksum, chunks, cut

_sizes = st.sampled_from([0, 1, 7, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 9 * CHUNK])
_pieces = st.lists(st.tuples(_sizes, st.booleans()), max_size=8)


def made(sizes: list[tuple[int, bool]]) -> list[bytes | memoryview]:
    """
    Pieces of these sizes, some of them memoryviews.
    """
    found: list[bytes | memoryview] = []
    for number, (size, as_view) in enumerate(sizes):
        data = bytes([number + 1]) * size
        found.append(memoryview(b"-" + data + b"-")[1:-1] if as_view else data)
    return found


class BodyTests(SynchronousTestCase):
    """
    Bodies of requests.
    """

    @given(_pieces)
    def test_chunks(self, sizes: list[tuple[int, bool]]) -> None:
        """
        Chunks are the same bytes, in strings large enough to be worth a call.
        """
        pieces = made(sizes)
        found = list(chunks(pieces))
        self.assertTrue(b"".join(found) == b"".join(pieces))
        self.assertTrue(all(type(each) is bytes and each for each in found))
        self.assertLessEqual(len(found), 3 * sum(map(len, pieces)) // CHUNK + 2)
        self.assertEqual(checksum(pieces), crc32c(b"".join(pieces)))

    @given(_pieces, st.integers(1, 3 * CHUNK))
    def test_cut(self, sizes: list[tuple[int, bool]], size: int) -> None:
        """
        Parts are the same bytes. All but the last have the same size.
        """
        pieces = made([(length % 5000, view) for length, view in sizes])
        size = size % 4000 + 1
        groups = [b"".join(group) for group in cut(pieces, size)]
        self.assertEqual(b"".join(groups), b"".join(pieces))
        self.assertTrue(all(len(group) == size for group in groups[:-1]))
        self.assertTrue(all(0 < len(group) <= size for group in groups[-1:]))

    def test_paused(self) -> None:
        """
        A producer writes nothing while it is paused, and nothing after it was
        stopped.
        """
        written: list[bytes] = []
        progress: list[None] = []
        body = PieceProducer([b"x" * CHUNK] * 4, lambda: progress.append(None))

        class Consumer:
            def write(self, data: bytes) -> None:
                written.append(data)
                body.pauseProducing()

        done = body.startProducing(Consumer())  # type: ignore[arg-type]
        self.assertEqual((len(written), body.length), (1, 4 * CHUNK))
        body.resumeProducing()
        self.assertEqual((len(written), len(progress)), (2, 1))
        body.stopProducing()
        body.resumeProducing()
        self.assertEqual(len(written), 2)
        self.assertNoResult(done)

    def test_done(self) -> None:
        """
        A producer's Deferred fires when all is written, also if there is
        nothing to write.
        """
        written: list[bytes] = []

        class Consumer:
            def write(self, data: bytes) -> None:
                written.append(data)

        for pieces in ([], [b""], [b"a", b"b"]):
            body = PieceProducer(pieces, lambda: None)
            self.successResultOf(body.startProducing(Consumer()))  # type: ignore[arg-type]
        self.assertEqual(written, [b"ab"])
