"""
A stream of records that goes on while consumers join, leave and crash.
"""

from __future__ import annotations

import threading

import confluent_kafka

SECONDS = 120.0


class Flow(threading.Thread):
    """
    Records with the values 0, 1, 2 ... spread over the partitions: as many as
    it is allowed, at a leisurely pace.

    @ivar count: How many there are to be in the end.
    """

    def __init__(self, address: str, topic: str, partitions: int, count: int) -> None:
        super().__init__(daemon=True)
        self.count = count
        self._topic = topic
        self._partitions = partitions
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )
        self._allowed = 0
        self._failures: list[object] = []
        self._changed = threading.Condition()

    def allow(self, share: float) -> None:
        """
        Go on until so much of it is produced.
        """
        with self._changed:
            self._allowed = max(self._allowed, round(self.count * share))
            self._changed.notify_all()

    def run(self) -> None:
        """
        Produce.
        """
        for number in range(self.count):
            with self._changed:
                while number >= self._allowed:
                    self._changed.wait()
                if number % 100 == 0:
                    self._changed.wait(0.005)
            self._producer.produce(
                self._topic,
                b"%d" % number,
                partition=number * 7 // 5 % self._partitions,
                on_delivery=self._delivered,
            )
            self._producer.poll(0)
        if self._producer.flush(SECONDS):
            self._failures.append("not all was answered")

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self._failures.append(error)

    def finish(self) -> None:
        """
        Produce all that is left, and wait for the acknowledgements.
        """
        self.allow(1)
        self.join(SECONDS)
        assert not self.is_alive(), "producing takes for ever"
        assert not self._failures, self._failures[:3]
