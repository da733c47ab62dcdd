"""
S3's verbs, one request each.

Nothing is repeated here and nothing is decided: an answer that is an error is
raised as `S3Error`, no answer as `NoAnswer`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import attrs
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from kafscale.errors import SettingError
from kafscale.interfaces import ObjectInfo
from kafscale.store.blocking import RunBlocking
from kafscale.store.s3.address import Address, address_of
from kafscale.store.s3.bodies import Piece, checksum
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.errors import Answer, NoAnswer, S3Error
from kafscale.store.s3.transport import Request, Transport

#: How many keys S3 lists, and deletes, in one request.
PAGE = 1000


@attrs.frozen
class Part:
    """
    A part of an upload that S3 has.
    """

    number: int
    etag: str
    checksum: str


class S3Client:
    """
    One bucket.
    """

    def __init__(
        self, address: Address, transport: Transport, kms_arn: str | None = None
    ) -> None:
        """
        @param kms_arn: The key of KMS with which S3 is to encrypt what it is
            given; None: as the bucket says.
        """
        self.address = address
        self._transport = transport
        self._encryption: dict[str, str] = {}
        if kms_arn:
            self._encryption = {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": kms_arn,
            }

    @classmethod
    def for_bucket(
        cls,
        bucket: str,
        reactor: Any,
        run_blocking: RunBlocking,
        now: Callable[[], float],
        *,
        region: str | None = None,
        endpoint: str | None = None,
        path_style: bool | None = None,
        kms_arn: str | None = None,
        ca_file: str | None = None,
        concurrency: int = 64,
    ) -> S3Client:
        """
        A client that finds what it is not told, region, credentials and
        certificates, where the AWS command line does.

        @param run_blocking: In one thread or more.
        @raise SettingError: the certificates or the AWS profile cannot be used.
        """
        session = Session()
        try:
            address = address_of(session, bucket, region, endpoint, path_style)
            ca_file = ca_file or session.get_config_variable("ca_bundle")
        except BotoCoreError as error:  # about the profile, mostly
            raise SettingError(str(error)) from None
        credentials = Credentials(lambda: Session().get_credentials(), run_blocking, reactor)
        transport = Transport(address, credentials, reactor, now, concurrency, ca_file)
        return cls(address, transport, kms_arn)

    @property
    def requests(self) -> Mapping[str, int]:
        """
        How many were sent, by S3's name of what they ask for.
        """
        return self._transport.requests

    # -- objects ------------------------------------------------------------

    async def put_object(
        self, key: str, pieces: Sequence[Piece], *, create_only: bool = True
    ) -> None:
        """
        Store an object; with C{create_only} unless it is there (S3 then
        answers 412).
        """
        headers = {"x-amz-checksum-crc32c": _crc(pieces), **self._encryption}
        if create_only:
            headers["If-None-Match"] = "*"
        await self._ask(Request("PutObject", "PUT", key, {}, headers, pieces))

    async def get_object(self, key: str, wanted: str = "", size: int = 0) -> Answer:
        """
        An object, or with C{wanted} (such as C{0-99} or C{-100}) some of its
        bytes, if the server goes by it: then the status is 206.

        @param size: How many bytes to expect, for how long to wait.
        """
        headers = {"Range": f"bytes={wanted}"} if wanted else {}
        return await self._ask(Request("GetObject", "GET", key, {}, headers, size=size))

    async def head_object(self, key: str) -> int:
        """
        The size of an object.
        """
        answer = await self._ask(Request("HeadObject", "HEAD", key))
        return _whole(answer.headers.get("content-length"))

    async def delete_object(self, key: str) -> None:
        """
        Remove an object; one that is not there is no error.
        """
        await self._ask(Request("DeleteObject", "DELETE", key))

    async def delete_objects(self, keys: Sequence[str]) -> None:
        """
        Remove up to 1000 objects; those that are not there are no error.

        @raise S3Error: for the first that could not be removed.
        """
        items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete>{items}<Quiet>true</Quiet></Delete>".encode()
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        headers = {"Content-MD5": base64.b64encode(digest).decode()}
        answer = await self._ask(
            Request("DeleteObjects", "POST", "", {"delete": ""}, headers, [body])
        )
        for error in _xml(answer).iterfind("{*}Error"):
            code = error.findtext("{*}Code", "")
            if code != "NoSuchKey":
                raise S3Error(
                    answer.status,
                    code,
                    f"{error.findtext('{*}Key')}: {error.findtext('{*}Message', '')}",
                )

    async def list_objects(
        self, prefix: str, after: str = "", limit: int = PAGE, token: str = ""
    ) -> tuple[list[ObjectInfo], str]:
        """
        Up to 1000 objects whose keys begin with C{prefix} and are greater than
        C{after}, in order; and a token with which to go on, empty when there
        are no more.
        """
        query = {
            "list-type": "2",
            "prefix": prefix,
            "max-keys": str(min(limit, PAGE)),
            "encoding-type": "url",
        }
        if token:
            query["continuation-token"] = token
        elif after:
            query["start-after"] = after
        answer = await self._ask(Request("ListObjectsV2", "GET", "", query))
        tree = _xml(answer)
        decode = unquote if tree.findtext("{*}EncodingType") == "url" else str
        found = [
            ObjectInfo(decode(each.findtext("{*}Key", "")), _whole(each.findtext("{*}Size")))
            for each in tree.iterfind("{*}Contents")
        ]
        more = tree.findtext("{*}IsTruncated") == "true"
        return found, tree.findtext("{*}NextContinuationToken", "") if more else ""

    # -- objects in parts ---------------------------------------------------

    async def create_multipart_upload(self, key: str) -> str:
        """
        Begin an upload in parts: its id.
        """
        headers = {"x-amz-checksum-algorithm": "CRC32C", **self._encryption}
        answer = await self._ask(
            Request("CreateMultipartUpload", "POST", key, {"uploads": ""}, headers, [])
        )
        return _xml(answer).findtext("{*}UploadId", "")

    async def upload_part(
        self, key: str, upload: str, number: int, pieces: Sequence[Piece]
    ) -> Part:
        """
        One part of at least 5 MiB, unless it is the last; numbers begin at 1.
        """
        crc = _crc(pieces)
        query = {"partNumber": str(number), "uploadId": upload}
        answer = await self._ask(
            Request(
                "UploadPart", "PUT", key, query, {"x-amz-checksum-crc32c": crc}, pieces
            )
        )
        return Part(number, answer.headers.get("etag", ""), crc)

    async def complete_multipart_upload(
        self,
        key: str,
        upload: str,
        parts: Sequence[Part],
        *,
        create_only: bool = True,
        size: int = 0,
    ) -> None:
        """
        Make the object of its parts; with C{create_only} unless it is there.

        @param size: Of the object, for how long to wait.
        """
        items = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"<ChecksumCRC32C>{part.checksum}</ChecksumCRC32C></Part>"
            for part in parts
        )
        body = (
            '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{items}</CompleteMultipartUpload>"
        ).encode()
        headers = {"If-None-Match": "*"} if create_only else {}
        answer = await self._ask(
            Request(
                "CompleteMultipartUpload",
                "POST",
                key,
                {"uploadId": upload},
                headers,
                [body],
                size,
            )
        )
        # S3 says 200 before it has put the parts together, and may fail after.
        if _xml(answer).tag.rpartition("}")[2] == "Error":
            error = attrs.evolve(answer, status=500).error()
            status = {"PreconditionFailed": 412, "ConditionalRequestConflict": 409}
            raise S3Error(status.get(error.code, 500), error.code, error.message)

    async def abort_multipart_upload(self, key: str, upload: str) -> None:
        """
        Remove the parts of an upload that will not be completed.
        """
        await self._ask(Request("AbortMultipartUpload", "DELETE", key, {"uploadId": upload}))

    # -----------------------------------------------------------------------

    async def close(self) -> None:
        """
        End what is under way, and let go of the connections.
        """
        await self._transport.close()

    async def _ask(self, request: Request) -> Answer:
        answer = await self._transport.send(request)
        if not 200 <= answer.status < 300:
            raise answer.error()
        return answer


def _crc(pieces: Sequence[Piece]) -> str:
    return base64.b64encode(checksum(pieces).to_bytes(4, "big")).decode()


def _whole(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        raise NoAnswer(f"an answer with the size {text!r}")
    return int(text)


_DOCTYPE = re.compile(rb"<!DOCTYPE", re.IGNORECASE)


def _xml(answer: Answer) -> ElementTree.Element:
    """
    @raise NoAnswer: the body is no XML, or such as S3 does not write.
    """
    if _DOCTYPE.search(answer.body):
        raise NoAnswer("an answer with a document type is not S3's")
    try:
        # S3 sends blanks while it is not done yet, before anything else.
        return ElementTree.fromstring(answer.body.lstrip())
    except ElementTree.ParseError as error:
        raise NoAnswer(f"an answer that is no XML: {error}") from None
