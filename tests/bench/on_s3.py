"""
A broker whose log is in a bucket: of the store in `tests.bench.s3_server`, over
loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import attrs

from tests.bench.load import TOPIC
from tests.bench.servers import Kafscale
from tests.clients.broker import free_port

BUCKET = "bench"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}

PUTS = frozenset(
    {
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "ListObjectsV2",
    }
)
"""The requests of Amazon's most expensive class; all others cost much less."""


class Store:
    """
    The store's process.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.s3_server"],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        made = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(made):
            pass

    def tell(self, **wish: Any) -> None:
        """
        See `tests.bench.s3_server`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the store has ended"

    def keys(self, prefix: str = "") -> list[str]:
        """
        All keys that begin so.
        """
        found: list[str] = []
        while True:
            asked = f"?list-type=2&prefix={prefix}&start-after={found[-1] if found else ''}"
            with urllib.request.urlopen(f"{self.endpoint}/{BUCKET}{asked}") as answer:
                text = answer.read().decode()
            found += [part.partition("<")[0] for part in text.split("<Key>")[1:]]
            if "<IsTruncated>true" not in text:
                return found

    def stop(self) -> None:
        """
        End it; all that it has is gone.
        """
        self._process.kill()
        self._process.communicate()


class OnS3(Kafscale):
    """
    The broker, at its default settings for S3.
    """

    name = "kafscale on S3"

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder / "s3")
        self.metrics = f"127.0.0.1:{free_port()}"
        self.broker.settings |= {"s3_bucket": BUCKET, "metrics_addr": self.metrics, **settings}
        self.broker.variables |= KEYS
        self.store: Store | None = None

    def start(self, partitions: int) -> None:
        """
        See `Server`.
        """
        self.store = Store()
        self.broker.settings["s3_endpoint"] = self.store.endpoint
        super().start(partitions)

    def stop(self) -> None:
        """
        See `Server`.
        """
        super().stop()
        if self.store is not None:
            self.store.stop()
            self.store = None

    def slow(self, **delays: float) -> None:
        """
        How many ms each kind of request to the store takes.
        """
        assert self.store is not None
        self.store.tell(delays=delays)

    def counts(self) -> Counts:
        """
        Return the counters in /metrics.
        """
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        asked = 'kafscale_s3_requests_total{operation="'
        return Counts(
            time.monotonic(),
            float(values.get("kafscale_topic_bytes_in_total{" + f'topic="{TOPIC}"' + "}", 0)),
            float(values["kafscale_journal_slots_flushed_total"]),
            float(values["kafscale_segments_rolled_total"]),
            {
                name.removeprefix(asked).removesuffix('"}'): float(value)
                for name, value in values.items()
                if name.startswith(asked)
            },
        )


@attrs.frozen
class Counts:
    """
    Counters at one moment, or their growth in a second.
    """

    time: float
    bytes_in: float
    slots: float
    segments: float
    requests: dict[str, float]

    def rates(self, before: Counts) -> Counts:
        """
        How much they grew in a second.
        """
        seconds = self.time - before.time
        return Counts(
            seconds,
            (self.bytes_in - before.bytes_in) / seconds,
            (self.slots - before.slots) / seconds,
            (self.segments - before.segments) / seconds,
            {
                name: (count - before.requests.get(name, 0)) / seconds
                for name, count in self.requests.items()
            },
        )

    def puts(self) -> float:
        """
        Requests at the price of a PUT.
        """
        return sum(count for name, count in self.requests.items() if name in PUTS)

    def gets(self) -> float:
        """
        Requests at the price of a GET; deletes are free.
        """
        return sum(count for name, count in self.requests.items() if name.endswith("GetObject"))
