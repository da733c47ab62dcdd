"""
Checks at each start whether a bucket can hold a log.

If a store does not keep to C{If-None-Match: *}, records are lost silently when
two brokers write the same key. So several creates of one key are made at once. A
store that accepts more than one is refused, unless fencing is left to the
metadata store (C{KAFSCALE_S3_FENCING=metadata}). In that case it is enough that
an object can be read and listed as soon as it is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    NoSuchObject,
    ObjectExists,
    SettingError,
    StoreContended,
    StoreUnavailable,
)
from kafscale.format import object_keys
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import NoAnswer, NoCredentials, S3Error
from kafscale.store.s3.objects import S3ObjectStore

RIVALS = 8
"""How many creates of one key are made at once."""

PATIENCE = 10.0
"""For how many seconds a start waits for a store that does not answer."""

T = TypeVar("T")

_log = Logger()


class Probe:
    """
    Checks one bucket.
    """

    def __init__(
        self,
        store: S3ObjectStore,
        clock: IReactorTime,
        namespace: str,
        name: str,
        fencing: str = "create",
    ) -> None:
        """
        @param store: The bucket. Its C{create_only} and C{in_parts} are set to
            what the store can do.
        @param clock: Times the attempts.
        @param namespace: The first part of all keys.
        @param name: A name that no other probe has.
        @param fencing: The setting C{KAFSCALE_S3_FENCING}: C{create} or
            C{metadata}.
        """
        self._store = store
        self._client: S3Client = store.client
        self._clock = clock
        self._namespace = namespace
        self._key = object_keys.probe(namespace, name)
        self._may_replace = fencing == "metadata"
        self._until = clock.seconds() + PATIENCE

    async def run(self) -> None:
        """
        Check the bucket.

        @raise SettingError: the bucket cannot hold a log.
        """
        await self._again(lambda: self._client.list_objects(f"{self._namespace}/", "", 1))
        keys = [f"{self._key}-0"]
        if self._may_replace:
            await self._again(lambda: self._try_one(keys[0]))
        else:
            while not await self._one_of_many_wins(keys[-1]):
                keys.append(f"{self._key}-{len(keys)}")
        await self._again(lambda: self._try_parts(keys[-1]))
        await self._again(lambda: self._store.delete(keys))

    async def _again(self, step: Callable[[], Awaitable[T]]) -> T:
        """
        Repeat a step until the store answers, and return the answer.

        @raise SettingError: the answer is an error that does not pass, or there
            is none for L{PATIENCE} seconds.
        """
        while True:
            try:
                return await step()
            except (S3Error, NoAnswer, StoreUnavailable) as error:
                cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
                if not _may_pass(cause) or self._is_late:
                    raise SettingError(self._line(cause or error)) from None
            await self._pause(0.3)

    @property
    def _is_late(self) -> bool:
        return self._clock.seconds() >= self._until

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)

    # -- create-only --------------------------------------------------------

    async def _one_of_many_wins(self, key: str) -> bool:
        """
        Make several creates of one key at once.

        @return: Whether enough of them were answered to trust the store.
        @raise SettingError: the store accepted more than one, or too many
            requests fail for L{PATIENCE} seconds.
        """
        bodies = [b"%d" % number * 1000 for number in range(RIVALS)]
        # The first error is raised; the others are the same.
        outcomes = await map_bounded(lambda body: self._create(key, body), bodies, limit=RIVALS)
        winners = [body for body, has_won in zip(bodies, outcomes, strict=True) if has_won]
        found = await self._again(lambda: self._found(key))
        if len(winners) > 1 or (winners and winners != [found]):
            raise SettingError(
                f"{self._where} does not keep to If-None-Match: of {RIVALS} creates of one key"
                f" at once it accepted {len(winners)} instead of one. Two brokers could overwrite"
                " each other's records there, unless all have KAFSCALE_S3_FENCING=metadata"
            )
        if found in bodies and outcomes.count(False) >= RIVALS / 2:
            return True
        if self._is_late:
            raise SettingError(f"{self._where} cannot be used: too many requests fail")
        return False

    async def _found(self, key: str) -> bytes:
        try:
            return await self._store.get(key)
        except NoSuchObject:
            return b""

    async def _create(self, key: str, body: bytes) -> bool | None:
        """
        Create an object. Return whether this create was the first, or None if
        that is unknown.
        """
        while True:
            try:
                await self._store.create(key, [body])
            except ObjectExists:
                return False
            except StoreContended:  # other creates of the key are in progress
                await self._pause(0.05)
                if self._is_late:
                    return None
            except StoreUnavailable as error:
                if not _may_pass(error.__cause__):
                    raise SettingError(self._line(error.__cause__ or error)) from None
                if _is_unknown(error.__cause__):
                    raise SettingError(
                        f"{self._where} does not know If-None-Match: it can only be used with"
                        " KAFSCALE_S3_FENCING=metadata"
                    ) from None
                return None
            else:
                return True

    async def _try_one(self, key: str) -> None:
        """
        Find out whether the store accepts the condition of a create, and whether
        an object can be read and listed as soon as it is stored.
        """
        body = b"1" * 1000
        with suppress(ObjectExists):  # an earlier attempt made it
            try:
                await self._store.create(key, [body])
            except StoreUnavailable as error:
                cause = error.__cause__
                if not isinstance(cause, S3Error) or cause.status not in (400, 501):
                    raise
                self._store.create_only = False
                await self._store.create(key, [body])
        listed = [info.key for info in await self._store.list(key)]
        if await self._found(key) != body or listed != [key]:
            raise SettingError(
                f"{self._where} cannot be used: an object cannot be read and listed as soon as it"
                " is stored"
            )

    async def _try_parts(self, key: str) -> None:
        """
        Find out whether a multipart upload can be used, and does not replace an
        object. If that is not certain, large objects are sent in one request.
        """
        client = self._client
        why = "they replace objects"
        try:
            upload = await client.create_multipart_upload(key)
            try:
                part = await client.upload_part(key, upload, 1, [b"in parts"])
                await client.complete_multipart_upload(
                    key, upload, [part], create_only=self._store.create_only
                )
                if self._may_replace:
                    return
            except S3Error as error:
                await client.abort_multipart_upload(key, upload)
                if error.status == 412:
                    return
                raise
        except S3Error as error:
            if error.status != 501 and _may_pass(error):
                raise
            why = str(error)
        self._store.in_parts = False
        _log.warn(
            "multipart uploads cannot be used in {bucket}, each object is sent in one request:"
            " {reason}",
            bucket=self._where,
            reason=why,
        )

    # -- messages -----------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"the bucket {self._client.address.bucket} at {self._client.address.base}"

    def _line(self, error: BaseException) -> str:
        if not isinstance(error, S3Error):
            return f"{self._where} cannot be used: {error}"
        region = error.region
        if region and region != self._client.address.region:
            return f"{self._where} is in the region {region}: set KAFSCALE_S3_REGION={region}"
        advice = _ADVICE.get(error.code, "")
        return f"{self._where} cannot be used: {error}{advice}"


def _may_pass(error: BaseException | None) -> bool:
    """
    Whether the same request may succeed later.
    """
    if isinstance(error, S3Error):
        return error.status >= 500 or error.status in (409, 429)
    return not isinstance(error, NoCredentials)


def _is_unknown(error: BaseException | None) -> bool:
    """
    Whether the store does not implement the request.
    """
    return isinstance(error, S3Error) and error.status == 501


_ADVICE = {
    "AccessDenied": " (the permissions s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject"
    " and s3:AbortMultipartUpload are needed)",
    "AuthorizationHeaderMalformed": " (is KAFSCALE_S3_REGION right?)",
    "ExpiredToken": " (renew the credentials)",
    "InvalidAccessKeyId": " (check AWS_ACCESS_KEY_ID or the profile)",
    "NoSuchBucket": " (create it, or check KAFSCALE_S3_BUCKET)",
    "SignatureDoesNotMatch": " (check AWS_SECRET_ACCESS_KEY or the profile)",
}
