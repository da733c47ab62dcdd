"""
Compares the compiled walker with its twin on random batches, valid and mutated.

    python -m tests.wire.walker_fuzz --batches 10000000 --sanitize

Both must give the same verdict on each batch, whatever pieces it comes in, and the
compiled one must not crash. With C{--sanitize} it is built anew with AddressSanitizer
and UndefinedBehaviorSanitizer (gcc), so that a single byte read past the end of a
piece ends the program. Ends with status 0 and one line if all verdicts agree; else it
prints the first batch on which they differ. A seed and a number of batches repeat a
run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from kafscale.wire import plain_walker
from kafscale.wire.record_walk import Flaw, Unreadable
from tests.wire.raw_records import field, raw_record, varint

_SOURCE = Path(plain_walker.__file__).with_name("_walker.c")
_BLOCK = 1000
"""Batches that share a seed."""
_RECORDS = 20
"""The maximum number of records in a batch."""
_ARENA = memoryview(array("B", b"\x00") * (1 << 16))  # an allocation of exactly this size
_LIMITS = (-(1 << 63), (1 << 63) - 1)

Batch = tuple[tuple[Any, ...], bytes]


class Records:
    """
    Records to make batches of, by their index in the batch.
    """

    def __init__(self, chance: Random) -> None:
        self.valid = [[self._valid(chance, n) for _ in range(60)] for n in range(_RECORDS)]
        self.mutated = [[self._mutated(chance, n) for _ in range(120)] for n in range(_RECORDS)]

    def _valid(self, chance: Random, index: int) -> bytes:
        headers = [
            field(chance.randbytes(chance.choice((0, 1, 9)))) + field(self._string(chance))
            for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 1, 2, 3)))
        ]
        return raw_record(
            index,
            chance.choice((0, 0, 1, -1, 9, -70, 5000, 1 << 40)),
            self._string(chance),
            self._string(chance),
            varint(len(headers)) + b"".join(headers),
        )

    def _string(self, chance: Random) -> bytes | None:
        size = chance.choice((-1, -1, 0, 0, 1, 1, 2, 5, 9, 20, 63, 64))
        return None if size < 0 else chance.randbytes(size)

    def _mutated(self, chance: Random, index: int) -> bytes:
        record = bytearray(self._valid(chance, index))
        numbers = (-1, 0, 1, 63, 64, (1 << 31) - 1, -(1 << 31), 1 << 31, *_LIMITS)
        match chance.randrange(6):
            case 0:
                return raw_record(chance.choice(numbers), chance.choice(numbers))
            case 1:
                return raw_record(index, size=chance.choice((*numbers, 5, 6, 7, 9, 10)))
            case 2:
                return raw_record(index, headers=varint(chance.choice(numbers)) + b"\x00\x01" * 2)
            case 3:
                at = chance.randrange(len(record))
                record[at : at + chance.randrange(3)] = chance.choice(
                    (
                        b"\x80",
                        b"\xff" * 4 + b"\x0f",
                        b"\xff" * 5,
                        b"\xff" * 9 + b"\x01",
                        b"\x80" * 10,
                    )
                )
            case 4:
                del record[chance.randrange(len(record)) :]
            case _:
                for _ in range(chance.randrange(1, 4)):
                    record[chance.randrange(min(12, len(record)))] = chance.getrandbits(8)
        return bytes(record)

    def batch(self, chance: Random) -> Batch:
        """
        Return the arguments of a walker, and records.
        """
        random = chance.random
        count = int(random() ** 2 * (_RECORDS + 1))  # few, mostly
        rows = [of[int(random() * 60)] for of in self.valid[:count]]
        kind = int(random() * 8)
        if kind < 3 and count:
            for _ in range(kind or 1):
                at = int(random() * count)
                rows[at] = self.mutated[at][int(random() * 120)]
        body = b"".join(rows)
        if kind == 3:
            body = body[: int(random() * (len(body) + 1))]
        elif kind == 4 and body:
            noisy = bytearray(body)
            for _ in range(1 + int(random() * 3)):
                noisy[int(random() * len(noisy))] = int(random() * 256)
            body = bytes(noisy)
        elif kind == 5:
            count += int(random() * 5) - 2
        base = chance.choice((0, 1_700_000_000_000, -1, -1, *_LIMITS))
        limits = chance.choice((_LIMITS, (base - 10, base + 10), (0, 5), (5, 0)))
        limits = (max(limits[0], _LIMITS[0]), min(limits[1], _LIMITS[1]))
        sought = (base, int(random() * 4)) if random() < 0.1 else ()
        return (count, base, random() < 0.5, *limits, int(random() * 20), *sought), body


def feed(walker: Any, body: bytes, chance: Random) -> Any:
    """
    Feed a walker with pieces of the body; return its verdict. Each piece is at the end of
    an allocation, so that a sanitizer sees every byte read past its end.
    """
    cuts = {int(chance.random() * (len(body) + 1)) for _ in range(int(chance.random() * 4))}
    if chance.random() < 0.3:
        first = int(chance.random() * (len(body) + 1))
        cuts.update(range(first, min(first + 20, len(body))))  # each byte a piece
    at = 0
    for cut in [*sorted(cuts), len(body)]:
        start = len(_ARENA) - (cut - at)
        _ARENA[start:] = body[at:cut]
        walker.feed(_ARENA[start:])
        at = cut
    return walker.finish()


def compare(make: Callable[..., Any], seed: int, blocks: Sequence[int]) -> dict[str, int]:
    """
    Compare the walkers on these blocks of batches; return how many batches had which
    verdict.

    @raise AssertionError: a verdict differs.
    """
    seen: dict[str, int] = {}
    records = Records(Random(seed))
    for block in blocks:
        chance = Random(f"{seed}/{block}")
        for _ in range(_BLOCK):
            arguments, body = records.batch(chance)
            found = feed(make(*arguments), body, chance)
            twin = plain_walker.Walker(*arguments)
            cut = int(chance.random() * 2 * len(body)) if body else 0
            if twin.feed(body[:cut]):
                twin.feed(body[cut:])
            expected = twin.finish()
            assert found == expected, (
                f"block {block} of seed {seed}: {found} is not {expected},"
                f" arguments {arguments}, records {body.hex()}"
            )
            names = [Unreadable(found[1]).name if found[1] else "READABLE"]
            names += {Flaw(flaw).name for _, flaw, _ in found[6]}
            for name in names:
                seen[name] = seen.get(name, 0) + 1
    return seen


def build(folder: str) -> str:
    """
    Build the compiled walker with sanitizers; return the path of the module.
    """
    path = os.path.join(folder, "_walker.abi3.so")
    options = ["-shared", "-fPIC", "-g", "-O1", "-Wall", "-Werror"]
    options += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    include = "-I" + sysconfig.get_paths()["include"]
    subprocess.run(["gcc", *options, include, str(_SOURCE), "-o", path], check=True)
    return path


def load(path: str) -> Callable[..., Any]:
    """
    Return the walker of a module.
    """
    spec = importlib.util.spec_from_file_location("kafscale.wire._walker", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Any] = module.Walker
    return made


def main() -> int:
    """
    Run as a program.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--module", help=argparse.SUPPRESS)
    options = parser.parse_args()
    blocks = range(-(-options.batches // _BLOCK))
    if options.part is not None:
        seen = compare(
            load(options.module), options.seed, blocks[options.part :: options.processes]
        )
        print(*(f"{name}={number}" for name, number in sorted(seen.items())))
        return 0
    began = time.monotonic()
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        if options.sanitize:
            module = build(folder)
            library = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True)
            # Python frees little when it ends.
            environment |= {"LD_PRELOAD": library.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
        else:
            module = str(importlib.import_module("kafscale.wire._walker").__file__)
        command = [sys.executable, "-m", "tests.wire.walker_fuzz", "--module", module]
        command += ["--batches", str(options.batches), "--seed", str(options.seed)]
        command += ["--processes", str(options.processes)]
        running = [
            subprocess.Popen(
                [*command, "--part", str(part)], env=environment, stdout=subprocess.PIPE, text=True
            )
            for part in range(options.processes)
        ]
        total: dict[str, int] = {}
        failed = False
        for process in running:
            output, _ = process.communicate()
            failed |= process.returncode != 0
            for item in output.split():
                name, number = item.split("=")
                total[name] = total.get(name, 0) + int(number)
    if failed:
        print(f"seed {options.seed}: the walkers differ, or the compiled one failed")
        return 1
    verdicts = ", ".join(f"{name} {number}" for name, number in sorted(total.items()))
    print(
        f"{len(blocks) * _BLOCK} batches, seed {options.seed}, {time.monotonic() - began:.0f} s:"
        f" all verdicts agree ({verdicts})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
