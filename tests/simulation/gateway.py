"""
A broker's way to the simulated etcd. The broker's side is the real one, from
`kafscale.store.etcd.EtcdMetadataStore` on; only the client of HTTP below it is
replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError

from kafscale.errors import StoreUnavailable
from kafscale.store.etcd.stream import Stream
from tests.harness.hostile import Hostile
from tests.simulation.etcd import Done, Etcd, text_of
from tests.simulation.link import Link
from tests.simulation.schedule import Schedule


class Watcher:
    """
    A watch of etcd, and the stream to its client.
    """

    def __init__(self, etcd: Etcd, link: EtcdLink, stream: Stream, request: dict[str, Any]) -> None:
        self._etcd = etcd
        self._link = link
        self._stream = stream
        self._first = text_of(request["key"])
        self._end = text_of(request["range_end"])
        self.start = int(request["start_revision"])

    def hear(self, done: list[Done]) -> None:
        """
        Some keys were changed.
        """
        events = [each.event() for each in done if self._first <= each.key < self._end]
        if events:
            self._link.say(self._stream, {"events": events})

    def refuse(self, compacted: int) -> None:
        """
        What he asks for is forgotten.
        """
        answer = {"compact_revision": str(compacted), "canceled": True}
        self._link.say(self._stream, answer)

    def loseConnection(self) -> None:  # noqa: N802 - as the transport of the stream
        """
        He does not listen any more.
        """
        self._etcd.ignore(self)
        self._link.forget(self._stream)


class EtcdLink(Hostile):
    """
    Takes the place of the C{EtcdClient} of a broker's L{EtcdMetadataStore}.
    """

    def __init__(self, etcd: Etcd, schedule: Schedule, link: Link, seconds: float) -> None:
        """
        @param seconds: How long an answer may take.
        """
        super().__init__(link)
        self.seconds = seconds
        self._etcd = etcd
        self._schedule = schedule
        self._link = link
        self._streams: dict[Stream, float] = {}  # when the last message arrives
        self._unsaid: list[tuple[Stream, dict[str, Any]]] = []  # while the link is cut
        self._closed = False
        self._takes_streams = True

    async def call(
        self,
        path: str,
        body: dict[str, Any],
        seconds: float | None = None,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """
        See L{EtcdClient.call}.
        """
        if self._closed:
            raise StoreUnavailable("the metadata store is closed")

        async def perform() -> dict[str, Any]:
            return self._etcd.answer(path, body)

        patience = min(self.seconds, seconds or self.seconds)
        answer: dict[str, Any] = await self.ask(path, path, (body, patience), perform)
        return answer

    async def stream(
        self, path: str, body: dict[str, Any], received: Callable[[dict[str, Any]], None]
    ) -> Stream:
        """
        See L{EtcdClient.stream}.
        """
        if not self._takes_streams:
            raise StoreUnavailable("no stream can be started")
        stream = Stream("etcd", received)
        listener = Watcher(self._etcd, self, stream, body["create_request"])

        async def perform() -> None:
            if not stream.ended.called:
                self._streams[stream] = 0.0
                self._etcd.listen(listener)

        stream.transport = listener
        try:
            await self.ask(path, path, (body, self.seconds), perform)
        except BaseException:
            stream.ended.addErrback(lambda _: None)
            stream.end(CancelledError())
            raise
        return stream

    def say(self, stream: Stream, result: dict[str, Any]) -> None:
        """
        Send a message of etcd down a stream; messages arrive in order.
        """
        if self._link.is_cut:
            self._unsaid.append((stream, result))
            return
        last = self._streams.get(stream, 0.0)
        at = max(last + 1e-4, self._schedule.now + self._link.one_way())
        self._streams[stream] = at
        self._schedule.after(at - self._schedule.now, self._link.deliver, _told, stream, result)

    def go_on(self) -> None:
        """
        The link is healed: send the messages that waited.
        """
        unsaid, self._unsaid = self._unsaid, []
        for stream, result in unsaid:
            self.say(stream, result)

    def break_streams(self) -> None:
        """
        End the streams, without a reason.
        """
        self._unsaid.clear()
        for stream in list(self._streams):
            self._schedule.after(self._link.one_way(), self._link.deliver, _ended, stream)

    def refuse_streams(self) -> None:
        """
        End the streams, and start none until L{take_streams}; all else goes on.
        """
        self._takes_streams = False
        self.break_streams()

    def take_streams(self) -> None:
        """
        Start streams again.
        """
        self._takes_streams = True

    def break_off(self) -> None:
        """
        The process is gone: etcd tells it nothing more.
        """
        self._closed = True
        self._unsaid.clear()
        for stream in list(self._streams):
            stream.transport.loseConnection()

    def forget(self, stream: Stream) -> None:
        """
        Nothing is said on this stream any more.
        """
        self._streams.pop(stream, None)

    async def close(self) -> None:
        """
        See L{EtcdClient.close}.
        """
        self._closed = True
        for stream in list(self._streams):
            stream.end(CancelledError())


def _told(stream: Stream, result: dict[str, Any]) -> None:
    stream.dataReceived(json.dumps({"result": result}).encode() + b"\n")


def _ended(stream: Stream) -> None:
    stream.end(StoreUnavailable("the stream ended"))
