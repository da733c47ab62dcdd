"""
Software of others that the tests run: Apache Kafka with its clients and tools, and
clients in Go.

    python -m tests.harness.peers

fetches the versions of C{peers.toml} into C{.peers/}, with Maven, pip and Go, and
builds the programs of C{tests/clients/java} and C{tests/clients/go}. What is there
already is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("peers.toml")
FOLDER = ROOT / ".peers"
JAVA_PROGRAMS = ROOT / "tests" / "clients" / "java"
GO_PROGRAMS = ROOT / "tests" / "clients" / "go"


def pins() -> dict[str, Any]:
    """
    The content of C{peers.toml}.
    """
    return tomllib.loads(PINS.read_text())


def java(version: str, *command: str, options: Sequence[str] = ()) -> list[str]:
    """
    The command line that runs Java with the jars of a version of Apache Kafka, and with
    the programs that are compiled with them.

    @param version: One of C{maven.jars} in C{peers.toml}.
    @param command: A class and its arguments.
    @param options: Options for the virtual machine, after those that make it start
        fast and run one test on a small machine.
    """
    jars = FOLDER / "jars" / version
    assert jars.is_dir(), f"{jars} is missing: run python -m tests.harness.peers"
    small = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m"]
    return ["java", *small, *options, "-cp", f"{jars}/*:{FOLDER}/java/{version}", *command]


def go_program(name: str) -> Path:
    """
    The executable of one of C{go.programs} in C{peers.toml}.
    """
    program = FOLDER / "go" / name / "program"
    assert program.exists(), f"{program} is missing: run python -m tests.harness.peers"
    return program


def fetch() -> None:
    """
    Fetch and build what is missing.
    """
    wanted = pins()
    if _outdated("jars", [repr(wanted["maven"])]):
        _fetch_jars(wanted["maven"])
        _stamp("jars", [repr(wanted["maven"])])
    for version, names in wanted["java"]["programs"].items():
        sources = [JAVA_PROGRAMS / name for name in names]
        content = [repr(wanted["maven"]), *(source.read_text() for source in sources)]
        if _outdated(f"java/{version}", content):
            jars, classes = FOLDER / "jars" / version, FOLDER / "java" / version
            _run(["javac", "-cp", f"{jars}/*", "-d", str(classes), *map(str, sources)])
            _stamp(f"java/{version}", content)
    toolchain = wanted["go"]["toolchain"]
    if _outdated("toolchain", [toolchain]):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--target", str(FOLDER / "toolchain"), toolchain])
        _stamp("toolchain", [toolchain])
    for name, program in wanted["go"]["programs"].items():
        sources = [GO_PROGRAMS / program["source"], GO_PROGRAMS / "common.go"]
        content = [toolchain, repr(program), *(source.read_text() for source in sources)]
        if _outdated(f"go/{name}", content):
            _build(FOLDER / "go" / name, sources, program["modules"])
            _stamp(f"go/{name}", content)


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
    _run(["mvn", "-q", "-B", "-f", str(folder), f"{maven['plugin']}:copy-dependencies", *options])


def _dependency(coordinates: str) -> str:
    group, artifact, version = coordinates.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )


def _build(folder: Path, sources: Iterable[Path], modules: Iterable[str]) -> None:
    """
    Build a Go program with these modules, and no other versions.
    """
    required = "".join(f"require {module}\n" for module in modules)
    (folder / "go.mod").write_text(f"module kafscale\n\ngo 1.26\n\n{required}")
    for source in sources:
        shutil.copy(source, folder)
    binary = FOLDER / "toolchain" / "go" / "bin" / "go"
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOTOOLCHAIN": "local",
    }
    _run([str(binary), "build", "-o", "program", "."], cwd=folder, env=environment)


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


def _run(command: list[str], **options: Any) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **options)


if __name__ == "__main__":
    fetch()
