"""
Software of others that the tests run: Apache Kafka with its clients and tools.

    python -m tests.harness.peers

fetches the versions of C{peers.toml} into C{.peers/}, with Maven. What is there
already is kept.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("peers.toml")
FOLDER = ROOT / ".peers"


def pins() -> dict[str, Any]:
    """
    The content of C{peers.toml}.
    """
    return tomllib.loads(PINS.read_text())


def java(version: str, *command: str, options: Sequence[str] = ()) -> list[str]:
    """
    The command line that runs Java with the jars of a version of Apache Kafka.

    @param version: One of C{maven.jars} in C{peers.toml}.
    @param command: A class, or a source file, and its arguments.
    @param options: Options for the virtual machine, after those that make it start
        fast and run one test on a small machine.
    """
    jars = FOLDER / "jars" / version
    assert jars.is_dir(), f"{jars} is missing: run python -m tests.harness.peers"
    small = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m"]
    return ["java", *small, *options, "-cp", f"{jars}/*", *command]


def fetch() -> None:
    """
    Fetch and build what is missing.
    """
    wanted = pins()
    if _outdated("jars", [repr(wanted["maven"])]):
        _fetch_jars(wanted["maven"])
        _stamp("jars", [repr(wanted["maven"])])


def _fetch_jars(maven: dict[str, Any]) -> None:
    """
    Copy the jars of every version, and of what it depends on, with one run of Maven.
    """
    folder = FOLDER / "jars"
    parent = "<parent><groupId>kafscale</groupId><artifactId>peers</artifactId>"
    parent += "<version>1</version></parent>"
    names = maven["jars"]
    for name, coordinates in names.items():
        (folder / name).mkdir()
        (folder / name / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion>"
            f"{parent}<artifactId>peer-{name}</artifactId><packaging>pom</packaging>"
            f"<dependencies>{''.join(map(_dependency, coordinates))}</dependencies></project>"
        )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>kafscale</groupId>"
        "<artifactId>peers</artifactId><version>1</version><packaging>pom</packaging>"
        f"<modules>{''.join(f'<module>{name}</module>' for name in names)}</modules></project>"
    )
    options = ["-DincludeScope=runtime", "-DoutputDirectory=."]
    subprocess.run(
        ["mvn", "-q", "-B", "-f", str(folder), f"{maven['plugin']}:copy-dependencies", *options],
        stdin=subprocess.DEVNULL,
        check=True,
    )


def _dependency(coordinates: str) -> str:
    group, artifact, version = coordinates.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )


def _digest(content: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _outdated(name: str, content: Iterable[str]) -> bool:
    """
    Whether a part is missing, half done or of other pins; then its folder is emptied.
    """
    stamp = FOLDER / name / "stamp"
    if stamp.exists() and stamp.read_text() == _digest(content):
        return False
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    (FOLDER / name).mkdir(parents=True)
    return True


def _stamp(name: str, content: Iterable[str]) -> None:
    (FOLDER / name / "stamp").write_text(_digest(content))


if __name__ == "__main__":
    fetch()
