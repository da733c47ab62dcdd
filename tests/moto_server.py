"""
Moto's S3 server, as a process that ends with whoever started it.

    python -m tests.moto_server

prints its port, and serves until its standard input ends. In some things it is
brought closer to S3:

- Moto looks whether an object is there and then stores it, in threads: two
  creates at once may both succeed. Requests that change something are done one
  after the other here, when all of their body has come.
- A body that is cut short, or does not match its checksum, is refused, and so
  is a request whose signature, with the test's key, is not right to the letter
  of what has come.

And to what else goes by that name: a bucket whose name begins with one of the
words of L{TREATMENTS} is treated as that says; and C{PUT /treat/BUCKET} says
how another one is treated from then on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from crc32c import crc32c
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests.identities import KEY, READER, SECRETS, TREATMENTS, variables

#: Where a bucket is that is elsewhere.
ELSEWHERE = "eu-north-1"


class Quiet(MotoRequestHandler):  # type: ignore[misc]  # moto carries no types
    """
    Keeps connections open, and says nothing.
    """

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """
        Not a word.
        """


def refusal(status: str, code: str, start_response: Any) -> Iterable[bytes]:
    """
    An error, as S3 has it.
    """
    region = ELSEWHERE if code == "PermanentRedirect" else ""
    told = f"<Code>{code}</Code><Message>by the test</Message><Region>{region}</Region>"
    body = f"<Error>{told}</Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def what_is_wrong(environ: dict[str, Any]) -> str:
    """
    S3's code for a signature that is not right; empty when it is. From the
    description of AWS Signature Version 4, and from nobody's code.
    """
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request,"
        r" SignedHeaders=([^,]+), Signature=(\w+)",
        environ.get("HTTP_AUTHORIZATION", ""),
    )
    if match is None:
        return "AccessDenied"
    key, day, region, names, signature = match.groups()
    if key not in SECRETS:
        return "InvalidAccessKeyId"
    path, _, query = environ["RAW_URI"].partition("?")
    headers = {
        name: environ.get(f"HTTP_{name.upper().replace('-', '_')}", "")
        for name in names.split(";")
    }
    if "content-type" in headers:
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
    if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(headers):
        return "AccessDenied"
    canonical = "\n".join(
        [
            environ["REQUEST_METHOD"],
            path,
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            headers["x-amz-content-sha256"],
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
    secret = f"AWS4{SECRETS[key]}".encode()
    for part in (day, region, "s3", "aws4_request", text):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return "" if secret.hex() == signature else "SignatureDoesNotMatch"


def told_by(treatment: str, environ: dict[str, Any], changes: bool) -> tuple[str, str] | None:
    """
    The error with which a request is answered before anybody looks at it, if
    there is one: status and code.
    """
    key = environ["HTTP_AUTHORIZATION"].partition("Credential=")[2].partition("/")[0]
    if changes and (treatment == "readonly" or key == READER):
        return "403 Forbidden", "AccessDenied"
    if treatment == "elsewhere" and not changes:
        return "301 Moved", "PermanentRedirect"
    if treatment == "plain" and "HTTP_IF_NONE_MATCH" in environ:
        return "501 Not Implemented", "NotImplemented"
    if treatment == "puzzled" and "HTTP_IF_NONE_MATCH" in environ:
        return "400 Bad Request", "InvalidArgument"
    if treatment == "wholesale" and "uploads" in environ["QUERY_STRING"]:
        return "501 Not Implemented", "NotImplemented"
    if treatment == "expired" and key == KEY:
        return "400 Bad Request", "ExpiredToken"
    if treatment == "unknown" and key == KEY:
        return "403 Forbidden", "InvalidAccessKeyId"
    if treatment == "gone":
        return "404 Not Found", "NoSuchBucket"
    return None


def one_by_one(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """
    The application, with the changes to moto that this module's head tells.
    """
    lock = threading.Lock()
    treatments: dict[str, str] = {}

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"].startswith("/moto-api/"):
            return application(environ, start_response)
        if environ["PATH_INFO"].startswith("/treat/"):
            treatment = body.decode()
            if treatment not in TREATMENTS:
                return refusal("400 Bad Request", "InvalidArgument", start_response)
            treatments[environ["PATH_INFO"].removeprefix("/treat/")] = treatment
            start_response("200 OK", [("Content-Length", "0")])
            return []
        if len(body) != length:
            return refusal("400 Bad Request", "IncompleteBody", start_response)
        wrong = what_is_wrong(environ)
        if wrong:
            return refusal("403 Forbidden", wrong, start_response)
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        changes = environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        treatment = treatments.get(bucket, bucket.partition("-")[0])
        making = environ["REQUEST_METHOD"] == "PUT" and not key
        error = None if making else told_by(treatment, environ, changes)
        if error:
            return refusal(*error, start_response)
        if treatment == "careless":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        told = environ.get("HTTP_X_AMZ_CHECKSUM_CRC32C")
        if told and base64.b64decode(told) != crc32c(body).to_bytes(4, "big"):
            return refusal("400 Bad Request", "BadDigest", start_response)
        if not changes:
            return application(environ, start_response)
        with lock:
            return list(application(environ, start_response))

    return serve


def main() -> None:
    """
    Serve until standard input ends.
    """
    os.environ.update(variables(KEY))
    application = one_by_one(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
