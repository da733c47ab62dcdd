"""
The metadata store in a real etcd.
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
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from kafscale.errors import MetadataRolledBack, SettingError, StoreUnavailable
from kafscale.interfaces import Change, Entry, IMetadataStore, Put
from kafscale.store.etcd import EtcdClient, EtcdMetadataStore
from kafscale.store.etcd.client import Login
from kafscale.store.etcd.faults import LoginRefused, NotSent
from kafscale.store.http import client_certificate, trust_root
from tests import etcd
from tests.certificates import self_signed, signed
from tests.clients.broker import free_port
from tests.store import contract

SECONDS = 60.0

Told = list[Sequence[Change]]


async def until(what: Callable[[], Any]) -> None:
    """
    Return when it is so.
    """
    waited = 0.0
    while not what():
        assert waited < SECONDS, f"not so after {SECONDS} s"
        await deferLater(reactor, 0.02)
        waited += 0.02


class EtcdContractTests(contract.MetadataStoreContract):
    """
    etcd keeps the contract.
    """

    timeout = 120

    async def make_store(self) -> IMetadataStore:
        """
        In a namespace of its own.
        """
        client = EtcdClient([etcd.server().url], reactor)
        return EtcdMetadataStore(client, reactor, random, etcd.namespace(), page=4)

    async def until(self, told: Sequence[Sequence[Change]], number: int) -> None:
        """
        etcd tells some time later.
        """
        await until(lambda: len(told) >= number)
        self.assertEqual(len(told), number)


class EtcdCase(TestCase):
    """
    An etcd of the test's own.
    """

    timeout = 180

    def setUp(self) -> None:
        """
        It is started.
        """
        self.etcd = etcd.Etcd()
        self.addCleanup(self.etcd.remove)
        self.etcd.start()
        self.told: Told = []

    def store(
        self, *members: str, namespace: str = "n", login: Login | None = None
    ) -> EtcdMetadataStore:
        """
        A store, closed with the test.
        """
        client = EtcdClient(members or [self.etcd.url], reactor, login=login)
        store = EtcdMetadataStore(client, reactor, random, namespace)
        self.addCleanup(store.close)
        return store

    def connections(self) -> int:
        """
        How many this process has to the test's etcd.
        """
        port = f":{int(self.etcd.url.rpartition(':')[2]):04X}"
        lines = (line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
        return sum(line[2].endswith(port) and line[3] == "01" for line in lines)

    def keys_told(self) -> list[tuple[str, Any]]:
        """
        Keys and values of all changes so far.
        """
        return [
            (each.key, None if each.entry is None else each.entry.value)
            for changes in self.told
            for each in changes
        ]


class NamespaceTests(EtcdCase):
    """
    Several clusters in one etcd.
    """

    async def test_apart(self) -> None:
        """
        Keys of one namespace are not seen in another, not even in one whose
        name begins alike.
        """
        one, other = self.store(namespace="a"), self.store(namespace="ab")
        await one.commit([], [Put("x", 1)])
        await other.commit([], [Put("x", 2)])
        self.assertEqual([each.value for each in (await one.range(""))[0]], [1])
        self.assertEqual([each.value for each in (await other.range(""))[0]], [2])


class OutageTests(EtcdCase):
    """
    etcd is away.
    """

    async def test_restart(self) -> None:
        """
        While it is away everything fails; when it is back everything goes on:
        a watch tells each change once, also those made while it was not
        watching, and a lease that is older than its time is kept.
        """
        store = self.store()
        start = await store.commit([], [Put("w/a", 1)])
        await store.watch("w/", start, self.told.append)
        lease = await store.lease(3)
        await store.commit([], [Put("w/leased", 1, lease=lease)])
        await until(lambda: len(self.told) == 1)
        self.etcd.kill()
        for call in (lambda: store.get("w/a"), lambda: store.commit([], [Put("w/a", 2)])):
            with self.assertRaises(StoreUnavailable):
                await call()
        self.etcd.start()
        other = self.store()
        await other.commit([], [Put("w/a", 3)])
        await store.commit([], [Put("w/a", 4)])
        await until(lambda: len(self.told) == 3)
        await deferLater(reactor, 4)
        self.assertEqual(self.keys_told(), [("w/leased", 1), ("w/a", 3), ("w/a", 4)])
        self.assertIsNotNone(await store.get("w/leased"))
        await store.revoke(lease)
        await until(lambda: len(self.told) == 4)

    async def test_no_answer(self) -> None:
        """
        A member that takes the question and says nothing is given up after a
        while, and the outcome is unknown.
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
        A stream on which nothing is heard for long is begun anew, and loses
        nothing.
        """
        self.patch(etcd_watch(), "QUIET_SECONDS", 0.3)
        store = self.store()
        start = await store.commit([], [Put("a", 1)])
        await store.watch("", start, self.told.append)
        for number in range(5):
            await deferLater(reactor, 0.5)
            await store.commit([], [Put("a", number)])
        await until(lambda: len(self.told) == 5)
        # The streams before are gone: one stays, and one for calls.
        await until(lambda: self.connections() <= 2)
        self.assertEqual(self.keys_told(), [("a", number) for number in range(5)])

    async def test_lease_ends(self) -> None:
        """
        A lease that nobody keeps alive ends, and its keys go.
        """
        first, second = self.store(), self.store()
        lease = await first.lease(1)
        revision = await first.commit([], [Put("a", 1, lease=lease)])
        await second.watch("", revision, self.told.append)
        await deferLater(reactor, 3)
        self.assertEqual(self.told, [])
        await first.close()
        await until(lambda: self.told)
        self.assertEqual(self.keys_told(), [("a", None)])


class SetBackTests(EtcdCase):
    """
    etcd was restored from a backup.
    """

    def setUp(self) -> None:
        """
        There is one.
        """
        super().setUp()
        self.backup = Path(self.mktemp())

    def back_up(self) -> None:
        """
        Of now.
        """
        self.etcd.kill()
        self.etcd.save(self.backup)
        self.etcd.start()

    def set_back(self) -> None:
        """
        To then.
        """
        self.etcd.kill()
        self.etcd.load(self.backup)
        self.etcd.start()

    async def test_noticed(self) -> None:
        """
        Who was told of a later revision, by an answer or by a watch, notices
        it at the first answer; and believes nothing that comes after it, also
        when etcd's revision is as high again.
        """
        store, watching, other = self.store(), self.store(), self.store()
        start = await store.commit([], [Put("a", 1)])
        await watching.watch("", start, self.told.append)
        self.back_up()
        last = await until_answered(lambda: store.commit([], [Put("a", 2)]))
        await until(lambda: self.told)
        self.set_back()
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
    Several members.
    """

    async def test_next(self) -> None:
        """
        Who cannot be connected to is passed over, by commits, too.
        """
        store = self.store(f"http://127.0.0.1:{free_port()}", self.etcd.url)
        revision = await store.commit([], [Put("a", 1)])
        self.assertEqual(await store.get("a"), Entry("a", 1, revision))
        await store.watch("", revision, self.told.append)
        await store.commit([], [Put("a", 2)])
        await until(lambda: self.told)

    async def test_none(self) -> None:
        """
        With none of them that is what is said.
        """
        port = free_port()
        store = self.store(f"http://127.0.0.1:{port}")
        with self.assertRaisesRegex(NotSent, rf"http://127.0.0.1:{port}: .*refused"):
            await store.get("a")


class TakenTests(EtcdCase):
    """
    Changes that somebody else makes, or nobody takes.
    """

    async def test_not_ours(self) -> None:
        """
        A value that is no JSON is no change; what comes after it is.
        """
        store = self.store()
        revision = await store.commit([], [Put("a", 1)])
        await store.watch("", revision, self.told.append)
        self.etcd.ask("/v3/kv/put", {"key": etcd.base64("n/b"), "value": etcd.base64("{no")})
        await store.commit([], [Put("c", 1)])
        await until(lambda: self.told)
        self.assertEqual(self.keys_told(), [("c", 1)])
        self.flushLoggedErrors()

    async def test_refused(self) -> None:
        """
        Who fails at a change is told the next one, too; and nothing once the
        watch is stopped, also by the one who is told.
        """
        store = self.store()
        revision = await store.commit([], [Put("a", 1)])

        def fail(changes: Sequence[Change]) -> None:
            self.told.append(changes)
            raise ValueError("no")

        await store.watch("", revision, fail)
        last = await store.commit([], [Put("a", 2)])
        await store.commit([], [Put("a", 3)])
        await until(lambda: len(self.told) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

        told: Told = []

        def stop(changes: Sequence[Change]) -> None:
            told.append(changes)
            watch.stop()

        watch = await store.watch("", last, stop)
        await store.commit([], [Put("a", 4)])
        await until(lambda: len(self.told) == 3)
        await deferLater(reactor, 0.2)
        self.assertEqual(len(told), 1)
        self.flushLoggedErrors(ValueError)


class CompactionTests(EtcdCase):
    """
    etcd forgets.
    """

    async def test_watch_behind(self) -> None:
        """
        A watch whose stream was cut, and whose place is compacted meanwhile,
        tells what is different now: what was put, what was put again, what is
        gone; and nothing of what is as it was told.
        """
        store, other = self.store(), self.store()
        puts = [Put(f"w/{name}", 1) for name in ("gone", "same", "changed")]
        start = await store.commit([], puts)
        await store.watch("w/", start, self.told.append)
        self.etcd.kill()
        await until_raises(lambda: other.get("w/gone"))
        self.etcd.start()
        # Quicker than the watch, which waits half a second.
        for key, value in (("n/w/changed", "2"), ("n/w/new", "3")):
            self.etcd.ask("/v3/kv/put", {"key": etcd.base64(key), "value": etcd.base64(value)})
        self.etcd.ask("/v3/kv/deleterange", {"key": etcd.base64("n/w/gone")})
        self.etcd.ask("/v3/kv/compaction", {"revision": str(start + 3)})
        await until(lambda: len(self.keys_told()) >= 3)
        self.assertEqual(
            sorted(self.keys_told(), key=str), [("w/changed", 2), ("w/gone", None), ("w/new", 3)]
        )
        last = await other.commit([], [Put("w/new", 4)])
        await until(lambda: len(self.keys_told()) >= 4)
        self.assertEqual(self.told[-1][0], Change("w/new", Entry("w/new", 4, last), last))

    async def test_from_a_forgotten_revision(self) -> None:
        """
        A watch cannot begin where nothing is known any more.
        """
        store = self.store()
        old = await store.commit([], [Put("a", 1)])
        revision = await store.commit([], [Put("a", 2)])
        self.etcd.ask("/v3/kv/compaction", {"revision": str(revision)})
        with self.assertRaises(StoreUnavailable):
            await store.watch("", old - 1, self.told.append)


class TLSTests(TestCase):
    """
    etcd that speaks TLS, and knows its clients by their certificates.
    """

    timeout = 180

    def setUp(self) -> None:
        """
        One certificate for all, and a key to it.
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
        A file of its own for this.
        """
        self.files[name] = self.mktemp()
        Path(self.files[name]).write_bytes(content)

    def store(self, trusted: str, proven: bool) -> EtcdMetadataStore:
        """
        A store that believes these, and shows its certificate or does not.
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
        Who is known, and knows etcd, may do everything.
        """
        store = self.store("certificate", proven=True)
        revision = await store.commit([], [Put("a", 1)])
        told: Told = []
        await store.watch("", revision, told.append)
        await store.commit([], [Put("a", 2)])
        await until(lambda: told)

    async def test_unknown(self) -> None:
        """
        Others may do nothing, on neither side.
        """
        for trusted, proven in (("certificate", False), ("other", True)):
            with self.assertRaises(StoreUnavailable):
                await self.store(trusted, proven).commit([], [Put("a", 1)])

    async def test_chain(self) -> None:
        """
        Who is known by one who is known shows both certificates.
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
        A certificate and a key that do not belong together, or are not there,
        are refused.
        """
        for files in (("other", "key"), ("key", "key"), ("certificate", "other")):
            with self.assertRaisesRegex(SettingError, "not a pair"):
                client_certificate(*(self.files[name] for name in files))
        with self.assertRaisesRegex(SettingError, "cannot read"):
            client_certificate(self.files["certificate"], "/nowhere")


class LoginTests(EtcdCase):
    """
    etcd with authentication.
    """

    def setUp(self) -> None:
        """
        root, and nobody else.
        """
        super().setUp()
        self.etcd.ask("/v3/auth/role/add", {"name": "root"})
        self.etcd.ask("/v3/auth/user/add", {"name": "root", "password": "secret"})
        self.etcd.ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.etcd.ask("/v3/auth/enable", {})

    async def test_with_password(self) -> None:
        """
        Who has the password may do everything, also when etcd has forgotten
        the token; a watch, too.
        """
        store = self.store(login=Login("root", "secret"))
        revision = await store.commit([], [Put("a", 1)])
        await store.watch("", revision, self.told.append)
        self.etcd.kill()
        self.etcd.start()
        # The watch finds out by itself.
        await self.store(login=Login("root", "secret")).commit([], [Put("a", 2)])
        await until(lambda: self.told)
        # The connection that was kept may have ended.
        with contextlib.suppress(StoreUnavailable):
            await store.get("a")
        await store.commit([], [Put("a", 3)])

    async def test_without(self) -> None:
        """
        Others may do nothing, and are told why.
        """
        for login in (None, Login("root", "wrong"), Login("nobody", "secret")):
            store = self.store(login=login)
            for call in (lambda: store.get("a"), lambda: store.commit([], [Put("a", 1)])):  # noqa: B023
                with self.assertRaisesRegex(LoginRefused, "user name|authentication failed"):
                    await call()
            with self.assertRaises(LoginRefused):
                await store.watch("", 1, self.told.append)


async def until_raises(call: Callable[[], Any]) -> None:
    """
    Return when it fails.
    """
    while True:
        try:
            await call()
        except StoreUnavailable:
            return


async def until_answered(call: Callable[[], Any]) -> Any:
    """
    What it answers, as soon as etcd is there again.
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
    The module, not what the package shows.
    """
    from kafscale.store.etcd import watch

    return watch
