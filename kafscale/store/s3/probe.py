"""
Whether a bucket can be trusted with a log: found out at each start, before
anything depends on it.

A broker that is promised "create only if absent" by a store that does not keep
it loses records without a word, the first time that two brokers meet. So this
is tried, with several creates at once. A store that fails is refused, unless
the metadata store is to see to that (C{KAFSCALE_S3_FENCING=metadata}); then it
is enough that what was stored can be read and listed at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.errors import (
    NoSuchObject,
    ObjectExists,
    SettingError,
    StoreContended,
    StoreUnavailable,
)
from kafscale.format import object_keys
from kafscale.format.cluster import read_claim, write_claim
from kafscale.format.errors import CorruptObject
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import NoAnswer, NoCredentials, S3Error
from kafscale.store.s3.objects import S3ObjectStore

#: How many creates of one key are tried at once.
RIVALS = 8

#: Seconds for which a store that does not answer is asked again.
PATIENCE = 10.0

T = TypeVar("T")

_log = Logger()


class Probe:
    """
    Tries a bucket.
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
        @param name: One that no other probe has.
        @param fencing: As C{KAFSCALE_S3_FENCING}.
        """
        self._store = store
        self._client: S3Client = store.client
        self._clock = clock
        self._namespace = namespace
        self._key = object_keys.probe(namespace, name)
        self._may_replace = fencing == "metadata"
        self._until = clock.seconds() + PATIENCE

    async def run(self, cluster: str) -> None:
        """
        Come back if the bucket can hold the log of this cluster.

        @raise SettingError: it cannot; says why.
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
        await self._claim(cluster)

    async def _again(self, step: Callable[[], Awaitable[T]]) -> T:
        """
        What C{step} answers, if it does in time.

        @raise SettingError: it does not, or the answer is no.
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
        Whether several creates at once told that they can be trusted. If too
        many of them have no answer, that is not said.

        @raise SettingError: they cannot be.
        """
        bodies = [b"%d" % number * 1000 for number in range(RIVALS)]
        rivals = [Deferred.fromCoroutine(self._create(key, body)) for body in bodies]
        try:
            told: Sequence[bool | None] = await gatherResults(rivals, consumeErrors=True)
        except FirstError as first:
            # Who is first says what it is; the others say the same.
            raise (first.subFailure.value or first) from None
        winners = [body for body, has_won in zip(bodies, told, strict=True) if has_won]
        found = await self._again(lambda: self._found(key))
        if len(winners) > 1 or (winners and winners != [found]):
            raise SettingError(
                f"{self._where} does not keep to If-None-Match: of {RIVALS} creates of one key"
                f" at once {len(winners)} were accepted, where it must be one. Two brokers could"
                " overwrite each other's records there, unless each has"
                " KAFSCALE_S3_FENCING=metadata"
            )
        if found in bodies and told.count(False) >= RIVALS / 2:
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
        Whether this create was the first; None when nobody knows.
        """
        while True:
            try:
                await self._store.create(key, [body])
            except ObjectExists:
                return False
            except StoreContended:  # no verdict: the others are not done
                await self._pause(0.05)
                if self._is_late:
                    return None
            except StoreUnavailable as error:
                if not _may_pass(error.__cause__):
                    raise SettingError(self._line(error.__cause__ or error)) from None
                if _is_unknown(error.__cause__):
                    raise SettingError(
                        f"{self._where} does not know If-None-Match: it can be used with"
                        " KAFSCALE_S3_FENCING=metadata only"
                    ) from None
                return None
            else:
                return True

    async def _try_one(self, key: str) -> None:
        """
        Find out whether what is stored is there at once, and whether the store
        takes it with a condition.
        """
        body = b"1" * 1000
        with suppress(ObjectExists):  # made by an attempt before
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
                f"{self._where} cannot be used: what was stored cannot be read and listed at once"
            )

    async def _try_parts(self, key: str) -> None:
        """
        Whether objects can be sent in parts without replacing others. What is
        not certain is not used: large objects are then sent in one request.
        """
        client = self._client
        why = "it replaces objects"
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
        _log.warn("the store takes no objects in parts ({why}): each is sent whole", why=why)

    # -- whose it is --------------------------------------------------------

    async def _claim(self, cluster: str) -> None:
        """
        Let the namespace belong to this cluster. Its metadata store numbers
        what is written there, and those of two would use the same numbers.
        """
        key = object_keys.cluster(self._namespace)
        claim = write_claim(cluster)

        async def read() -> bytes:
            if self._may_replace:
                with suppress(NoSuchObject):
                    return await self._store.get(key)
                await self._stand_alone(cluster, claim)
            with suppress(ObjectExists):  # somebody has claimed it: us, most of the time
                await self._store.create(key, [claim])
            return await self._store.get(key)

        try:
            owner = read_claim(key, await self._again(read))
        except CorruptObject:
            raise SettingError(f"{self._where}: {key} is not what a broker wrote there") from None
        if owner != cluster:
            raise SettingError(
                f"{self._where} has the records of another cluster in the namespace"
                f" {self._namespace} ({owner}; by its metadata this broker's is {cluster}). Use"
                " the KAFSCALE_DATA_DIR or KAFSCALE_ETCD_ENDPOINTS that belongs to it, or another"
                " KAFSCALE_NAMESPACE"
            )

    async def _stand_alone(self, cluster: str, claim: bytes) -> None:
        """
        Come back if no other cluster claims the namespace for the first time:
        each first says that it does, and looks for others afterwards. So of
        two one at least sees the other, and none replaces another's claim.
        """
        claims = object_keys.claims(self._namespace)
        mine = object_keys.claim(self._namespace, cluster)
        with suppress(ObjectExists):
            await self._store.create(mine, [claim])
        others = [info.key for info in await self._store.list(claims) if info.key != mine]
        if others:
            await self._store.delete([mine])
            raise SettingError(
                f"{self._where}: another cluster begins in the namespace {self._namespace} at the"
                f" same time. If there is none such any more, delete {others[0]} and start again"
            )

    # -- in one line --------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"the bucket {self._client.address.bucket} at {self._client.address.base}"

    def _line(self, error: BaseException) -> str:
        if not isinstance(error, S3Error):
            return f"{self._where} cannot be used: {error}"
        region = error.region
        if region and region != self._client.address.region:
            return f"{self._where} is in the region {region}: set KAFSCALE_S3_REGION to that"
        advice = _ADVICE.get(error.code, "")
        return f"{self._where} cannot be used: {error}{advice}"


def _may_pass(error: BaseException | None) -> bool:
    """
    Whether it is worth asking again.
    """
    if isinstance(error, S3Error):
        return error.status >= 500 or error.status in (409, 429)
    return not isinstance(error, NoCredentials)


def _is_unknown(error: BaseException | None) -> bool:
    """
    Whether the store says that it does not know what was asked of it.
    """
    return isinstance(error, S3Error) and error.status == 501


_ADVICE = {
    "AccessDenied": " (it takes the permissions s3:ListBucket, s3:GetObject, s3:PutObject,"
    " s3:DeleteObject and s3:AbortMultipartUpload)",
    "AuthorizationHeaderMalformed": " (is KAFSCALE_S3_REGION right?)",
    "ExpiredToken": " (renew the credentials)",
    "InvalidAccessKeyId": " (look at AWS_ACCESS_KEY_ID or the profile)",
    "NoSuchBucket": " (make it, or look at KAFSCALE_S3_BUCKET)",
    "SignatureDoesNotMatch": " (look at AWS_SECRET_ACCESS_KEY or the profile)",
}
