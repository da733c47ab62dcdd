"""
Moto's S3 server, as a process that ends with the one that started it.

    python -m tests.harness.moto_server

prints its port, and serves until its standard input is closed. Some things are
changed to be like S3:

    - Moto checks whether an object exists and then stores it, in threads, so two
      creates at once may both succeed. Here requests that change something are
      done one after the other, when their whole body was received.
    - A body that is cut short, or does not match its checksum, is refused. So is
      a request whose signature is not exactly right.

Others are changed to be like stores with S3's API that have defects: a bucket
whose name begins with one of the words of L{TREATMENTS} is treated as that says,
and C{PUT /treat/BUCKET} changes how a bucket is treated from then on.
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

from tests.harness.identities import KEY, READER, SECRETS, TREATMENTS, variables

ELSEWHERE = "eu-north-1"
"""The region of buckets with the treatment C{elsewhere}."""


class Quiet(MotoRequestHandler):  # type: ignore[misc]  # moto carries no types
    """
    Keeps connections open, and does not log requests.
    """

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """
        Log nothing.
        """


def refusal(status: str, code: str, start_response: Any) -> Iterable[bytes]:
    """
    Send an error in S3's form.
    """
    region = ELSEWHERE if code == "PermanentRedirect" else ""
    content = f"<Code>{code}</Code><Message>by the test</Message><Region>{region}</Region>"
    body = f"<Error>{content}</Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def signature_error(environ: dict[str, Any]) -> str:
    """
    S3's code for a request whose signature is wrong; empty if it is right. This
    was written from the documentation of AWS Signature Version 4, so that it
    does not share mistakes with botocore.
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


SUFFIX = "bytes=-"
"""The beginning of a C{Range} for the last bytes of an object."""


def error_of(treatment: str, environ: dict[str, Any], changes: bool) -> tuple[str, str] | None:
    """
    The HTTP status and S3's code of the error that a request gets because of its
    bucket's treatment; None if it gets none.

    @param treatment: One of L{TREATMENTS}, or anything else for none.
    @param changes: Whether the request changes something.
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
    if treatment == "unsummed" and "HTTP_X_AMZ_CHECKSUM_CRC32C" in environ:
        return "501 Not Implemented", "NotImplemented"
    if treatment == "unsuffixed" and SUFFIX in environ.get("HTTP_RANGE", ""):
        return "416 Requested Range Not Satisfiable", "InvalidRange"
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
    Wrap moto's application, with the changes that the module's docstring lists.
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
        wrong = signature_error(environ)
        if wrong:
            return refusal("403 Forbidden", wrong, start_response)
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        changes = environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        treatment = treatments.get(bucket, bucket.partition("-")[0])
        making = environ["REQUEST_METHOD"] == "PUT" and not key
        error = None if making else error_of(treatment, environ, changes)
        if error:
            return refusal(*error, start_response)
        if treatment == "careless":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if treatment == "swapped" and "HTTP_RANGE" in environ:
            environ["HTTP_RANGE"] = environ["HTTP_RANGE"].replace(SUFFIX, "bytes=0-")
        checksum = environ.get("HTTP_X_AMZ_CHECKSUM_CRC32C")
        if checksum and base64.b64decode(checksum) != crc32c(body).to_bytes(4, "big"):
            return refusal("400 Bad Request", "BadDigest", start_response)
        if not changes:
            return application(environ, start_response)
        with lock:
            return list(application(environ, start_response))

    return serve


def main() -> None:
    """
    Serve until standard input is closed.
    """
    os.environ.update(variables(KEY))
    application = one_by_one(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
