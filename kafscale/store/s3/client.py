"""
The requests of S3's API that Kafscale uses, one method for each.

Nothing is repeated here. An answer that is an error is raised as L{S3Error}; if
there is no answer, L{NoAnswer} is raised. See the Amazon S3 API Reference
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import attrs
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from kafscale.errors import SettingError, about
from kafscale.interfaces import ObjectInfo
from kafscale.store.blocking import RunBlocking, at_once
from kafscale.store.s3.address import Address, address_of
from kafscale.store.s3.bodies import Piece
from kafscale.store.s3.checksums import CRC32C, HEADERS, MD5, crc_of, md5_of
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.errors import STATUSES, Answer, NoAnswer, NotFromS3, S3Error
from kafscale.store.s3.transport import Request, Transport

PAGE = 1000
"""The maximum number of keys in a request of ListObjectsV2 and of DeleteObjects."""


LARGE = 1 << 20
"""The size in bytes from which on an MD5 is computed in a thread."""


@attrs.frozen
class Part:
    """
    A part of a multipart upload that S3 has received.

    @ivar number: The number of the part, from 1 on.
    @ivar etag: The C{ETag} header of the answer.
    @ivar checksum: The checksum of the part, in base64.
    """

    number: int
    etag: str
    checksum: str


class S3Client:
    """
    Sends requests to one bucket.

    @ivar address: The address of the bucket.
    @ivar checksum: The kind of the checksums of objects and parts: CRC32C unless
        another one is set (L{kafscale.store.s3.checksums}).
    """

    def __init__(
        self,
        address: Address,
        transport: Transport,
        kms_arn: str | None = None,
        run_blocking: RunBlocking = at_once,
    ) -> None:
        """
        @param address: The address of the bucket.
        @param transport: Sends the requests.
        @param kms_arn: The KMS key with which S3 encrypts objects (SSE-KMS);
            None: the bucket's default encryption.
        @param run_blocking: Computes MD5s of large objects.
        """
        self.address = address
        self.checksum = CRC32C
        self._run_blocking = run_blocking
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
        Make a client. It finds the region, credentials and certificate
        authorities, if they are not given, where the AWS command line does.

        @param bucket: The name of the bucket.
        @param reactor: Makes connections, resolves names and is the clock.
        @param run_blocking: Runs the search for credentials, and computes MD5s.
        @param now: Returns the seconds since 1970, for signatures.
        @param region: See L{address_of}.
        @param endpoint: See L{address_of}.
        @param path_style: See L{address_of}.
        @param kms_arn: See L{S3Client.__init__}.
        @param ca_file: See L{Transport}.
        @param concurrency: See L{Transport}.
        @raise SettingError: the certificates or the AWS profile cannot be used.
        """
        session = Session()
        try:
            address = address_of(session, bucket, region, endpoint, path_style)
            source = "KAFSCALE_S3_CA_FILE" if ca_file else "AWS_CA_BUNDLE or the AWS profile"
            ca_file = ca_file or session.get_config_variable("ca_bundle")
        except BotoCoreError as error:  # about the profile, mostly
            raise SettingError(str(error)) from None
        credentials = Credentials(lambda: Session().get_credentials(), run_blocking, reactor)
        with about(source):
            transport = Transport(address, credentials, reactor, now, concurrency, ca_file)
        return cls(address, transport, kms_arn, run_blocking)

    @property
    def requests(self) -> Mapping[str, int]:
        """
        The number of requests that were sent, by operation, as S3 bills them.
        """
        return self._transport.requests

    # -- objects ------------------------------------------------------------

    async def put_object(
        self,
        key: str,
        pieces: Sequence[Piece],
        *,
        create_only: bool = True,
        checksum_of: Sequence[Piece] | None = None,
        checksum: str | None = None,
    ) -> None:
        """
        Store an object (PutObject).

        @param create_only: Whether S3 refuses to replace an object, and answers
            412 (C{If-None-Match: *}).
        @param checksum_of: Bytes whose checksum is sent in place of that of the
            object, to find out whether the store compares it.
        @param checksum: The kind of the checksum; None: L{S3Client.checksum}.
        """
        kind = checksum or self.checksum
        summed = pieces if checksum_of is None else checksum_of
        headers = {HEADERS[kind]: await self._sum(kind, summed), **self._encryption}
        if create_only:
            headers["If-None-Match"] = "*"
        await self._ask(Request("PutObject", "PUT", key, {}, headers, pieces))

    async def get_object(
        self, key: str, wanted: str = "", size: int = 0, most: int | None = None
    ) -> Answer:
        """
        Read an object, or a range of its bytes (GetObject). The answer may have
        other bytes than those: see L{kafscale.store.s3.ranges}.

        @param wanted: The range, such as C{0-99} or C{-100} (RFC 9110, 14.1.2).
        @param size: The expected number of bytes, for the time-out.
        @param most: The maximum number of bytes of the answer; None: any.
        @raise NoAnswer: there is no answer, or it has more than C{most} bytes.
        """
        headers = {"Range": f"bytes={wanted}"} if wanted else {}
        request = Request("GetObject", "GET", key, {}, headers, size=size, most=most)
        return await self._ask(request)

    async def delete_object(self, key: str) -> None:
        """
        Delete an object (DeleteObject). A key without an object is ignored.
        """
        await self._ask(Request("DeleteObject", "DELETE", key))

    async def delete_objects(self, keys: Sequence[str]) -> None:
        """
        Delete up to L{PAGE} objects (DeleteObjects). Keys without an object are
        ignored.

        @raise S3Error: some objects were not deleted; the error is that of the
            first one.
        """
        items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete>{items}<Quiet>true</Quiet></Delete>".encode()
        headers = {HEADERS[MD5]: md5_of([body])}
        answer = await self._ask(
            Request("DeleteObjects", "POST", "", {"delete": ""}, headers, [body])
        )
        for error in _xml(answer).iterfind("{*}Error"):
            code = error.findtext("{*}Code", "")
            if code != "NoSuchKey":
                raise S3Error(
                    STATUSES.get(code, answer.status),
                    code,
                    f"{error.findtext('{*}Key')}: {error.findtext('{*}Message', '')}",
                )

    async def list_objects(
        self, prefix: str, after: str = "", limit: int = PAGE, token: str = ""
    ) -> tuple[list[ObjectInfo], str]:
        """
        List up to L{PAGE} objects whose keys begin with C{prefix} and are
        greater than C{after}, in order (ListObjectsV2).

        @param limit: The maximum number of objects.
        @param token: The token of the page before; empty for the first page.
        @return: The objects, and the token of the next page, which is empty
            when there are no more objects.
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
            ObjectInfo(
                decode(each.findtext("{*}Key", "")),
                _whole(each.findtext("{*}Size")),
                _time(each.findtext("{*}LastModified", "")),
            )
            for each in tree.iterfind("{*}Contents")
        ]
        truncated = tree.findtext("{*}IsTruncated")
        token = tree.findtext("{*}NextContinuationToken", "") if truncated == "true" else ""
        if truncated is None and _tag(tree) != "ListBucketResult":
            raise NotFromS3("the answer is not a listing")
        if truncated == "true" and not token:
            raise NoAnswer("a page of a listing does not say where the next one begins")
        return found, token

    # -- multipart uploads --------------------------------------------------

    async def create_multipart_upload(self, key: str) -> str:
        """
        Begin a multipart upload, and return its id (CreateMultipartUpload).
        """
        headers = dict(self._encryption)
        if self.checksum == CRC32C:
            headers["x-amz-checksum-algorithm"] = "CRC32C"
        answer = await self._ask(
            Request("CreateMultipartUpload", "POST", key, {"uploads": ""}, headers, [])
        )
        return _xml(answer).findtext("{*}UploadId", "")

    async def upload_part(
        self, key: str, upload: str, number: int, pieces: Sequence[Piece]
    ) -> Part:
        """
        Upload a part (UploadPart).

        @param upload: The id of the upload.
        @param number: The number of the part, from 1 on.
        @param pieces: The bytes: at least 5 MiB, unless it is the last part.
        """
        value = await self._sum(self.checksum, pieces)
        query = {"partNumber": str(number), "uploadId": upload}
        headers = {HEADERS[self.checksum]: value}
        answer = await self._ask(Request("UploadPart", "PUT", key, query, headers, pieces))
        return Part(number, answer.headers.get("etag", ""), value)

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
        Make an object of its parts (CompleteMultipartUpload).

        @param upload: The id of the upload.
        @param parts: All parts, in order.
        @param create_only: Whether S3 refuses to replace an object, and answers
            412 (C{If-None-Match: *}).
        @param size: The size of the object in bytes, for the time-out.
        """
        has_crc = self.checksum == CRC32C
        items = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            + (f"<ChecksumCRC32C>{part.checksum}</ChecksumCRC32C>" if has_crc else "")
            + "</Part>"
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
        # S3 may send status 200 and then fail: the body has the error.
        if _tag(_xml(answer)) == "Error":
            error = attrs.evolve(answer, status=500).error()
            raise S3Error(STATUSES.get(error.code, 500), error.code, error.message)

    async def abort_multipart_upload(self, key: str, upload: str) -> None:
        """
        Delete the parts of an upload that will not be completed
        (AbortMultipartUpload).
        """
        await self._ask(Request("AbortMultipartUpload", "DELETE", key, {"uploadId": upload}))

    # -----------------------------------------------------------------------

    async def close(self) -> None:
        """
        Cancel all requests, and close all connections.
        """
        await self._transport.close()

    async def _sum(self, kind: str, pieces: Sequence[Piece]) -> str:
        """
        The checksum of a body, in base64.
        """
        if kind == CRC32C:
            return crc_of(pieces)
        if sum(map(len, pieces)) < LARGE:
            return md5_of(pieces)
        return await self._run_blocking(md5_of, pieces)

    async def _ask(self, request: Request) -> Answer:
        answer = await self._transport.send(request)
        if not 200 <= answer.status < 300:
            raise answer.error()
        return answer


def _tag(tree: ElementTree.Element) -> str:
    """
    The name of an element, without its namespace.
    """
    return tree.tag.rpartition("}")[2]


def _whole(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        raise NoAnswer(f"the answer has the size {text!r}, which is not a number")
    return int(text)


def _time(text: str) -> float | None:
    """
    Return a time in seconds since 1970; None if C{text} is no time with a time zone.
    """
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.timestamp()
    return None


_DOCTYPE = re.compile(rb"<!DOCTYPE", re.IGNORECASE)


def _xml(answer: Answer) -> ElementTree.Element:
    """
    Parse the body of an answer.

    @raise NotFromS3: the body is not XML, or has a document type: S3 sends none,
        and entities that are defined there can use up all memory.
    """
    if _DOCTYPE.search(answer.body):
        raise NotFromS3("the answer has a document type, so it is not from S3")
    try:
        # While S3 completes an upload it sends blanks, to keep the connection alive.
        return ElementTree.fromstring(answer.body.lstrip())
    except ElementTree.ParseError as error:
        raise NotFromS3(f"the answer is not XML: {error}") from None
