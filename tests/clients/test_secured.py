"""
The chapter "Turn it on" of docs/security.md: a reader copies its blocks one after the
other, and everything works.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.broker import ROOT, environment, eventually, free_port
from tests.clients.kafka_tools import tools
from tests.clients.libraries import KAFKAJS
from tests.harness.peers import go_program

SECONDS = 600.0
PORTS = ("9093", "9094", "9308")
FRANZ = ROOT / "tests" / "clients" / "go" / "franz_secured.go"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """
    The blocks of the chapter, each with its language.
    """
    chapter = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    chapter = chapter.partition("## Turn it on\n")[2].partition("\n## ")[0]
    return BLOCK.findall(chapter)


def script() -> str:
    """
    The chapter as one script of bash: commands as they stand, and programs as the input
    of what runs them. The one in Go was built before.
    """
    parts = []
    for language, text in blocks():
        if language == "sh":
            command = text.replace("go run .", shlex.quote(str(go_program("franz_secured"))))
            parts.append(command)
        elif language in ("python", "javascript"):
            runs = sys.executable if language == "python" else "node"
            parts.append(f"{shlex.quote(runs)} - <<'END OF BLOCK'\n{text}END OF BLOCK\n")
    return "\n".join(parts)


class HowToTests(SynchronousTestCase):
    """
    The chapter, with ports that are free.
    """

    def setUp(self) -> None:
        """
        A folder of the reader's.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.addCleanup(self.end_broker)

    def end_broker(self) -> None:
        """
        End the broker, which the last block does if all went well.
        """
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "secured" / "twistd.pid").read_text()), signal.SIGKILL)

    def test_go(self) -> None:
        """
        The program in Go is the one that is built.
        """
        (program,) = (text for language, text in blocks() if language == "go")
        self.assertEqual(program, FRANZ.read_text(encoding="utf-8"))

    def test_as_it_stands(self) -> None:
        """
        Each client's record arrives and is read by the one with a certificate; strangers
        are refused; and the broker ends when it is asked to.
        """
        text = script()
        for port in PORTS:
            self.assertIn(port, text)
            text = text.replace(port, str(free_port()))
        variables = tools(self.folder / "bin", "4.4")
        beside = str(Path(sys.executable).parent)
        variables["PATH"] = f"{beside}:{variables['PATH']}"
        variables = {**environment(), **variables, "NODE_PATH": str(KAFKAJS / "node_modules")}
        del variables["KAFSCALE_METRICS_ADDR"]
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", text],
            cwd=self.folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        output = f"{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
        self.assertEqual(done.returncode, 0, output)
        lines = done.stdout.splitlines()
        for client in (
            "Java", "kcat", "confluent-kafka", "kafka-python", "aiokafka", "kafkajs", "franz-go",
        ):  # fmt: skip
            self.assertIn(f"from {client}", lines, output)
        for expected in (
            "no answer without TLS and a login",
            "no right to read payments",
            'kafscale_logins_total{mechanism="SCRAM-SHA-512",result="success"}',
            "denied to 'User:shop'",
        ):
            self.assertIn(expected, done.stdout)
        gone = self.folder / "secured" / "twistd.pid"
        eventually(lambda: not gone.exists())
        log = (self.folder / "secured" / "twistd.log").read_text()
        self.assertNotIn("anyone who reaches", log)
        for name in ("admin", "shop", "metrics"):
            self.assertNotIn((self.folder / "secured" / f"{name}.secret").read_text().strip(), log)
