"""
Apache Kafka and Kafscale have the same delegation tokens.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.clients.broker import BrokerTestCase, free_port
from tests.clients.raw import RawClient
from tests.differential.running import add_users, kafka_listeners
from tests.differential.tokens import SCRIPTS, prepare, run
from tests.harness import apache_kafka


class TokenDifferenceTests(BrokerTestCase):
    """
    The same scripts with both.
    """

    def test_same(self) -> None:
        """
        The same codes, owners, times and logins.
        """
        broker = self.prepared(
            use_memory_s3=1, authorizer="acl", allow_everyone_if_no_acl_found=1
        )
        add_users(broker)
        sasl = free_port()
        broker.settings |= {
            "listeners": f"PLAIN://127.0.0.1:{broker.port},SASL://127.0.0.1:{sasl}",
            "listener_security_protocol_map": "PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "delegation_token_secret_key": apache_kafka.TOKEN_SECRET,
        }
        broker.start()
        for port in (apache_kafka.port(), broker.port):
            with RawClient(port) as admin:
                prepare(admin)
        theirs = kafka_listeners()["SASL"]
        with ThreadPoolExecutor(2 * len(SCRIPTS)) as pool:
            wanted = {name: pool.submit(run, each, theirs) for name, each in SCRIPTS.items()}
            found = {name: pool.submit(run, each, sasl) for name, each in SCRIPTS.items()}
        for name, one in wanted.items():
            self.assertEqual(one.result(), found[name].result(), name)
        self.assertGreaterEqual(sum(len(each.result()) for each in wanted.values()), 100)
