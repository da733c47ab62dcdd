"""
Delegation tokens: Apache Kafka's tool, and clients that log in by a token.
"""

from __future__ import annotations

import re
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from kafscale.access.authentication.scram import SHA_256
from kafscale.tap.users import credentials_of
from kafscale.wire.messages import (
    CreateDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from tests.access.authentication.scram_client import ScramClient
from tests.clients.broker import Broker, BrokerTestCase, free_port
from tests.clients.cluster import ClusterTestCase
from tests.clients.kafka_tools import tools
from tests.clients.raw import RawClient
from tests.harness.peers import go_program

SECONDS = 300.0
SASL_AUTHENTICATION_FAILED = 58
USERS = ("admin", "alice", "bob")
KEY = "a key of the cluster"

PROPERTIES = """
security.protocol=SASL_PLAINTEXT
sasl.mechanism={mechanism}
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
    username="{name}" password="{password}"{more};
"""

TOKEN = re.compile(
    r"(?P<id>[\w-]{20,}) +(?P<hmac>[A-Za-z0-9+/]{86}==) +(?P<owner>\S+) +(?P<requester>\S+)"
    r" +\[(?P<renewers>.*?)\] +(?P<issued>\S+) +(?P<expires>\S+) +(?P<most>\S+)"
)
"""A line of the tool about a token."""

WRITE = """
echo hello | kafka-console-producer.sh --bootstrap-server SERVER --topic t \
    --command-config token.properties
kafka-console-consumer.sh --bootstrap-server SERVER --topic t --from-beginning \
    --max-messages COUNT --command-config token.properties
"""


def users() -> str:
    """
    A file of users.
    """
    return "\n".join(
        f"{name}:{each.to_text(mechanism)}"
        for name in USERS
        for mechanism, each in credentials_of(f"{name}-secret").items()
    )


class TokenTestCase(BrokerTestCase):
    """
    A broker on which users log in by SCRAM, with the tools of Apache Kafka.
    """

    def with_tokens(self, **settings: object) -> Broker:
        """
        A broker with tokens. The secret key is in a file.
        """
        broker = self.prepared(use_memory_s3=1, **settings)
        (broker.folder / "users").write_text(users())
        (broker.folder / "key").write_text(KEY)
        broker.settings |= {
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{broker.port}",
            "users_file": "users",
            "authorizer": "acl",
            "super_users": "User:admin",
            "delegation_token_secret_key_file": "key",
        }
        self.environment = tools(self.folder / "bin", "4.4")
        for name in USERS:
            self.properties(name, name, f"{name}-secret")
        return broker.start()

    def properties(
        self,
        file: str,
        name: str,
        password: str,
        more: str = "",
        mechanism: str = "SCRAM-SHA-256",
    ) -> None:
        """
        Write a file for C{--command-config}.

        @param more: Options of the login module.
        """
        text = PROPERTIES.format(mechanism=mechanism, name=name, password=password, more=more)
        (self.folder / f"{file}.properties").write_text(text)

    def finish(self, command: list[str], status: int = 0) -> str:
        """
        What a command prints, which ends with a status.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, status, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout + done.stderr

    def tool(self, broker: Broker, user: str, options: str, status: int = 0) -> str:
        """
        What C{kafka-delegation-tokens.sh} prints.
        """
        at = f"--bootstrap-server {broker.address} --command-config {user}.properties"
        return self.finish(f"kafka-delegation-tokens.sh {at} {options}".split(), status)

    def tokens(self, text: str) -> list[Mapping[str, str]]:
        """
        The tokens in what the tool prints.
        """
        return [match.groupdict() for match in TOKEN.finditer(text)]

    def created(self, broker: Broker, user: str, options: str = "") -> Mapping[str, str]:
        """
        A new token.
        """
        options = f"--create --max-life-time-period -1 {options}"
        (token,) = self.tokens(self.tool(broker, user, options))
        return token


class ToolTests(TokenTestCase):
    """
    C{kafka-delegation-tokens.sh}, with each option of its help.
    """

    def test_all_options(self) -> None:
        """
        Tokens are created for oneself and for others, described, renewed and expired, and who
        may not do so hears why. The log has no secret.
        """
        broker = self.with_tokens()
        token = self.created(broker, "alice", "--renewer-principal User:bob")
        self.assertEqual(
            (token["owner"], token["requester"], token["renewers"]),
            ("User:alice", "User:alice", "User:bob"),
        )
        self.assertLess(token["issued"], token["expires"])
        self.assertLess(token["expires"], token["most"])
        short = self.tool(broker, "alice", "--create --max-life-time-period 3600000")
        (short_lived,) = self.tokens(short)
        self.assertEqual(short_lived["expires"], short_lived["most"])
        other = self.created(broker, "admin", "--owner-principal User:bob")
        self.assertEqual((other["owner"], other["requester"]), ("User:bob", "User:admin"))
        refused = self.tool(
            broker,
            "alice",
            "--create --max-life-time-period -1 --owner-principal User:bob",
            status=1,
        )
        self.assertIn("DelegationTokenAuthorizationException", refused)
        refused = self.tool(
            broker,
            "alice",
            "--create --max-life-time-period -1 --renewer-principal Group:g",
            status=1,
        )
        self.assertIn("InvalidPrincipalTypeException", refused)

        def described(user: str, options: str = "") -> set[str]:
            found = self.tokens(self.tool(broker, user, f"--describe {options}"))
            return {each["id"] for each in found}

        mine = {token["id"], short_lived["id"]}
        self.assertEqual(described("alice", "--owner-principal User:alice"), mine)
        self.assertEqual(
            described("bob", "--owner-principal User:alice --owner-principal User:bob"),
            {token["id"], other["id"]},
        )
        # The tool asks for the tokens of no owner then; so it is with Apache Kafka, too.
        self.assertEqual(described("alice"), set())

        renewed = self.tool(broker, "bob", f"--renew --renew-time-period -1 --hmac {token['hmac']}")
        self.assertIn("Completed renew operation", renewed)
        refused = self.tool(
            broker, "bob", f"--renew --renew-time-period -1 --hmac {short_lived['hmac']}", status=1
        )
        self.assertIn("DelegationTokenOwnerMismatchException", refused)
        expired = f"--expire --expiry-time-period 3600000 --hmac {token['hmac']}"
        self.assertIn("Completed expire operation", self.tool(broker, "alice", expired))
        (changed,) = (
            each
            for each in self.tokens(
                self.tool(broker, "alice", "--describe --owner-principal User:alice")
            )
            if each["id"] == token["id"]
        )
        self.assertLess(changed["expires"], token["expires"])
        ended = f"--expire --expiry-time-period -1 --hmac {token['hmac']}"
        self.tool(broker, "alice", ended)
        self.assertIn(
            "DelegationTokenNotFoundException", self.tool(broker, "alice", ended, status=1)
        )
        self.assertEqual(described("bob", "--owner-principal User:alice"), set())

        self.properties("token", other["id"], other["hmac"], ' tokenauth="true"')
        refused = self.tool(
            broker, "token", "--create --max-life-time-period -1", status=1
        )
        self.assertIn("Delegation Token requests are not allowed", refused)
        log = broker.tail(10_000)
        self.assertIn(f"the delegation token {token['id']} of 'User:alice' was created", log)
        for secret in (KEY, *(each["hmac"] for each in (token, short_lived, other))):
            self.assertNotIn(secret, log)
            if secret is not KEY:
                self.assertNotIn(b64decode(secret).hex(), log)

    def test_disabled(self) -> None:
        """
        Without a secret key there are no tokens.
        """
        broker = self.with_tokens()
        broker.terminate()
        del broker.settings["delegation_token_secret_key_file"]
        broker.start()
        for options in (
            "--create --max-life-time-period -1",
            "--describe",
            "--renew --renew-time-period -1 --hmac eA==",
            "--expire --expiry-time-period -1 --hmac eA==",
        ):
            refused = self.tool(broker, "alice", options, status=1)
            self.assertIn("Delegation Token feature is not enabled", refused)


class LoginTests(TokenTestCase):
    """
    Clients that log in by a token of alice's, who may write and read C{t}.
    """

    def with_token(self) -> tuple[Broker, Mapping[str, str]]:
        """
        The broker and the token.
        """
        broker = self.with_tokens()
        acls = ["kafka-acls.sh", "--bootstrap-server", broker.address]
        acls += ["--command-config", "admin.properties", "--add", "--topic", "t", "--group", "*"]
        self.finish([*acls, "--allow-principal", "User:alice", "--operation", "All"])
        return broker, self.created(broker, "alice")

    def test_java(self) -> None:
        """
        The console tools write and read by both mechanisms; not without the option
        C{tokenauth}, nor by a token that has ended.
        """
        broker, token = self.with_token()
        for count, mechanism in enumerate(("SCRAM-SHA-256", "SCRAM-SHA-512"), 1):
            self.properties("token", token["id"], token["hmac"], ' tokenauth="true"', mechanism)
            script = WRITE.replace("SERVER", broker.address).replace("COUNT", str(count))
            read = self.finish(["bash", "-eo", "pipefail", "-c", script])
            self.assertEqual(read.count("hello"), count, read)
        topics = ["kafka-topics.sh", "--bootstrap-server", broker.address, "--list"]
        topics += ["--command-config", "token.properties"]
        self.assertIn("t\n", self.finish(topics))
        self.properties("token", token["id"], token["hmac"])
        self.assertIn("invalid credentials", self.finish(topics, 1))
        self.properties("token", token["id"], token["hmac"], ' tokenauth="true"')
        self.tool(broker, "alice", f"--expire --expiry-time-period -1 --hmac {token['hmac']}")
        self.assertIn("invalid credentials", self.finish(topics, 1))

    def test_franz(self) -> None:
        """
        franz-go writes by both mechanisms.
        """
        broker, token = self.with_token()
        program = str(go_program("franz_token"))
        found = self.finish([program, broker.address, token["id"], token["hmac"]])
        self.assertEqual(found.splitlines(), ["SCRAM-SHA-256", "SCRAM-SHA-512", "refused"])


class ClusterTests(ClusterTestCase):
    """
    Two brokers with the same secret key.
    """

    def connected(self, port: int) -> RawClient:
        """
        A connection on which alice has logged in.
        """
        client = RawClient(port)
        self.addCleanup(client.close)
        client.call(SaslHandshakeRequest(mechanism="PLAIN"), 1)
        request = SaslAuthenticateRequest(auth_bytes=b"\0alice\0alice-secret")
        self.assertEqual(client.call(request, 2).error_code, 0)
        return client

    def login(self, port: int, token: Any) -> int:
        """
        The code of a login by a token.
        """
        password = b64encode(token.hmac).decode()
        scram = ScramClient(SHA_256, token.token_id, password, more=",tokenauth=true")
        with RawClient(port) as client:
            client.call(SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1)
            first = client.call(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)
            self.assertEqual(first.error_code, 0)
            final = SaslAuthenticateRequest(auth_bytes=scram.final(bytes(first.auth_bytes)))
            code: int = client.call(final, 2).error_code
            return code

    def test_both(self) -> None:
        """
        A token is accepted by the other broker as soon as it is created, and can be ended
        there; within a second it is refused by the first, and after the death of both it is
        still known.
        """
        cluster = self.prepared_cluster(2)
        for broker in cluster.brokers:
            (broker.folder / "users").write_text(users())
            broker.settings |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},"
                f"SASL_PLAINTEXT://127.0.0.1:{free_port()}",
                "sasl_enabled_mechanisms": "PLAIN,SCRAM-SHA-256",
                "users_file": "users",
                "delegation_token_secret_key": KEY,
            }
        cluster.start()
        one, other = (
            int(str(each.settings["listeners"]).rpartition(":")[2]) for each in cluster.brokers
        )
        first, second = self.connected(one), self.connected(other)
        create = CreateDelegationTokenRequest(renewers=[], max_lifetime_ms=-1)
        tokens = []
        for _ in range(20):
            token = first.call(create, 3)
            self.assertEqual(token.error_code, 0)
            self.assertEqual(self.login(other, token), 0)
            tokens.append(token)
        for token in tokens[1:]:
            self.assertEqual(self.login(one, token), 0)
            expire = ExpireDelegationTokenRequest(
                hmac=bytes(token.hmac), expiry_time_period_ms=-1
            )
            self.assertEqual(second.call(expire, 2).error_code, 0)
            self.assertEqual(self.login(other, token), SASL_AUTHENTICATION_FAILED)
        time.sleep(1)
        for token in tokens[1:]:
            self.assertEqual(self.login(one, token), SASL_AUTHENTICATION_FAILED)
        for broker in cluster.brokers:
            broker.kill()
        cluster.start()
        for port in (one, other):
            self.assertEqual(self.login(port, tokens[0]), 0)
            self.assertEqual(self.login(port, tokens[1]), SASL_AUTHENTICATION_FAILED)
