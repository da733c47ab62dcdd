"""
Software of others that the tests run: Apache Kafka with its clients and tools,
clients in Go, and S3 servers.

    python -m tests.harness.peers [--long]

fetches the versions of C{peers.toml} into C{.peers/}, with Maven, pip, npm and Go, and
builds the programs in Java and Go; with C{--long} also the parts that are marked so, for one of
which it needs Cargo. What is there already is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("peers.toml")
FOLDER = ROOT / ".peers"
JAVA_PROGRAMS = ROOT / "tests" / "clients" / "java"


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
    return part("go", name) / "program"


def part(kind: str, name: str) -> Path:
    """
    The folder of one part of C{peers.toml}.

    @param kind: C{cargo}, C{go}, C{npm} or C{venvs}.
    @param name: Its name in C{peers.toml}.
    """
    folder = FOLDER / kind / name
    assert (folder / "stamp").exists(), f"{folder} is missing: run python -m tests.harness.peers"
    return folder


def fetch(*, long: bool = False) -> None:
    """
    Fetch and build what is missing.

    @param long: Whether to do so with the parts that are marked as C{long}, too.
    """
    wanted = pins()
    maven, toolchain = wanted["maven"], wanted["go"]["toolchain"]
    _once("jars", [repr(maven)], partial(_fetch_jars, maven))
    for version, names in wanted["java"]["programs"].items():
        sources = [JAVA_PROGRAMS / name for name in names]
        command = ["javac", "-cp", f"{FOLDER / 'jars' / version}/*", *map(str, sources), "-d"]
        content = [repr(maven), *(source.read_text() for source in sources)]
        _once(f"java/{version}", content, _runs(*command))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _once("toolchain", [toolchain], _runs(*pip, toolchain, "--target"))
    for name, program in _chosen(wanted["go"]["programs"], long):
        sources = [ROOT / "tests" / source for source in program.get("sources", ())]
        content = [toolchain, repr(program), *(source.read_text() for source in sources)]
        _once(f"go/{name}", content, partial(_build, sources, program))
    for name, packages in _chosen(wanted["venvs"], long):
        _once(f"venvs/{name}", [repr(packages)], partial(_make_venv, packages))
    npm = ["npm", "install", "--loglevel=error", "--no-audit", "--no-fund"]
    for name, package in wanted["npm"].items():
        _once(f"npm/{name}", [package], _runs(*npm, package, "--prefix"))
    cargo = ["cargo", "install", "--quiet", "--locked"]
    for name, crate in _chosen(wanted["cargo"], long):
        what = [f"{name}@{crate['version']}", "--features", crate["features"]]
        _once(f"cargo/{name}", [repr(crate)], _runs(*cargo, *what, "--root"))


def _once(name: str, content: Iterable[str], make: Callable[[Path], None]) -> None:
    """
    Make a part unless it is there already, made from the same content.

    @param name: Its folder.
    @param make: Puts it into the folder, which is empty.
    """
    stamp = FOLDER / name / "stamp"
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    (FOLDER / name).mkdir(parents=True)
    make(FOLDER / name)
    stamp.write_text(digest)


def _runs(*command: str) -> Callable[[Path], None]:
    """
    Return a function that runs a command, whose last argument is the folder.
    """
    return lambda folder: _run([*command, str(folder)])


def _chosen(parts: dict[str, Any], long: bool) -> Iterable[tuple[str, Any]]:
    """
    The parts to fetch.
    """
    return [(name, each) for name, each in parts.items() if long or not each.get("long")]


def _fetch_jars(maven: dict[str, Any], folder: Path) -> None:
    """
    Copy the jars of every version, and of what it depends on, with one run of Maven.
    """
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


def _build(sources: Iterable[Path], program: dict[str, Any], folder: Path) -> None:
    """
    Build a Go program with its modules, and no other versions.

    @param sources: The files of the program; none if it is a package of a module.
    @param program: One of C{go.programs} in C{peers.toml}.
    """
    required = "".join(f"require {module}\n" for module in program["modules"])
    required += "".join(f"replace {module}\n" for module in program.get("replace", ()))
    (folder / "go.mod").write_text(f"module kafscale\n\ngo 1.26\n\n{required}")
    for source in sources:
        shutil.copy(source, folder)
    binary = FOLDER / "toolchain" / "go" / "bin" / "go"
    environment = {
        **os.environ,
        "CGO_ENABLED": "1" if program.get("cgo") else "0",
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOTOOLCHAIN": "local",
    }
    options = ["-tags", program.get("tags", ""), "-o", "program", program.get("package", ".")]
    _run([str(binary), "build", *options], cwd=folder, env=environment)


def _make_venv(packages: dict[str, Any], folder: Path) -> None:
    """
    Make a virtual environment with Python packages, and with what they depend on as it
    was on a certain day.

    @param packages: One of C{venvs} in C{peers.toml}.
    """
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    # The first version of pip that can look at days is newer than Python's own.
    _run([*pip, "--disable-pip-version-check", packages["pip"]])
    day = f"{packages['day']}T00:00:00Z"
    _run([*pip, "--uploaded-prior-to", day, *packages["packages"]])


def _run(command: list[str], **options: Any) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **options)


if __name__ == "__main__":
    fetch(long="--long" in sys.argv[1:])
