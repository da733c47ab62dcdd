"""
Prints in what the answers of the two brokers differ, but for the differences that
are known:

    python -m tests.differential [PATTERN]

@see: C{DIFFERENCES} in L{tests.differential.differences}
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.broker import Broker
from tests.differential.cases import CASES
from tests.differential.compare import Found
from tests.differential.differences import unexplained
from tests.differential.running import SETTINGS, differing
from tests.harness import apache_kafka


def kind(found: Found) -> str:
    """
    What a difference is, without the version and the number of the request.
    """
    case = re.sub(r", version \d+|/version \d+", "", found.case)
    path = re.sub(r"^\d+ (\w+) v\d+", r"\1", found.path)
    text = f"{case}: {path}: {str(found.kafka)[:100]} / {str(found.ours)[:100]}"
    return re.sub(r"<nonce>[a-zA-Z0-9-]*", "<name>", text)


def main(pattern: str = "*") -> None:
    """
    Run the cases whose names match a pattern.
    """
    cases = [case for case in CASES if fnmatchcase(case.name, pattern)]
    kafka = apache_kafka.port()
    with TemporaryDirectory() as folder:
        broker = Broker(Path(folder), **SETTINGS).start()
        try:
            found = unexplained(differing(cases, kafka, broker.port))
        finally:
            broker.kill()
    for text, times in Counter(map(kind, found)).items():
        print(f"{times} x {text}")
    print(f"{len(cases)} cases, {len(found)} differences that are not known")


if __name__ == "__main__":
    main(*sys.argv[1:])
