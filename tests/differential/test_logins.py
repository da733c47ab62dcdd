"""
Apache Kafka and Kafscale authenticate in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.clients.broker import BrokerTestCase, free_port
from tests.differential.logins import ENDING, FOREVER, Step, run
from tests.differential.running import add_users, kafka_listeners


class LoginDifferenceTests(BrokerTestCase):
    """
    The same connections to both, on a listener whose sessions do not end, and on one
    where they do.
    """

    def same(self, scripts: Mapping[str, Sequence[Step]], listener: str) -> None:
        """
        Compare what is seen of each script.
        """
        broker = self.prepared(use_memory_s3=1)
        add_users(broker)
        ending = free_port()
        broker.settings |= {
            "listeners": f"SASL://127.0.0.1:{broker.port},ENDING://127.0.0.1:{ending}",
            "listener_security_protocol_map": "SASL:SASL_PLAINTEXT,ENDING:SASL_PLAINTEXT",
            "listener_name_ending_connections_max_reauth_ms": 4000,
        }
        broker.start()
        theirs = kafka_listeners()[listener]
        ours = broker.port if listener == "SASL" else ending
        with ThreadPoolExecutor(8) as pool:
            wanted = [pool.submit(run, script, theirs) for script in scripts.values()]
            found = [pool.submit(run, script, ours) for script in scripts.values()]
            differing = {
                name: (one.result(), other.result())
                for name, one, other in zip(scripts, wanted, found, strict=True)
                if one.result() != other.result()
            }
        self.assertEqual(differing, {})
        logged_in = [
            name
            for name, one in zip(scripts, wanted, strict=True)
            if any(seen[:2] == ("SaslAuthenticate", 0) for seen in one.result())
        ]
        self.assertGreaterEqual(len(logged_in), 5)

    def test_forever(self) -> None:
        """
        Sessions that do not end.
        """
        self.same(FOREVER, "SASL")

    def test_ending(self) -> None:
        """
        Sessions that end.
        """
        self.same(ENDING, "ENDING")
