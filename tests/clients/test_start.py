"""
Starting and stopping a broker process, and its command line.
"""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import kafscale
import twisted
from kafscale.format import metadata_keys
from kafscale.interfaces import Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.wire.messages import ProduceResponse
from tests.clients.broker import (
    ROOT,
    START_SECONDS,
    Broker,
    BrokerTestCase,
    environment,
    eventually,
    twistd,
)
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.harness import s3
from tests.harness.coroutines import now

MODULE = [sys.executable, "-m", "kafscale"]


class StartTests(BrokerTestCase):
    """
    Starting, and the one line of a start that fails.
    """

    def test_one_line_says_where(self) -> None:
        """
        A broker that has started logs in one line where it listens and where
        its data are.
        """
        broker = self.broker()
        eventually(partial(broker.has_logged, " listens on "))
        self.assert_one_line(broker, broker.address, str(broker.settings["data_dir"]))

    def test_options(self) -> None:
        """
        Options set the same settings as variables, and take precedence.
        """
        broker = self.prepared(auto_create_partitions=3, data_dir="unused", broker_addr="unused")
        broker.options = ["--auto-create-partitions=5", f"--broker-addr={broker.address}"]
        broker.options.append("--data-dir=optional")
        broker.start()
        (topic,) = self.connect(broker).metadata("made", create=True).topics
        self.assertEqual(len(topic.partitions), 5)
        self.assertTrue((broker.folder / "optional").is_dir())
        self.assertFalse((broker.folder / "unused").exists())

    def test_two_on_one_directory(self) -> None:
        """
        The second broker on a data directory ends with one line; the first
        continues.
        """
        first = self.broker()
        second = self.prepared(data_dir=first.settings["data_dir"])
        self.assert_refuses(second, str(first.settings["data_dir"]))
        self.connect(first).create("still-here")

    def test_directory_free_after_kill(self) -> None:
        """
        The lock of a killed broker does not keep the next one out.
        """
        first = self.broker()
        self.connect(first).create("left")
        first.kill()
        second = self.broker(data_dir=first.settings["data_dir"])
        self.assertEqual(self.connect(second).offset("left", 0, LATEST), 0)

    def test_compiled_walker(self) -> None:
        """
        Without the compiled walker a broker does not start if that is required; otherwise
        one line says so.
        """
        hidden = "import sys; sys.modules['kafscale.wire._walker'] = None\n"
        (self.folder / "sitecustomize.py").write_text(hidden)
        for mode in ("require", "auto", "off"):
            broker = self.prepared(compiled=mode)
            broker.variables["PYTHONPATH"] = f"{self.folder}:{ROOT}"
            if mode == "require":
                self.assert_refuses(broker, "KAFSCALE_COMPILED=require", "install a C compiler")
            else:
                broker.start()
                eventually(partial(broker.has_logged, " listens on "))
                self.assert_one_line(broker, "records are walked over in Python")
                self.assertEqual("was not built" in broker.tail(), mode == "auto")

    def test_unusable_directory(self) -> None:
        """
        The start fails if the data directory is a file, is below a file, or
        cannot be created.
        """
        blocked = self.folder / "file"
        blocked.write_text("not a directory")
        for unusable in (blocked, blocked / "data", Path("/proc/kafscale/data")):
            self.assert_refuses(self.prepared(data_dir=unusable), str(unusable))
        self.assertEqual(blocked.read_text(), "not a directory")

    def test_older_version(self) -> None:
        """
        The start fails if the cluster requires a level of a stored format that
        this version does not read, and nothing is changed.
        """
        broker = self.prepared()
        broker.data.mkdir(parents=True)
        path = broker.data / "metadata.sqlite"
        required = {"required": {"volume": 9}, "in_force": {"volume": 9}}
        store = SQLiteMetadataStore(str(path), at_once)
        now(store.commit([], [Put(metadata_keys.LEVELS, required)]))
        now(store.close())
        self.assert_refuses(broker, "require level 9 of the stored format 'volume'")
        store = SQLiteMetadataStore(str(path), at_once)
        self.assertEqual(now(store.range(metadata_keys.BROKERS))[0], [])
        now(store.close())

    def test_damaged_levels(self) -> None:
        """
        So it does if the levels were changed by hand; the line has no word of
        Python.
        """
        broker = self.prepared()
        broker.data.mkdir(parents=True)
        store = SQLiteMetadataStore(str(broker.data / "metadata.sqlite"), at_once)
        now(store.commit([], [Put(metadata_keys.LEVELS, {"required": "all of them"})]))
        now(store.close())
        self.assert_refuses(broker, "cannot start: levels: ", "is not understood: no broker")
        self.assertNotRegex(broker.tail(), r"\w+Error\b")

    def test_taken_port(self) -> None:
        """
        The start fails if another program uses the port.
        """
        broker = self.prepared()
        with socket.create_server(("127.0.0.1", broker.port)):
            self.assert_refuses(broker, str(broker.port))

    def test_malformed_settings(self) -> None:
        """
        The start fails if a variable has an invalid value; the line names both.
        """
        for name, value in (
            ("segment_bytes", "lots"),
            ("broker_port", "70000"),
            ("broker_addr", "nowhere"),
            ("broker_host", "0.0.0.0"),
            ("use_memory_s3", "perhaps"),
            ("log_level", "shout"),
            ("namespace", "../evil"),
            ("cache_bytes", "-1"),
        ):
            broker = self.prepared(**{name: value})
            self.assert_refuses(broker, f"KAFSCALE_{name.upper()}", value)

    def test_contradicting_settings(self) -> None:
        """
        The start fails if no session timeout is within the limits.
        """
        broker = self.prepared(group_min_session_timeout_ms="1800001")
        self.assert_refuses(
            broker,
            "KAFSCALE_GROUP_MIN_SESSION_TIMEOUT_MS (1800001) is above",
            "KAFSCALE_GROUP_MAX_SESSION_TIMEOUT_MS (1800000)",
        )

    def test_malformed_option(self) -> None:
        """
        The start fails if an option has an invalid value.
        """
        broker = self.prepared()
        broker.options = ["--segment-bytes=lots"]
        self.assert_refuses(broker, "segment-bytes", "lots")

    def test_unknown_variable_is_a_warning(self) -> None:
        """
        A variable with our prefix that is not a setting, such as Kubernetes
        sets for a service of our name, is a warning.
        """
        broker = self.broker(port_9092_tcp="tcp://10.0.0.1:9092")
        eventually(partial(broker.has_logged, " listens on "))
        self.assert_one_line(broker, "KAFSCALE_PORT_9092_TCP")

    def test_without_effect(self) -> None:
        """
        A setting by which a user believes to be safe, and that has no effect, and one with
        a mistake in its name.
        """
        for name, value, needed in (
            ("ssl_cert", "tls.crt", "a listener whose protocol is SSL"),
            ("listener_name_plaintext_ssl_client_auth", "required", "on listener PLAINTEXT"),
            ("admin_password", "secret", "a listener with SCRAM or PLAIN"),
            ("super_users", "User:admin", "KAFSCALE_AUTHORIZER=acl"),
            ("authorizor", "acl", "did you mean KAFSCALE_AUTHORIZER?"),
            ("listener_name_sasl_ssl_cert", "tls.crt", "there is no listener SASL"),
        ):
            broker = self.prepared(**{name: value})
            self.assert_refuses(broker, f"KAFSCALE_{name.upper()}", needed)
            self.assertNotIn("secret", broker.tail(1000))

    def assert_refuses(self, broker: Broker, *words: str) -> None:
        """
        The broker ends with status 1, and one line has these words.
        """
        broker.start(wait=False)
        self.assertEqual(broker.ended(START_SECONDS), 1)
        self.assert_one_line(broker, *words)

    def assert_one_line(self, broker: Broker, *words: str) -> None:
        """
        One line of the log has all of these words; there is no traceback.
        """
        log = broker.tail(1000)
        self.assertNotIn("Traceback", log)
        found = [line for line in log.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(found), 1, f"lines with {words}: {found}")


class CommandLineTests(SynchronousTestCase):
    """
    C{python -m kafscale} and C{twistd kafscale}, without a broker.
    """

    def run_with(self, command: list[str], status: int) -> tuple[str, str]:
        """
        Return the standard output and the standard error of a command.
        """
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout, done.stderr

    def test_hash_password(self) -> None:
        """
        Lines for a file of users; one line if there is no password, or none that could be.
        """
        command = [*MODULE, "hash-password", "alice"]
        for given, status, out, err in (
            (b"secret\n", 0, r"(alice:SCRAM-SHA-(256|512)\$4096:[^\n]+\n){2}", ""),
            (b"", 1, "", "kafscale: the password is empty\n"),
            (b"\n", 1, "", "kafscale: the password is empty\n"),
            (b"\xff\n", 1, "", "kafscale: the password is not UTF-8\n"),
        ):
            done = subprocess.run(command, env=environment(), input=given, capture_output=True)
            self.assertEqual(done.returncode, status)
            self.assertRegex(done.stdout.decode(), rf"\A{out}\Z")
            self.assertEqual(done.stderr.decode(), err)

    def test_hash_password_on_a_terminal(self) -> None:
        """
        The password is asked for, and is not shown; Ctrl-D and Ctrl-C give up.
        """
        for typed, status, words in (
            (b"secret\n", 0, b"alice:SCRAM-SHA-512$"),
            (b"\x04", 1, b"kafscale: the password is empty"),
            (b"\x03", 1, b"kafscale: the password is empty"),
        ):
            child, terminal = pty.fork()
            if not child:
                os.execve(MODULE[0], [*MODULE, "hash-password", "alice"], environment())
            shown = b""
            with contextlib.suppress(OSError):  # the end, on Linux
                while piece := os.read(terminal, 4096):
                    shown += piece
                    if shown.endswith(b"Password of alice: "):
                        os.write(terminal, typed)
            os.close(terminal)
            _, ended = os.waitpid(child, 0)
            self.assertEqual(os.waitstatus_to_exitcode(ended), status, shown)
            self.assertIn(words, shown)
            self.assertNotIn(b"Traceback", shown)
            self.assertNotIn(b"secret", shown)

    def test_no_verb(self) -> None:
        """
        Without a verb the usage goes to standard error, and the status is 2.
        """
        out, err = self.run_with(MODULE, 2)
        self.assertEqual(out, "")
        self.assertRegex(err, r"(?m)^Usage: python -m kafscale ")
        self.assertRegex(err, r"(?m)^  run  ")

    def test_help(self) -> None:
        """
        --help prints the usage to standard output.
        """
        out, err = self.run_with([*MODULE, "--help"], 0)
        self.assertEqual(err, "")
        self.assertEqual(out, self.run_with(MODULE, 2)[1])

    def test_unknown_verb(self) -> None:
        """
        An unknown verb takes one line, which names it, and status 2.
        """
        out, err = self.run_with([*MODULE, "fly"], 2)
        self.assertEqual((out, err.count("\n")), ("", 1))
        self.assertIn("'fly'", err)

    def test_version(self) -> None:
        """
        The first line is Kafscale's version, the second Twisted's.
        """
        for command in (MODULE, [*MODULE, "run"], twistd()):
            out, err = self.run_with([*command, "--version"], 0)
            self.assertEqual(err, "")
            versions = f"Kafscale {kafscale.__version__}\nTwisted {twisted.__version__}\n"
            self.assertEqual(out, versions)

    def test_options(self) -> None:
        """
        Both commands explain the same options.
        """
        out, _ = self.run_with([*MODULE, "run", "--help"], 0)
        self.assertIn("\n  --segment-bytes=SIZE\n", out)
        self.assertEqual(out, self.run_with(twistd("--help"), 0)[0])

    def test_mistakes(self) -> None:
        """
        An unknown option, an abbreviated one, one without its value, an invalid
        value, and an unexpected argument take one line each, and status 1. The
        line names the command whose help has the options.
        """
        helps = (([*MODULE, "run"], "python -m kafscale run"), (twistd(), "twistd kafscale"))
        for mistake in ("--data_dir=x", "--data=x", "--data-dir", "start"):
            for command, name in helps:
                err = self.assert_mistake([*command, mistake], mistake)
                self.assertTrue(err.endswith(f"; see {name} --help\n"), err)
        for command, _ in helps:
            self.assert_mistake([*command, "--segment-bytes=lots"], "--segment-bytes")

    def assert_mistake(self, command: list[str], mistake: str) -> str:
        """
        The command ends with one line that names the mistake; return it.
        """
        out, err = self.run_with(command, 1)
        self.assertEqual((out, err.count("\n")), ("", 1), err)
        self.assertTrue(err.startswith("kafscale: "), err)
        self.assertIn(mistake.split("=")[0], err)
        return err

    def test_mistakes_of_inspect(self) -> None:
        """
        kafscale-inspect answers mistakes in the same way, with status 2.
        """
        for mistake in (["verif"], ["verify", "--data-di=x"], ["verify", "--foo"], ["dump"], []):
            command = [sys.executable, "-m", "kafscale.inspect", *mistake]
            out, err = self.run_with(command, 2)
            self.assertEqual((out, err.count("\n")), ("", 1), err)
            self.assertRegex(err, r"\Akafscale-inspect: .*; see kafscale-inspect( dump)? --help\n")


class RunTests(BrokerTestCase):
    """
    C{python -m kafscale run}.
    """

    def prepared(self, **settings: object) -> Broker:
        """
        A broker that is started with this command.
        """
        broker = super().prepared(**settings)
        broker.command = [*MODULE, "run"]
        return broker

    def test_life(self) -> None:
        """
        The broker serves and ends in order at SIGTERM; it writes no pid file;
        the next start has its records.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create("t")
            raw.produce("t", 0, batch_of([b"kept"]))
        self.assertEqual(broker.terminate(), 0)
        self.assertEqual(list(broker.folder.glob("*.pid")), [])
        broker.start()
        self.assertEqual([each.value for each in self.connect(broker).records("t")], [b"kept"])

    def test_option(self) -> None:
        """
        An option takes precedence over the variable.
        """
        broker = self.prepared(auto_create_partitions=3)
        broker.options = ["--auto-create-partitions=5"]
        broker.start()
        (topic,) = self.connect(broker).metadata("made", create=True).topics
        self.assertEqual(len(topic.partitions), 5)

    def test_cannot_start(self) -> None:
        """
        A port that is in use ends it with one line and status 1.
        """
        broker = self.prepared()
        with socket.create_server(("127.0.0.1", broker.port)):
            broker.start(wait=False)
            self.assertEqual(broker.ended(START_SECONDS), 1)
        self.assertNotIn("Traceback", broker.tail(1000))
        self.assertEqual(broker.tail(1000).count(str(broker.port)), 1)


class BackgroundTests(BrokerTestCase):
    """
    C{twistd kafscale}, which becomes a daemon.
    """

    def setUp(self) -> None:
        """
        A broker whose command returns, and leaves the process id in a file.
        """
        super().setUp()
        self.daemon = self.prepared()
        self.daemon.folder.mkdir(exist_ok=True)
        self.addCleanup(self.kill)

    def command(self, *options: str) -> subprocess.CompletedProcess[str]:
        """
        Run the command in the broker's folder, to its end.
        """
        return subprocess.run(
            [str(Path(sys.executable).with_name("twistd")), *options, "kafscale"],
            cwd=self.daemon.folder,
            env={**environment(**self.daemon.settings), **self.daemon.variables},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )

    def pid(self) -> int | None:
        """
        The id of the process that runs; None if there is none.
        """
        try:
            return int((self.daemon.folder / "twistd.pid").read_text())
        except FileNotFoundError:
            return None

    def kill(self) -> None:
        """
        Do not leave the process behind a test that fails.
        """
        if (pid := self.pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def test_ready(self) -> None:
        """
        The command returns with status 0 when the broker is ready. Only its
        owner can read the log, and so the files that it is continued in.
        """
        done = self.command()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.connect(self.daemon).create("t")
        pid, log = self.pid(), self.daemon.folder / "twistd.log"
        assert pid is not None
        self.assertIn(" listens on ", log.read_text())
        os.kill(pid, signal.SIGUSR1)
        eventually(lambda: log.with_name("twistd.log.1").exists() and log.exists())
        for each in (log, log.with_name("twistd.log.1")):
            self.assertEqual(each.stat().st_mode & 0o777, 0o600)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: self.pid() is None)
        self.assertIn("all acknowledged records are stored", log.read_text())

    def test_port_in_use(self) -> None:
        """
        The reason is on the terminal and in the log; the status is 1.
        """
        with socket.create_server(("127.0.0.1", self.daemon.port)):
            self.assert_fails("cannot listen on .* in use; choose .* KAFSCALE_BROKER_ADDR")

    def test_unusable_bucket(self) -> None:
        """
        So is a reason that is found out later.
        """
        self.daemon.settings |= {"s3_bucket": "logs", "s3_endpoint": s3.server("moto").endpoint}
        self.daemon.variables |= s3.KEYS
        self.assert_fails("the bucket logs at .* cannot be used: .*NoSuchBucket.*")

    def assert_fails(self, reason: str) -> None:
        """
        The command fails, for a reason that this pattern matches.
        """
        done = self.command()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, rf"\Akafscale: {reason}\n\Z")
        log = (self.daemon.folder / "twistd.log").read_text()
        self.assertRegex(log, rf"(?m)\] cannot start: {reason}$")
        eventually(lambda: self.pid() is None)

    def test_stopped_meanwhile(self) -> None:
        """
        A broker that is stopped while it starts has not started.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            self.daemon.settings |= {"s3_bucket": "any", "s3_endpoint": f"http://127.0.0.1:{port}"}
            self.daemon.variables |= s3.KEYS
            stopping = threading.Thread(target=self.stop_it)
            stopping.start()
            done = self.command()
            stopping.join()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "kafscale: it was stopped while it started\n")

    def stop_it(self) -> None:
        """
        Stop the broker while it waits for the bucket.
        """
        log = self.daemon.folder / "twistd.log"
        eventually(lambda: log.exists() and "kafscale starting" in log.read_text())
        pid = self.pid()
        assert pid is not None
        handler = 1 << (signal.SIGTERM - 1)
        status = Path(f"/proc/{pid}/status")
        eventually(lambda: int(status.read_text().split("SigCgt:")[1].split()[0], 16) & handler)
        os.kill(pid, signal.SIGTERM)


class Load(threading.Thread):
    """
    Produces numbers without waiting for answers, five requests ahead, until
    the connection ends.

    @ivar acknowledged: Number to its offset.
    """

    def __init__(self, broker: Broker, partition: int) -> None:
        super().__init__(daemon=True)
        self._client = RawClient(broker.port)
        self._partition = partition
        self.acknowledged: dict[int, int] = {}
        self.refused: list[int] = []
        self.warm = threading.Event()

    def run(self) -> None:
        """
        Produce until the connection ends.
        """
        under_way: list[tuple[int, int]] = []
        number = 0
        try:
            while True:
                while len(under_way) < 5:
                    batch = batch_of([b"%d" % number, b"x" * 1000])
                    request = self._client.produce_request("load", self._partition, batch)
                    under_way.append((self._client.send(request, 9), number))
                    number += 1
                correlation, answered = under_way.pop(0)
                response = self._client.receive(request, 9, correlation)
                self._note(answered, response)
        except OSError:
            self._client.close()

    def _note(self, number: int, response: ProduceResponse) -> None:
        (part,) = response.responses[0].partition_responses
        if part.error_code:
            self.refused.append(part.error_code)
        else:
            self.acknowledged[number] = part.base_offset
        if len(self.acknowledged) > 20:
            self.warm.set()


class StopTests(BrokerTestCase):
    """
    Stopping by SIGTERM.
    """

    def test_under_load(self) -> None:
        """
        A broker stopped under load ends within ten seconds with status 0; the
        records that it acknowledged are there afterwards.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create("load", 4)
        loads = [Load(broker, index) for index in range(4)]
        for load in loads:
            load.start()
        for load in loads:
            self.assertTrue(load.warm.wait(30))
        self.assertEqual(broker.terminate(), 0)
        for load in loads:
            load.join(30)
            self.assertFalse(load.is_alive())
            self.assertEqual(load.refused, [])
        broker.start()
        raw = self.connect(broker)
        for index, load in enumerate(loads):
            stored = raw.records("load", index)
            for number, offset in load.acknowledged.items():
                self.assertEqual(stored[offset].value, b"%d" % number)

    def test_with_long_polls(self) -> None:
        """
        Waiting fetches do not delay the stop.
        """
        broker = self.broker()
        raw = self.connect(broker)
        raw.create("quiet")
        request = raw.fetch_request("quiet", 0, 0, wait=60_000)
        for _ in range(10):
            self.connect(broker).send(request, 12)
        self.assertEqual(raw.offset("quiet", 0, LATEST), 0)
        self.assertEqual(broker.terminate(), 0)

    def test_signals(self) -> None:
        """
        SIGINT is as good as SIGTERM, and a second signal changes nothing.
        """
        for first, second in ((signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)):
            broker = self.broker()
            self.connect(broker).create("t")
            os.kill(broker.pid, first)
            eventually(partial(broker.has_logged, "stopping"))
            with contextlib.suppress(ProcessLookupError):  # it is quick
                os.kill(broker.pid, second)
            self.assertEqual(broker.ended(), 0)
            self.assertIn(f"received {first.name}, stopping", broker.tail())
            self.assertIn("all acknowledged records are stored", broker.tail())
            self.assertNotIn("Traceback", broker.tail(1000))

    def test_restart_keeps_all(self) -> None:
        """
        Topics, records, cluster id and topic ids are the same after a restart.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create("kept", 3)
            raw.produce("kept", 2, batch_of([b"one", b"two"]))
            before = raw.metadata("kept")
        broker.restart()
        raw = self.connect(broker)
        after = raw.metadata("kept")
        self.assertEqual(after.cluster_id, before.cluster_id)
        self.assertEqual(after.topics[0].topic_id, before.topics[0].topic_id)
        self.assertEqual([each.value for each in raw.records("kept", 2)], [b"one", b"two"])


class ThreadTests(SynchronousTestCase):
    """
    Threads that wait for something that never happens.
    """

    def test_process_ends(self) -> None:
        """
        They do not keep the process from ending.
        """
        code = """if True:
            from threading import Event
            from kafscale.tap.broker import Pool
            pool, runs = Pool(0, 1), Event()
            pool.start()
            pool.callInThread(lambda: (runs.set(), Event().wait()))
            runs.wait()
            """
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60)
        self.assertEqual(done.returncode, 0)


class MemoryTests(BrokerTestCase):
    """
    C{KAFSCALE_USE_MEMORY_S3=1}.
    """

    def test_keeps_nothing(self) -> None:
        """
        A broker in memory serves, writes no file, and logs at its end that it
        discards the records.
        """
        for options in ["--use-memory-s3"], ["--use-memory-s3", "1"]:
            with self.subTest(options=options):
                self.keeps_nothing(options)

    def keeps_nothing(self, options: list[str]) -> None:
        """
        Start a broker with these options, and restart it.
        """
        broker = self.prepared()
        for name in ("s3_bucket", "s3_endpoint"):  # which runs on buckets set
            broker.settings.pop(name, None)
        broker.options = options
        raw = self.connect(broker.start())
        raw.create("brief")
        raw.produce("brief", 0, batch_of([b"now"]))
        self.assertEqual([each.value for each in raw.records("brief")], [b"now"])
        self.assertFalse((broker.folder / "data").exists())
        self.assertFalse((broker.folder / "kafscale-data").exists())
        broker.restart()
        self.assertIn("has stopped; the records in memory are discarded", broker.tail())
        self.assertNotIn("are stored", broker.tail())
        self.assertEqual(self.connect(broker).topics(), [])
