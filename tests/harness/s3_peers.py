"""
S3 servers that other people wrote, each as a process that ends with the one that
started it.

    python -m tests.harness.s3_peers NAME

prints the port of one of L{PEERS}, and serves until its standard input is closed.
Nothing is changed in them; C{peers.toml} pins their versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import attrs

from tests.harness import peers, serving
from tests.harness.identities import KEY, SECRETS
from tests.harness.seaweed_server import takes_objects

START_SECONDS = 120.0


@attrs.frozen
class Peer:
    """
    An S3 server.

    @ivar command: Returns its command line, from an empty folder for its data and the
        port on 127.0.0.1 that it shall listen on.
    @ivar variables: Its environment variables, beside those of the test run.
    @ivar first: Returns a command line that prepares the folder; None: nothing does.
    @ivar creates: What becomes of several creates of one key: C{once}, if one succeeds;
        C{races}, if only the first one does, but several may where they are made at
        once; C{replaces}, if all do.
    @ivar checksum: What brokers on it need as C{KAFSCALE_S3_CHECKSUM}, so that damage is
        refused.
    @ivar in_parts: Whether an upload in parts is refused where an object exists, if other
        creates are.
    @ivar has_folders: Whether it fails at a key that is the folder of others, or below
        an object, instead of finding no object there.
    @ivar starts_within: Whether it takes C{start-after} only if that begins with the
        prefix.
    @ivar refused: Words of the line with which a broker refuses it whatever the
        settings are; empty if it can be used.
    """

    command: Callable[[Path, int], Sequence[object]]
    variables: Mapping[str, str] = MappingProxyType({})
    first: Callable[[Path], Sequence[object]] | None = None
    creates: str = "once"
    checksum: str = "crc32c"
    in_parts: bool = True
    has_folders: bool = False
    starts_within: bool = False
    refused: str = ""

    @property
    def fencing(self) -> str:
        """
        What brokers on it need as C{KAFSCALE_S3_FENCING}.
        """
        return "create" if self.creates == "once" else "metadata"


def _versitygw(folder: Path, port: int) -> Sequence[object]:
    program = peers.go_program("versitygw")
    return [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", folder]


def _rclone(folder: Path, port: int) -> Sequence[object]:
    options = ["--config", os.devnull, "--auth-key", f"{KEY},{SECRETS[KEY]}"]
    return [
        *[peers.go_program("rclone"), "serve", "s3", *options],
        *["--addr", f"127.0.0.1:{port}", folder],
    ]


def _gofakes3(folder: Path, port: int) -> Sequence[object]:
    options = ["-backend", "bolt", "-bolt.db", folder / "objects", "-quiet"]
    return [peers.go_program("gofakes3"), *options, "-host", f"127.0.0.1:{port}"]


def _volume(folder: Path) -> str:
    return f"badger://{folder}/metadata"


def _juicefs(folder: Path, port: int) -> Sequence[object]:
    options = ["--multi-buckets", "--no-usage-report", "--cache-dir", folder / "cache"]
    address = f"127.0.0.1:{port}"
    return [peers.go_program("juicefs"), "gateway", *options, _volume(folder), address]


def _format_juicefs(folder: Path) -> Sequence[object]:
    options = ["--storage", "file", "--bucket", folder / "data", "--trash-days", 0]
    return [peers.go_program("juicefs"), "format", *options, _volume(folder), "volume"]


def _s3proxy(folder: Path, port: int) -> Sequence[object]:
    objects = folder / "objects"
    objects.mkdir()
    properties = folder / "s3proxy.conf"
    properties.write_text(
        f"s3proxy.endpoint=http://127.0.0.1:{port}\n"
        f"s3proxy.authorization=aws-v2-or-v4\n"
        f"s3proxy.identity={KEY}\n"
        f"s3proxy.credential={SECRETS[KEY]}\n"
        "jclouds.provider=filesystem-nio2\n"
        "jclouds.identity=any\n"
        "jclouds.credential=any\n"
        f"jclouds.filesystem.basedir={objects}\n"
    )
    logging = folder / "logback.xml"
    logging.write_text("<configuration/>")
    options = [f"-Dlogback.configurationFile={logging}"]
    main = ("org.gaul.s3proxy.Main", "--properties", str(properties))
    return peers.java("s3proxy", *main, options=options)


def _localstack(folder: Path, port: int) -> Sequence[object]:
    python = peers.part("venvs", "localstack") / "bin" / "python"
    variables = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "FILESYSTEM_ROOT": folder / "root",
        "HOME": folder,
        "XDG_CACHE_HOME": folder / "cache",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    given = [f"{name}={value}" for name, value in variables.items()]
    return ["env", *given, python, "-m", "localstack.runtime.main"]


def _s3s_fs(folder: Path, port: int) -> Sequence[object]:
    program = peers.part("cargo", "s3s-fs") / "bin" / "s3s-fs"
    keys = ["--access-key", KEY, "--secret-key", SECRETS[KEY]]
    return [program, "--host", "127.0.0.1", "--port", port, *keys, folder]


S3RVER = """
const [folder, port, key, secret] = process.argv.slice(1)
const Account = require('s3rver/lib/models/account')
Account.registry.get('S3RVER').createKeyPair(key, secret)
const S3rver = require('s3rver')
const options = { address: '127.0.0.1', port, directory: folder, silent: true }
new S3rver({ ...options, vhostBuckets: false }).run()
"""


def _s3rver(folder: Path, port: int) -> Sequence[object]:
    modules = peers.part("npm", "s3rver") / "node_modules"
    script = S3RVER.replace("'s3rver", f"'{modules}/s3rver")
    return ["node", "-e", script, folder, port, KEY, SECRETS[KEY]]


PEERS = {
    "versitygw": Peer(
        _versitygw, {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRETS[KEY]}
    ),
    "rclone": Peer(_rclone, has_folders=True),
    "gofakes3": Peer(_gofakes3, checksum="md5", in_parts=False),
    "juicefs": Peer(
        _juicefs,
        {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRETS[KEY]},
        _format_juicefs,
        creates="replaces",
        checksum="md5",
        starts_within=True,
    ),
    "s3proxy": Peer(_s3proxy, creates="races", checksum="md5", has_folders=True),
    "localstack": Peer(
        _localstack,
        {
            "SERVICES": "s3",
            "EAGER_SERVICE_LOADING": "1",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
        },
    ),
    "s3s-fs": Peer(_s3s_fs, creates="races", has_folders=True),
    "s3rver": Peer(_s3rver, refused="cannot be used: list: 500"),
}
"""The servers, by their names."""

AS_S3 = Peer(lambda folder, port: ())
"""A server without any difference from S3."""


def start(peer: Peer, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """
    Start a server, and wait until it accepts objects.

    @param folder: For its data and its log; empty.
    @raise serving.NotStarted: If it does not.
    """
    data = folder / "data"
    data.mkdir()
    first = [peer.first(data)] if peer.first else []
    return serving.start(
        folder,
        [*first, peer.command(data, port)],
        lambda: takes_objects(port),
        START_SECONDS,
        peer.variables,
    )


if __name__ == "__main__":
    serving.serve(sys.argv[1], partial(start, PEERS[sys.argv[1]]))
