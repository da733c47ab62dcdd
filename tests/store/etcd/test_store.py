"""
Tests for L{kafscale.store.etcd}, with a real etcd.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import random  # noqa: TID251 - real waits
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor  # noqa: TID251 - real connections
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from kafscale.errors import MetadataRolledBack, SettingError, StoreUnavailable
from kafscale.interfaces import Change, Compare, Entry, IMetadataStore, IWatch, Put
from kafscale.store.etcd import EtcdClient, EtcdMetadataStore
from kafscale.store.etcd.client import Login
from kafscale.store.etcd.errors import LoginRefused, NotSent
from kafscale.store.etcd.stream import Stream
from kafscale.store.http import client_certificate, trust_root
from tests.clients.broker import free_port
from tests.harness import etcd
from tests.harness.certificates import self_signed, signed
from tests.store import contract

SECONDS = 60.0

Changes = list[Sequence[Change]]
"""The changes that a watch reported, those of one commit together."""


async def until(condition: Callable[[], Any]) -> None:
    """
    Wait for a condition.
    """
    waited = 0.0
    while not condition():
        assert waited < SECONDS, f"waited for {SECONDS} s"
        await deferLater(reactor, 0.02)
        waited += 0.02


class EtcdContractTests(contract.MetadataStoreContract):
    """
    etcd keeps the contract.
    """

    timeout = 120

    async def make_store(self) -> IMetadataStore:
        """
        Make a store in a namespace of its own.
        """
        client = EtcdClient([etcd.server().url], reactor)
        return EtcdMetadataStore(client, reactor, random, etcd.namespace(), page=4)

    async def until(self, reported: Sequence[Sequence[Change]], number: int) -> None:
        """
        etcd reports changes some time after the commit.
        """
        await until(lambda: len(reported) >= number)
        self.assertEqual(len(reported), number)


class HeldClient(EtcdClient):
    """
    A client whose new streams wait while it is held.
    """

    held: Deferred[None] | None = None

    def hold(self) -> None:
        """
        Let new streams wait until L{release}.
        """
        self.held = Deferred()

    def release(self) -> None:
        """
        Let them begin.
        """
        assert self.held is not None
        held, self.held = self.held, None
        held.callback(None)

    async def stream(
        self, path: str, body: dict[str, Any], received: Callable[[dict[str, Any]], None]
    ) -> Stream:
        """
        See L{EtcdClient.stream}.
        """
        if self.held is not None:
            await self.held
        return await super().stream(path, body, received)


class EtcdCase(TestCase):
    """
    A test with an etcd of its own.
    """

    timeout = 180

    def setUp(self) -> None:
        """
        Start etcd.
        """
        self.etcd = etcd.Etcd()
        self.addCleanup(self.etcd.remove)
        self.etcd.start()
        self.reported: Changes = []

    def store(
        self, *members: str, namespace: str = "n", login: Login | None = None
    ) -> EtcdMetadataStore:
        """
        Make a store, which is closed after the test.

        @param members: The URLs of its members, if not that of the test's etcd.
        """
        client = EtcdClient(members or [self.etcd.url], reactor, login=login)
        return self.store_by(client, namespace)

    def store_by(self, client: EtcdClient, namespace: str = "n") -> EtcdMetadataStore:
        """
        Make a store with this client, which is closed after the test.
        """
        store = EtcdMetadataStore(client, reactor, random, namespace)
        self.addCleanup(store.close)
        return store

    def connections(self) -> int:
        """
        The number of connections from this process to the test's etcd.
        """
        port = f":{int(self.etcd.url.rpartition(':')[2]):04X}"
        lines = (line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
        return sum(line[2].endswith(port) and line[3] == "01" for line in lines)

    def reported_values(self) -> list[tuple[str, Any]]:
        """
        The keys and values of all changes so far; None for a deleted key.
        """
        return [
            (each.key, None if each.entry is None else each.entry.value)
            for changes in self.reported
            for each in changes
        ]


class NamespaceTests(EtcdCase):
    """
    Several clusters in one etcd.
    """

    async def test_apart(self) -> None:
        """
        The keys of one namespace are not seen in another, not even in one whose
        name is a prefix of it.
        """
        one, other = self.store(namespace="a"), self.store(namespace="ab")
        await one.commit([], [Put("x", 1)])
        await other.commit([], [Put("x", 2)])
        self.assertEqual([each.value for each in (await one.range(""))[0]], [1])
        self.assertEqual([each.value for each in (await other.range(""))[0]], [2])


class LimitTests(EtcdCase):
    """
    The limits of etcd.
    """

    async def test_too_large(self) -> None:
        """
        A value that is too large for etcd, or for its gateway, is a mistake of the caller: a
        store that did not answer would be asked again.
        """
        store = self.store()
        for size in (2_000_000, 4_000_000):
            with self.assertRaises(ValueError):
                await store.commit([], [Put("key", "x" * size)])
        self.assertIsNone(await store.get("key"))


class OutageTests(EtcdCase):
    """
    An etcd that is unavailable for a while.
    """

    async def test_restart(self) -> None:
        """
        While etcd is unavailable every call fails. When it is back everything
        goes on: a watch reports each change once, also those made meanwhile,
        and a lease is renewed beyond its time.
        """
        store = self.store()
        start = await store.commit([], [Put("w/a", 1)])
        await store.watch("w/", start, self.reported.append)
        lease = await store.lease(3)
        await store.commit([], [Put("w/leased", 1, lease=lease)])
        await until(lambda: len(self.reported) == 1)
        self.etcd.kill()
        for call in (lambda: store.get("w/a"), lambda: store.commit([], [Put("w/a", 2)])):
            with self.assertRaises(StoreUnavailable):
                await call()
        self.etcd.start()
        other = self.store()
        await other.commit([], [Put("w/a", 3)])
        await store.commit([], [Put("w/a", 4)])
        await until(lambda: len(self.reported) == 3)
        await deferLater(reactor, 4)
        self.assertEqual(self.reported_values(), [("w/leased", 1), ("w/a", 3), ("w/a", 4)])
        self.assertIsNotNone(await store.get("w/leased"))
        await store.revoke(lease)
        await until(lambda: len(self.reported) == 4)

    async def test_no_answer(self) -> None:
        """
        A request to a member that sends no answer times out, with an unknown
        outcome.
        """
        self.patch(EtcdClient, "seconds", 1.0)
        store = self.store()
        await store.commit([], [Put("a", 1)])
        self.etcd.pause()
        try:
            with self.assertRaisesRegex(StoreUnavailable, "no answer in 1 s"):
                await store.commit([], [Put("a", 2)])
        finally:
            self.etcd.resume()
        await store.commit([], [Put("a", 3)])

    async def test_silent_stream(self) -> None:
        """
        A stream without messages is replaced after a while, and no change is
        lost.
        """
        self.patch(etcd_watch(), "QUIET_SECONDS", 0.3)
        store = self.store()
        start = await store.commit([], [Put("a", 1)])
        await store.watch("", start, self.reported.append)
        for number in range(5):
            await deferLater(reactor, 0.5)
            await store.commit([], [Put("a", number)])
        await until(lambda: len(self.reported) == 5)
        # The earlier streams are closed. One is left, and a connection for calls.
        await until(lambda: self.connections() <= 2)
        self.assertEqual(self.reported_values(), [("a", number) for number in range(5)])

    async def test_lease_ends(self) -> None:
        """
        A lease that is no longer renewed ends, and its keys are deleted.
        """
        first, second = self.store(), self.store()
        lease = await first.lease(1)
        revision = await first.commit([], [Put("a", 1, lease=lease)])
        await second.watch("", revision, self.reported.append)
        await deferLater(reactor, 3)
        self.assertEqual(self.reported, [])
        await first.close()
        await until(lambda: self.reported)
        self.assertEqual(self.reported_values(), [("a", None)])


class RollbackTests(EtcdCase):
    """
    An etcd that is restored from a backup.
    """

    def setUp(self) -> None:
        """
        Choose a file for the backup.
        """
        super().setUp()
        self.backup = Path(self.mktemp())

    def back_up(self) -> None:
        """
        Make a backup.
        """
        self.etcd.kill()
        self.etcd.save(self.backup)
        self.etcd.start()

    def restore(self) -> None:
        """
        Restore the backup.
        """
        self.etcd.kill()
        self.etcd.load(self.backup)
        self.etcd.start()

    async def test_noticed(self) -> None:
        """
        A store that has seen a later revision, in an answer or from a watch,
        notices the rollback at the first answer, and refuses every call from
        then on, also when etcd's revision is as high again.
        """
        store, watching, other = self.store(), self.store(), self.store()
        start = await store.commit([], [Put("a", 1)])
        await watching.watch("", start, self.reported.append)
        self.back_up()
        last = await until_answered(lambda: store.commit([], [Put("a", 2)]))
        await until(lambda: self.reported)
        self.restore()
        for each in (store, watching):
            line = f"at revision {start}, and was at {last}"
            with self.assertRaisesRegex(MetadataRolledBack, line):
                await until_answered(partial(each.get, "a"))
        for value in range(5):
            await until_answered(partial(other.commit, [], [Put("a", value)]))
        for call in (lambda: store.get("a"), lambda: watching.commit([], [Put("a", 9)])):
            with self.assertRaises(MetadataRolledBack):
                await call()
        entry = await other.get("a")
        assert entry is not None
        self.assertEqual(entry.value, 4)


class MembersTests(EtcdCase):
    """
    A cluster of several members.
    """

    async def test_next(self) -> None:
        """
        A member that refuses connections is passed over, also by commits.
        """
        store = self.store(f"http://127.0.0.1:{free_port()}", self.etcd.url)
        revision = await store.commit([], [Put("a", 1)])
        self.assertEqual(await store.get("a"), Entry("a", 1, revision))
        await store.watch("", revision, self.reported.append)
        await store.commit([], [Put("a", 2)])
        await until(lambda: self.reported)

    async def test_cut_off(self) -> None:
        """
        A member that has lost the others answers no read: it may have missed
        commits.
        """
        self.patch(EtcdClient, "seconds", 2.0)
        store = self.store()
        revision = await store.commit([], [Put("a", 1)])
        self.assertTrue(await store.holds([Compare("a", revision)]))
        self.etcd.ask("/v3/cluster/member/add", {"peerURLs": [f"http://127.0.0.1:{free_port()}"]})
        reads: list[Deferred[Any]] = [  # all at once, before it notices
            Deferred.fromCoroutine(store.get("a")),
            Deferred.fromCoroutine(store.holds([Compare("a", revision)])),
            Deferred.fromCoroutine(store.holds([Compare("a", 0)])),
        ]
        for read in reads:
            with self.assertRaises(StoreUnavailable):
                await read

    async def test_none(self) -> None:
        """
        If no member can be connected to, the error says so.
        """
        port = free_port()
        store = self.store(f"http://127.0.0.1:{port}")
        with self.assertRaisesRegex(NotSent, rf"http://127.0.0.1:{port}: .*refused"):
            await store.get("a")


class ChangesTests(EtcdCase):
    """
    Changes that other programs make, and callbacks that fail.
    """

    async def test_not_ours(self) -> None:
        """
        A value that is not JSON is ignored. Later changes are reported.
        """
        store = self.store()
        revision = await store.commit([], [Put("a", 1)])
        await store.watch("", revision, self.reported.append)
        self.etcd.ask("/v3/kv/put", {"key": etcd.base64("n/b"), "value": etcd.base64("{no")})
        await store.commit([], [Put("c", 1)])
        await until(lambda: self.reported)
        self.assertEqual(self.reported_values(), [("c", 1)])
        self.flushLoggedErrors()

    async def test_refused(self) -> None:
        """
        A callback that fails is called for the next change, too. No callback is
        called after the watch is stopped, also if it stops the watch itself.
        """
        store = self.store()
        revision = await store.commit([], [Put("a", 1)])

        def fail(changes: Sequence[Change]) -> None:
            self.reported.append(changes)
            raise ValueError("no")

        await store.watch("", revision, fail)
        last = await store.commit([], [Put("a", 2)])
        await store.commit([], [Put("a", 3)])
        await until(lambda: len(self.reported) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

        reported: Changes = []

        def stop(changes: Sequence[Change]) -> None:
            reported.append(changes)
            watch.stop()

        watch = await store.watch("", last, stop)
        await store.commit([], [Put("a", 4)])
        await until(lambda: len(self.reported) == 3)
        await deferLater(reactor, 0.2)
        self.assertEqual(len(reported), 1)
        self.flushLoggedErrors(ValueError)


class CompactionTests(EtcdCase):
    """
    An etcd that compacts its history.
    """

    def setUp(self) -> None:
        """
        A store whose watches can be held away from etcd.
        """
        super().setUp()
        self.client = HeldClient([self.etcd.url], reactor)

    async def cut_off(self, watch: IWatch, other: IMetadataStore) -> None:
        """
        End the streams of the watches; new ones wait until they are released.
        """
        self.client.hold()
        self.etcd.kill()
        await until_raises(lambda: other.get("w/same"))
        await until(lambda: watch.behind() > 0)
        self.etcd.start()

    async def test_watch_behind(self) -> None:
        """
        A watch whose stream was cut, and whose revision is compacted meanwhile,
        reports the differences: keys that were put, put again or deleted, and
        no key that is as it was reported.
        """
        store, other = self.store_by(self.client), self.store()
        puts = [Put(f"w/{name}", 1) for name in ("gone", "same", "changed")]
        start = await store.commit([], puts)
        watch = await store.watch("w/", start, self.reported.append)
        self.assertEqual(watch.behind(), 0.0)
        await self.cut_off(watch, other)
        for key, value in (("n/w/changed", "2"), ("n/w/new", "3")):
            self.etcd.ask("/v3/kv/put", {"key": etcd.base64(key), "value": etcd.base64(value)})
        self.etcd.ask("/v3/kv/deleterange", {"key": etcd.base64("n/w/gone")})
        self.etcd.ask("/v3/kv/compaction", {"revision": str(start + 3)})
        self.client.release()
        await until(lambda: len(self.reported_values()) >= 3)
        self.assertEqual(
            sorted(self.reported_values(), key=str),
            [("w/changed", 2), ("w/gone", None), ("w/new", 3)],
        )
        last = await other.commit([], [Put("w/new", 4)])
        await until(lambda: len(self.reported_values()) >= 4)
        self.assertEqual(self.reported[-1][0], Change("w/new", Entry("w/new", 4, last), last))
        self.assertEqual(watch.behind(), 0.0)

    async def test_caught_up_without_a_stream(self) -> None:
        """
        A watch that catches up while its stream is cut reports what was put and deleted.
        The stream that follows reports only what came after, also if that is a deletion,
        and the history is compacted.
        """
        store, other = self.store_by(self.client), self.store()
        start = await store.commit([], [Put("w/same", 1), Put("w/gone", 1)])
        watch = await store.watch("w/", start, self.reported.append)
        await self.cut_off(watch, other)
        self.assertEqual(await store.catch_up(watch), start)
        self.assertEqual(self.reported_values(), [])
        self.etcd.ask(
            "/v3/kv/put", {"key": etcd.base64("n/w/short"), "value": etcd.base64("2")}
        )
        self.assertEqual(await store.catch_up(watch), start + 1)
        self.assertEqual(self.reported_values(), [("w/short", 2)])
        # As many keys as before: one is gone, and one has no value of Kafscale's.
        self.etcd.ask("/v3/kv/put", {"key": etcd.base64("n/w/no"), "value": etcd.base64("{no")})
        self.etcd.ask("/v3/kv/deleterange", {"key": etcd.base64("n/w/gone")})
        self.assertEqual(await store.catch_up(watch), start + 3)
        self.etcd.ask("/v3/kv/deleterange", {"key": etcd.base64("n/w/short")})
        self.etcd.ask("/v3/kv/compaction", {"revision": str(start + 4)})
        self.client.release()
        await until(lambda: len(self.reported_values()) >= 3)
        self.assertEqual(
            self.reported_values(), [("w/short", 2), ("w/gone", None), ("w/short", None)]
        )
        self.flushLoggedErrors()

    async def test_from_a_forgotten_revision(self) -> None:
        """
        A watch from a revision that is compacted is refused.
        """
        store = self.store()
        old = await store.commit([], [Put("a", 1)])
        revision = await store.commit([], [Put("a", 2)])
        self.etcd.ask("/v3/kv/compaction", {"revision": str(revision)})
        with self.assertRaises(StoreUnavailable):
            await store.watch("", old - 1, self.reported.append)


class TLSTests(TestCase):
    """
    An etcd with TLS, which authenticates its clients by certificates.
    """

    timeout = 180

    def setUp(self) -> None:
        """
        Start an etcd that trusts one certificate, which is its own, too.
        """
        other, ours = self_signed("localhost"), self_signed("localhost")
        self.files: dict[str, str] = {}
        for name, content in (
            ("other", Certificate(other.original).dumpPEM()),
            ("certificate", Certificate(ours.original).dumpPEM()),
            ("key", ours.privateKey.dump(FILETYPE_PEM)),
        ):
            self.write(name, content)
        self.etcd = etcd.Etcd(
            {
                "cert-file": self.files["certificate"],
                "key-file": self.files["key"],
                "trusted-ca-file": self.files["certificate"],
                "client-cert-auth": "true",
            }
        )
        self.addCleanup(self.etcd.remove)
        self.etcd.start()

    def write(self, name: str, content: bytes) -> None:
        """
        Write a file, and keep its path under a name.
        """
        self.files[name] = self.mktemp()
        Path(self.files[name]).write_bytes(content)

    def store(self, trusted: str, proven: bool) -> EtcdMetadataStore:
        """
        Make a store.

        @param trusted: The name of the file with the certificate that it trusts.
        @param proven: Whether it has a certificate of its own.
        """
        proof = client_certificate(self.files["certificate"], self.files["key"])
        client = EtcdClient(
            [self.etcd.url], reactor, trust_root(self.files[trusted]), proof if proven else None
        )
        store = EtcdMetadataStore(client, reactor, random, "n")
        self.addCleanup(store.close)
        return store

    async def test_known(self) -> None:
        """
        A client with the right certificates can do everything.
        """
        store = self.store("certificate", proven=True)
        revision = await store.commit([], [Put("a", 1)])
        reported: Changes = []
        await store.watch("", revision, reported.append)
        await store.commit([], [Put("a", 2)])
        await until(lambda: reported)

    async def test_unknown(self) -> None:
        """
        A client without a certificate is refused, and a server that is not
        trusted is not used.
        """
        for trusted, proven in (("certificate", False), ("other", True)):
            with self.assertRaises(StoreUnavailable):
                await self.store(trusted, proven).commit([], [Put("a", 1)])

    async def test_chain(self) -> None:
        """
        A client whose certificate has an intermediate sends both.
        """
        root = self_signed("root")
        between = signed("between", root)
        ours = signed("localhost", between)
        pem = {
            name: Certificate(each.original).dumpPEM()
            for name, each in (("root", root), ("between", between), ("ours", ours))
        }
        for name, content in (
            ("root", pem["root"]),
            ("alone", pem["ours"]),
            ("all", pem["ours"] + pem["between"]),
            ("key", ours.privateKey.dump(FILETYPE_PEM)),
        ):
            self.write(name, content)
        server = etcd.Etcd(
            {
                "cert-file": self.files["all"],
                "key-file": self.files["key"],
                "trusted-ca-file": self.files["root"],
                "client-cert-auth": "true",
            }
        )
        self.addCleanup(server.remove)
        server.start()
        for shown, is_known in (("all", True), ("alone", False)):
            proof = client_certificate(self.files[shown], self.files["key"])
            client = EtcdClient([server.url], reactor, trust_root(self.files["root"]), proof)
            store = EtcdMetadataStore(client, reactor, random, "n")
            self.addCleanup(store.close)
            if is_known:
                await store.commit([], [Put("a", 1)])
            else:
                with self.assertRaises(StoreUnavailable):
                    await store.commit([], [Put("a", 1)])

    def test_not_a_pair(self) -> None:
        """
        A certificate and a key that do not belong together, or a file that
        cannot be read, are a SettingError.
        """
        for files in (("other", "key"), ("key", "key"), ("certificate", "other")):
            with self.assertRaisesRegex(SettingError, "not a pair"):
                client_certificate(*(self.files[name] for name in files))
        with self.assertRaisesRegex(SettingError, "cannot read"):
            client_certificate(self.files["certificate"], "/nowhere")


class LoginTests(EtcdCase):
    """
    An etcd with authentication.
    """

    def setUp(self) -> None:
        """
        Add the user root, and enable authentication.
        """
        super().setUp()
        self.etcd.ask("/v3/auth/role/add", {"name": "root"})
        self.etcd.ask("/v3/auth/user/add", {"name": "root", "password": "secret"})
        self.etcd.ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.etcd.ask("/v3/auth/enable", {})

    async def test_with_password(self) -> None:
        """
        With the password a store can do everything, also after etcd has lost
        the token. A watch goes on, too.
        """
        store = self.store(login=Login("root", "secret"))
        revision = await store.commit([], [Put("a", 1)])
        await store.watch("", revision, self.reported.append)
        self.etcd.kill()
        self.etcd.start()
        # The watch of the first store must notice it by itself.
        await self.store(login=Login("root", "secret")).commit([], [Put("a", 2)])
        await until(lambda: self.reported)
        # The connection of the pool may be dead.
        with contextlib.suppress(StoreUnavailable):
            await store.get("a")
        await store.commit([], [Put("a", 3)])

    async def test_without(self) -> None:
        """
        Without the password a store can do nothing, and the error says why.
        """
        for login in (None, Login("root", "wrong"), Login("nobody", "secret")):
            store = self.store(login=login)
            for call in (lambda: store.get("a"), lambda: store.commit([], [Put("a", 1)])):  # noqa: B023
                with self.assertRaisesRegex(LoginRefused, "user name|authentication failed"):
                    await call()
            with self.assertRaises(LoginRefused):
                await store.watch("", 1, self.reported.append)


async def until_raises(call: Callable[[], Any]) -> None:
    """
    Repeat a call until it fails.
    """
    while True:
        try:
            await call()
        except StoreUnavailable:
            return


async def until_answered(call: Callable[[], Any]) -> Any:
    """
    Repeat a call until etcd answers, and return the answer.
    """
    while True:
        try:
            return await call()
        except MetadataRolledBack:
            raise
        except StoreUnavailable:
            await deferLater(reactor, 0.1)


def etcd_watch() -> Any:
    """
    The module L{kafscale.store.etcd.watch}.
    """
    from kafscale.store.etcd import watch

    return watch
