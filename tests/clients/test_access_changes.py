"""
Users, ACLs and quotas that are changed while brokers are killed.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from random import Random
from statistics import median

from kafscale.wire.messages import AlterUserScramCredentialsRequest
from tests.clients.broker import eventually, free_port
from tests.clients.changing import GUESTS, TOPICS, Acls, Changing, Credentials, Quotas, upsertion
from tests.clients.cluster import Cluster, ClusterBroker, ClusterTestCase
from tests.clients.raw import RawClient

KILLS = int(os.environ.get("KAFSCALE_TEST_KILLS", "3"))
"""How often one broker is killed; then all are."""

SEED = int(os.environ.get("KAFSCALE_TEST_SEED", "1"))

UNHEARD = 0.5
"""Seconds after which a request that is not answered has come to etcd."""


class KillTests(ClusterTestCase):
    """
    Three brokers, and an administrator for each kind.
    """

    def secured(self) -> Cluster:
        """
        Brokers with a listener for administrators, who are anonymous, and one for users.
        """
        cluster = self.prepared_cluster(
            inter_broker_listener_name="PLAINTEXT",
            authorizer="acl",
            super_users="User:ANONYMOUS",
            connection_failed_authentication_delay_ms=0,
        )
        for broker in cluster.brokers:
            broker.settings["listeners"] = (
                f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://127.0.0.1:{free_port()}"
            )
        cluster.start()
        with RawClient(cluster.brokers[0].port) as admin:
            for topic in TOPICS:
                admin.create(topic)
            guests = [
                upsertion(name, "SCRAM-SHA-256", secret, 0) for name, secret in GUESTS.items()
            ]
            request = AlterUserScramCredentialsRequest(deletions=[], upsertions=guests)
            codes = [each.error_code for each in admin.call(request, 0).results]
        self.assertEqual(codes, [0, 0])
        return cluster

    def kill(self, broker: ClusterBroker, unheard: bool = False) -> None:
        """
        Kill a broker while it is being asked for a change.

        @param unheard: Whether it does not hear that etcd has made the change.
        """
        if unheard:
            broker.to_etcd.hold_answers(b"/v3/kv/txn")
        least = UNHEARD if unheard else 0.0
        eventually(
            lambda: any(each.has_asked(broker, least) for each in self.changing) or self.wrong()
        )
        if not unheard:
            time.sleep(self.chance.uniform(0.0, 0.015))
        broker.kill()
        broker.to_etcd.mend()

    def wrong(self) -> bool:
        """
        Whether an administrator has found something wrong.
        """
        return any(each.wrong for each in self.changing)

    def settle(self) -> None:
        """
        All is as it was acknowledged, or as it was asked for.
        """
        with ExitStack() as stack:
            for each in self.changing:
                stack.enter_context(each.turn)
            for each in self.changing:
                if each.wrong is not None:
                    raise each.wrong
                each.settle()

    def test_killed(self) -> None:
        """
        Brokers are killed in the middle of changes, one after the other and at last all at
        once. What was acknowledged is in force at once where it was, soon on the others,
        and stays; what was not is there as a whole or not at all; and no credential, ACL or
        quota is there in part.
        """
        cluster = self.secured()
        self.chance = Random(SEED)
        self.changing = [
            Changing(kind, cluster.brokers, SEED) for kind in (Credentials(), Acls(), Quotas())
        ]
        for each in self.changing:
            self.addCleanup(each.stop)
            each.start()
        for number in range(KILLS):
            broker = self.chance.choice(cluster.brokers)
            self.kill(broker, unheard=number % 2 == 0)
            time.sleep(self.chance.uniform(0.0, 1.0))
            broker.start()
            self.settle()
        before = [len(each.seconds) for each in self.changing]
        eventually(
            lambda: self.wrong()
            or all(len(e.seconds) > n for e, n in zip(self.changing, before, strict=True))
        )
        self.kill(cluster.brokers[0])
        for broker in cluster.brokers[1:]:
            broker.kill()
        for broker in cluster.brokers:
            broker.start(wait=False)
        for broker in cluster.brokers:
            broker.wait_until_listening()
        self.settle()
        for each in self.changing:
            self.assertGreater(len(each.seconds), 10)
            self.assertLess(median(each.seconds), 1.0)
            print(
                f"\n{type(each.kind).__name__}: {len(each.seconds)} requests acknowledged and"
                f" {each.doubts} not; on all brokers after {median(each.seconds):.3f} s (median),"
                f" {max(each.seconds):.3f} s at most; changes not acknowledged: {each.outcomes}"
            )
        cluster.verify()
