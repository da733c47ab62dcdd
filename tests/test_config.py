"""
Tests of `kafscale.config` and the kinds of settings in `kafscale.config.kinds`.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet import endpoints
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from kafscale import config
from kafscale.config import SETTINGS, Setting, Settings, from_environment, full_options, kinds
from kafscale.config.agreement import check_effects
from kafscale.config.listeners import ListenerSettings, listeners_of
from kafscale.errors import SettingError

ROOT = Path(__file__).parent.parent


def settings(**environ: str) -> Settings:
    """
    The settings that variables, given without their prefix, result in.
    """
    return from_environment({config.PREFIX + name: text for name, text in environ.items()})[0]


class DefaultsTests(SynchronousTestCase):
    """
    Settings without variables and options.
    """

    def test_nothing_set(self) -> None:
        """
        Without variables all settings have their defaults, with no warning.
        """
        self.assertEqual(from_environment({"HOME": "/root"}), (Settings(), []))

    def test_some_values(self) -> None:
        """
        The defaults that the documentation relies on.
        """
        found = Settings()
        self.assertEqual(found.broker_addr.endpoint, "tcp:9092:interface=127.0.0.1:backlog=1024")
        self.assertEqual(found.data_dir, "./kafscale-data")
        self.assertEqual(found.segment_bytes, 67108864)
        self.assertEqual(found.flush_interval_ms, 0)
        self.assertIs(found.auto_create_topics, True)
        self.assertIs(found.use_memory_s3, False)
        self.assertIsNone(found.broker_host)

    def test_defaults_are_accepted(self) -> None:
        """
        Setting each variable to its default changes nothing.
        """
        written = {each.variable: each.default for each in SETTINGS}
        self.assertEqual(from_environment(written), (Settings(), []))


class SourcesTests(SynchronousTestCase):
    """
    Variables and options.
    """

    def test_variable(self) -> None:
        """
        A variable sets the setting of its name.
        """
        self.assertEqual(settings(BROKER_ID="7").broker_id, 7)

    def test_option_wins(self) -> None:
        """
        An option takes precedence; the variable is not even parsed.
        """
        found, _ = from_environment({"KAFSCALE_BROKER_ID": "oops"}, {"broker-id": "8"})
        self.assertEqual(found.broker_id, 8)

    def test_option_absent(self) -> None:
        """
        An option that is not given, None in C{usage.Options}, leaves the
        variable.
        """
        found, _ = from_environment({"KAFSCALE_BROKER_ID": "7"}, {"broker-id": None})
        self.assertEqual(found.broker_id, 7)

    def test_empty_is_absent(self) -> None:
        """
        An empty variable counts as absent: C{docker compose} passes unset ones
        so.
        """
        self.assertEqual(settings(BROKER_ID="", BROKER_RACK=""), Settings())

    def test_usage_options(self) -> None:
        """
        twistd parses the options made from the declarations.
        """

        class Options(usage.Options):
            optParameters = config.option_parameters()

        options = Options()
        options.parseOptions(["--broker-addr", "[::1]:0", "--segment-bytes=1M"])
        found, _ = from_environment({}, options)
        self.assertEqual(found.broker_addr.endpoint, r"tcp:0:interface=\:\:1:backlog=1024")
        self.assertEqual(found.segment_bytes, 1048576)
        self.assertIn("--cache-bytes=", str(options))

    def test_unknown_variable(self) -> None:
        """
        An unknown variable with our prefix is a warning.
        """
        found, warnings = from_environment({"KAFSCALE_SERVICE_HOST": "10.0.0.1", "KAFKA": ""})
        self.assertEqual(found, Settings())
        self.assertEqual(warnings, ["unknown setting KAFSCALE_SERVICE_HOST ignored"])

    def test_mistyped_variable(self) -> None:
        """
        A variable that is almost a setting is refused, because without it the broker may
        be open; not so one of Kubernetes.
        """
        text = str(self.assertRaises(SettingError, settings, AUTHORISER="acl"))
        self.assertEqual(
            text, "unknown setting KAFSCALE_AUTHORISER; did you mean KAFSCALE_AUTHORIZER?"
        )
        self.assertEqual(settings(AUTHORISER=""), Settings())
        text = str(self.assertRaises(SettingError, settings, AUTHORIZER_CLASS_NAME="a.B"))
        self.assertIn("did you mean KAFSCALE_AUTHORIZER?", text)
        of_kubernetes = {
            "KAFSCALE_BROKER_PORTS": "tcp://10.0.0.1:9092",
            "KAFSCALE_SSL_CERT_SERVICE_HOST": "10.0.0.1",
            "KAFSCALE_SSL_CERT_SERVICE_PORT_HTTPS": "443",
            "KAFSCALE_SSL_CERT_PORT": "tcp://10.0.0.1:443",
            "KAFSCALE_SSL_CERT_PORT_443_TCP_ADDR": "10.0.0.1",
        }
        _, warnings = from_environment(of_kubernetes)
        self.assertEqual(len(warnings), len(of_kubernetes))

    def test_kubernetes_port(self) -> None:
        """
        The KAFSCALE_BROKER_PORT that Kubernetes sets for a service called
        kafscale-broker is not taken for the setting.
        """
        found, warnings = from_environment({"KAFSCALE_BROKER_PORT": "tcp://10.0.0.1:9092"})
        self.assertIsNone(found.broker_port)
        self.assertEqual(len(warnings), 1)
        self.assertIn("Kubernetes", warnings[0])


class MalformedTests(SynchronousTestCase):
    """
    Values that are refused.
    """

    def assert_refused(self, variable: str, *values: str) -> None:
        """
        Each value is refused in one line that names it and the variable.
        """
        for value in values:
            error = self.assertRaises(SettingError, settings, **{variable: value})
            self.assertIn(f"invalid KAFSCALE_{variable}={value!r}: expected ", str(error))
            self.assertNotIn("\n", str(error))

    def test_counts(self) -> None:
        """
        Names, missing numbers, and addresses that are there twice.
        """
        self.assert_refused(
            "MAX_CONNECTIONS_PER_IP_OVERRIDES",
            "localhost:1", "10.0.0.1", "10.0.0.1:", "10.0.0.1:-1", "10.0.0.1:1,10.0.0.1:2", ",",
        )  # fmt: skip

    def test_message(self) -> None:
        """
        The message has the setting, the value, and what was expected.
        """
        error = self.assertRaises(SettingError, settings, SLOTS_IN_FLIGHT="many")
        self.assertEqual(
            str(error),
            "invalid KAFSCALE_SLOTS_IN_FLIGHT='many': expected a whole number from 1 to 64",
        )

    def test_message_names_option(self) -> None:
        """
        The message names an option if the value was given as an option.
        """
        error = self.assertRaises(SettingError, from_environment, {}, {"broker-id": "-1"})
        self.assertTrue(str(error).startswith("invalid --broker-id='-1': "))

    def test_numbers(self) -> None:
        """
        Words, fractions, signs, other digits, and numbers out of bounds.
        """
        self.assert_refused("BROKER_ID", "x", "1.5", "-1", "+1", "1_0", "٣", "2147483648", "9" * 99)

    def test_sizes(self) -> None:
        """
        Unknown units, fractions, and sizes out of bounds.
        """
        self.assert_refused("SEGMENT_BYTES", "64MB", "1.5M", "M", "1023", "2GiB", "64 M iB", "1T")

    def test_booleans(self) -> None:
        """
        Numbers and words other than those listed.
        """
        self.assert_refused("USE_MEMORY_S3", "2", "maybe", "y")

    def test_endpoints(self) -> None:
        """
        A URL is accepted; a slash at its end is ignored.
        """
        for text, url in {
            "http://127.0.0.1:9000/": "http://127.0.0.1:9000",
            "HTTPS://store.example": "https://store.example",
        }.items():
            self.assertEqual(settings(S3_ENDPOINT=text).s3_endpoint, url)

    def test_addresses(self) -> None:
        """
        Addresses without a port, with a port out of bounds, IPv6 addresses
        without brackets, and incomplete endpoint strings.
        """
        self.assert_refused(
            "BROKER_ADDR",
            "localhost", "9092", "localhost:", "localhost:x", "localhost:65536", "1.2.3:9092",
            "::1:9092", "fe80::1:9092", "[::1]", "[::g]:9092", "[localhost]:9092", "tcp:", "tcp:x",
            "tcp:interface=::1", "bad host:9092", "-:9092", ":", "tcp:70000",
        )  # fmt: skip

    def test_advertised(self) -> None:
        """
        All forms of "all interfaces", to which no client can connect.
        """
        self.assert_refused(
            "BROKER_HOST", "0.0.0.0", "::", "[::]", "0:0::0", "a:9092", "a b", "http://a", "1.2.3"
        )
        self.assert_refused("BROKER_PORT", "0", "65536", "http")

    def test_principals(self) -> None:
        """
        What is no principal, and commas where semicolons are meant.
        """
        self.assert_refused(
            "SUPER_USERS", "alice", "User:", ":a", "User:a,User:b", "User:a, User:b;User:c"
        )

    def test_words(self) -> None:
        """
        A list without a word: no scope would be required.
        """
        for name in ("REQUIRED_SCOPE", "EXPECTED_AUDIENCE", "UNSTATED_ALGORITHMS"):
            self.assert_refused(f"SASL_OAUTHBEARER_{name}", ",", " , ,")

    def test_keys_of_issuers(self) -> None:
        """
        URLs that cannot be read, and those without a host or a path.
        """
        self.assert_refused(
            "SASL_OAUTHBEARER_JWKS_ENDPOINT_URL",
            "ftp://a/keys", "ftp:a", "data:application/json,{}", "http:keys", "https:///keys",
            "http://[::1/keys",
            "http://", "https://a b/keys", "file:", "file://",
        )  # fmt: skip

    def test_namespaces(self) -> None:
        """
        Namespaces that are not one part of a key.
        """
        self.assert_refused("NAMESPACE", "a/b", "..", ".", "a b", "ä", "x" * 101)

    def test_buckets(self) -> None:
        """
        Buckets that are not a name, and URLs with more than host and port.
        """
        self.assert_refused("S3_BUCKET", "s3://logs", "logs/a", "a", "-logs", "lögs", "x" * 256)
        self.assert_refused(
            "S3_ENDPOINT", "127.0.0.1:9000", "ftp://h", "http://", "http://h:99999", "http://h/path",
            "http://u:p@h", "http://[::1]:9000", "http://1.2.3",
        )  # fmt: skip

    def test_etcd(self) -> None:
        """
        Members that are no URLs, or are named twice.
        """
        self.assert_refused(
            "ETCD_ENDPOINTS", "127.0.0.1:2379", "http://a,", "http://a,http://b/x", "http://a http://b",
            "http://a, http://a/",
        )  # fmt: skip

    def test_weight(self) -> None:
        """
        Weights that are not from 0.001 to 1000, or not decimal numbers.
        """
        self.assert_refused("BROKER_WEIGHT", "0", "-1", "1e3", "nan", "inf", "1000.1", "1,5", ".5")

    def test_log_level(self) -> None:
        """
        Other levels.
        """
        self.assert_refused("LOG_LEVEL", "warning", "trace")

    def test_defaults_of_topics(self) -> None:
        """
        Numbers below -1, and words of which some are unknown.
        """
        self.assert_refused("LOG_RETENTION_MS", "-2", "--1", "1.5", str(2**63))
        self.assert_refused("LOG_RETENTION_BYTES", "-2", "-1K", "1.5M")
        self.assert_refused("LOG_ROLL_MS", "-1", "0")
        self.assert_refused("LOG_SEGMENT_BYTES", "1048575", "2GiB")
        self.assert_refused("LOG_CLEANUP_POLICY", "shred", "delete,", "delete shred")


class AcceptedTests(SynchronousTestCase):
    """
    Spellings of values that are accepted.
    """

    def test_sizes(self) -> None:
        """
        Units are binary, in any case, with or without a space.
        """
        for text, bytes_ in [
            ("2048", 2048), ("2K", 2048), ("2kib", 2048), ("3 MiB", 3 << 20), ("1g", 1 << 30),
        ]:  # fmt: skip
            self.assertEqual(settings(SEGMENT_BYTES=text).segment_bytes, bytes_, text)

    def test_endpoints(self) -> None:
        """
        One or more URLs, with or without spaces between them.
        """
        for text in ("http://a:1,https://b", " HTTP://a:1/ , https://b "):
            self.assertEqual(
                settings(ETCD_ENDPOINTS=text).etcd_endpoints, ("http://a:1", "https://b")
            )

    def test_defaults_of_topics(self) -> None:
        """
        -1 for no limit; sizes with units; words in any case, and several of them.
        """
        self.assertEqual(settings(LOG_RETENTION_MS="-1").log_retention_ms, -1)
        for text, size in (("-1", -1), ("10GiB", 10 << 30)):
            self.assertEqual(settings(LOG_RETENTION_BYTES=text).log_retention_bytes, size)
        found = settings(LOG_MESSAGE_TIMESTAMP_TYPE="logappendtime", COMPRESSION_TYPE="ZSTD")
        self.assertEqual(found.log_message_timestamp_type, "LogAppendTime")
        self.assertEqual(found.compression_type, "zstd")
        policy = settings(LOG_CLEANUP_POLICY="compact, delete").log_cleanup_policy
        self.assertEqual(policy, ("compact", "delete"))

    def test_counts(self) -> None:
        """
        Numbers of connections by address, of both kinds.
        """
        found = settings(MAX_CONNECTIONS_PER_IP_OVERRIDES="10.0.0.1:5, [::0001]:0,::2:7")
        self.assertEqual(
            found.max_connections_per_ip_overrides, (("10.0.0.1", 5), ("::1", 0), ("::2", 7))
        )

    def test_principals(self) -> None:
        """
        Names of certificates have commas.
        """
        found = settings(SUPER_USERS="User:admin; User:CN=ops,O=Acme,C=SE;")
        self.assertEqual(found.super_users, ("User:admin", "User:CN=ops,O=Acme,C=SE"))

    def test_words(self) -> None:
        """
        Blanks around words, and commas without one, do no harm.
        """
        found = settings(SASL_OAUTHBEARER_REQUIRED_SCOPE="kafka, read,")
        self.assertEqual(found.sasl_oauthbearer_required_scope, ("kafka", "read"))

    def test_keys_of_issuers(self) -> None:
        """
        URLs of three schemes, in any case, and paths.
        """
        for text, found in {
            "HTTPS://login.example.org/keys?v=2": "https://login.example.org/keys?v=2",
            "http://[::1]:8080/keys": "http://[::1]:8080/keys",
            "file:/etc/keys.json": "/etc/keys.json",
            "FILE:///etc/keys.json": "/etc/keys.json",
            "keys.json": "keys.json",
            "./a:b.json": "./a:b.json",
            "/etc/a:b.json": "/etc/a:b.json",
        }.items():
            read = settings(SASL_OAUTHBEARER_JWKS_ENDPOINT_URL=text)
            self.assertEqual(read.sasl_oauthbearer_jwks_endpoint_url, found)

    def test_weights(self) -> None:
        """
        Decimal numbers with or without a point.
        """
        for text, weight in (("2", 2.0), ("0.25", 0.25), ("1000", 1000.0)):
            self.assertEqual(settings(BROKER_WEIGHT=text).broker_weight, weight)

    def test_secrets(self) -> None:
        """
        A password does not appear in the repr of the settings, nor on a command line.
        """
        found = settings(ETCD_PASSWORD="hush")
        self.assertEqual(found.etcd_password, "hush")
        self.assertNotIn("hush", repr(found))
        with self.assertRaises(SettingError):
            config.full_options(["--etcd-password", "hush"])

    def test_secret_files(self) -> None:
        """
        A secret can be in a file, which a variable or an option names.
        """
        path = Path(self.mktemp())
        path.write_text("hush\n")
        self.assertEqual(settings(ETCD_PASSWORD_FILE=str(path)).etcd_password, "hush")
        options = {"etcd-password-file": str(path)}
        found, warnings = config.from_environment({"KAFSCALE_ETCD_PASSWORD": "other"}, options)
        self.assertEqual((found.etcd_password, warnings), ("hush", []))
        given = config.full_options(["--etcd-password-file", str(path)])
        self.assertEqual(given, [f"--etcd-password-file={path}"])

    def test_bad_secret_files(self) -> None:
        """
        A file that is missing or empty is refused, and so are a secret and its file. No
        secret is repeated.
        """
        empty = Path(self.mktemp())
        empty.write_text("\n")
        for values, line in (
            ({"ETCD_PASSWORD_FILE": "/missing"}, "No such file"),
            ({"ETCD_PASSWORD_FILE": str(empty)}, "the file is empty"),
            ({"ETCD_PASSWORD": "hush", "ETCD_PASSWORD_FILE": str(empty)}, "are both set"),
        ):
            with self.assertRaises(SettingError) as caught:
                settings(**values)
            self.assertIn(line, str(caught.exception))
            self.assertNotIn("hush", str(caught.exception))
        secret = Setting("x", "", kinds.number(1, 9), "", "", secret=True)
        with self.assertRaises(SettingError) as caught:
            secret.read("hush", "KAFSCALE_X")
        self.assertNotIn("hush", str(caught.exception))

    def test_booleans(self) -> None:
        """
        True and false in their usual forms.
        """
        for text in ("1", "true", "YES", "on"):
            self.assertIs(settings(USE_MEMORY_S3=text).use_memory_s3, True)
        for text in ("0", "False", "no", "off"):
            self.assertIs(settings(AUTO_CREATE_TOPICS=text).auto_create_topics, False)

    def test_spaces_around(self) -> None:
        """
        Spaces around a value are ignored.
        """
        self.assertEqual(settings(LOG_LEVEL=" DEBUG ").log_level, "debug")

    def test_addresses(self) -> None:
        """
        Host and port, or an endpoint string; Twisted accepts the result.
        """
        for text, listen in {
            "localhost:9092": kinds.Listen(
                "tcp:9092:interface=localhost:backlog=1024", "localhost", 9092
            ),
            "10.0.0.1:0": kinds.Listen("tcp:0:interface=10.0.0.1:backlog=1024", "10.0.0.1", 0),
            ":9092": kinds.Listen("tcp:9092:backlog=1024", "", 9092),
            "[::1]:9092": kinds.Listen(r"tcp:9092:interface=\:\:1:backlog=1024", "::1", 9092),
            "tcp:9092": kinds.Listen("tcp:9092", "", 9092),
            r"tcp6:port=1:interface=\:\:": kinds.Listen(r"tcp6:port=1:interface=\:\:", "::", 1),
            "tcp:9:interface=10.0.0.1:backlog=5": kinds.Listen(
                "tcp:9:interface=10.0.0.1:backlog=5", "10.0.0.1", 9
            ),
            "haproxy:tcp:9092": kinds.Listen("haproxy:tcp:9092"),
        }.items():
            self.assertEqual(settings(BROKER_ADDR=text).broker_addr, listen)
            endpoints.serverFromString(MemoryReactorClock(), listen.endpoint)


    def test_no_address(self) -> None:
        """
        "off" disables the HTTP server, which is not the same as no value.
        """
        self.assertEqual(settings(METRICS_ADDR="Off").metrics_addr, kinds.NOWHERE)
        self.assertIsNone(settings(METRICS_ADDR="").metrics_addr)
        found = settings(METRICS_ADDR="localhost:9308").metrics_addr
        assert found is not None
        self.assertEqual((found.host, found.port), ("localhost", 9308))


class AdvertisedTests(SynchronousTestCase):
    """
    The address that clients are to connect to.
    """

    def host(self, **environ: str) -> str:
        """
        The advertised host of a machine called "oak".
        """
        return settings(**environ).advertised_host(lambda: "oak")

    def test_listening_host(self) -> None:
        """
        The default is the address that the broker listens on.
        """
        self.assertEqual(self.host(), "127.0.0.1")
        self.assertEqual(self.host(BROKER_ADDR="[::1]:9092"), "::1")

    def test_wildcard(self) -> None:
        """
        A broker that listens on all interfaces advertises the machine's name.
        """
        for text in ("0.0.0.0:9092", "[::]:9092", ":9092", "haproxy:tcp:9092", "tcp:9092"):
            self.assertEqual(self.host(BROKER_ADDR=text), "oak")

    def test_set(self) -> None:
        """
        A host that is set is advertised; an IPv6 address without its brackets.
        """
        self.assertEqual(self.host(BROKER_HOST="kafka_1.example.org"), "kafka_1.example.org")
        self.assertEqual(self.host(BROKER_HOST="[fe80::1]"), "fe80::1")

    def test_port(self) -> None:
        """
        The default is the actual port, also if it was selected by the system.
        """
        (free,) = listeners_of(settings(BROKER_ADDR="localhost:0"))
        self.assertIsNone(free.port)
        (fixed,) = listeners_of(settings(BROKER_PORT="9"))
        self.assertEqual(fixed.port, 9)


class ListenersTests(SynchronousTestCase):
    """
    Named listeners.
    """

    def found(self, **environ: str) -> list[ListenerSettings]:
        """
        The listeners of a machine called "oak".
        """
        return list(listeners_of(settings(**environ), lambda: "oak"))

    def refused(self, **environ: str) -> str:
        """
        What is wrong with them.
        """
        return str(self.assertRaises(SettingError, self.found, **environ))

    def test_implied(self) -> None:
        """
        Without the setting there is one, called after its protocol.
        """
        (plain,) = self.found()
        self.assertEqual((plain.name, plain.protocol), ("PLAINTEXT", "PLAINTEXT"))
        self.assertEqual(plain.host, "127.0.0.1")
        (tls,) = self.found(BROKER_ADDR="ssl:9092:privateKey=k.pem:certKey=c.pem")
        self.assertEqual((tls.name, tls.protocol, tls.host), ("SSL", "SSL", "oak"))
        self.assertTrue(plain.is_implied and tls.is_implied)

    def test_named(self) -> None:
        """
        Each has a protocol, an address to listen on, and one to advertise.
        """
        inside, outside, local = self.found(
            LISTENERS="inside://10.0.0.1:9092, OUTSIDE://:9093,LOCAL://[::1]:0",
            ADVERTISED_LISTENERS="OUTSIDE://kafka.example.org:443",
            LISTENER_SECURITY_PROTOCOL_MAP="INSIDE:PLAINTEXT,outside:sasl_ssl,LOCAL:SSL",
        )
        self.assertEqual((inside.name, inside.protocol), ("INSIDE", "PLAINTEXT"))
        self.assertEqual((inside.host, inside.port), ("10.0.0.1", 9092))
        self.assertEqual(inside.listen.endpoint, "tcp:9092:interface=10.0.0.1:backlog=1024")
        self.assertEqual((outside.name, outside.protocol), ("OUTSIDE", "SASL_SSL"))
        self.assertEqual((outside.host, outside.port), ("kafka.example.org", 443))
        self.assertEqual(outside.listen.endpoint, "tcp:9093:backlog=1024")
        self.assertEqual((local.host, local.port), ("::1", None))
        self.assertFalse(inside.is_implied)

    def test_all_interfaces(self) -> None:
        """
        A listener on all interfaces advertises the broker's host, or the machine's.
        """
        (each,) = self.found(LISTENERS="SSL://0.0.0.0:9093")
        self.assertEqual((each.protocol, each.host, each.port), ("SSL", "oak", 9093))
        (each,) = self.found(LISTENERS="SSL://[::]:9093", BROKER_HOST="elm")
        self.assertEqual(each.host, "elm")

    def test_wrong(self) -> None:
        """
        What contradicts itself, or has no effect, is refused.
        """
        self.assertIn("the protocol of listener A is not known", self.refused(LISTENERS="A://:1"))
        self.assertIn(
            "no listener B in", self.refused(LISTENERS="SSL://:1", ADVERTISED_LISTENERS="B://b:1")
        )
        for name, value in (
            ("LISTENERS", "9092"),
            ("LISTENERS", "A://:1,a://:2"),
            ("LISTENERS", "A://:65536"),
            ("LISTENERS", "A://x y:1"),
            ("ADVERTISED_LISTENERS", "A://:1"),
            ("ADVERTISED_LISTENERS", "A://0.0.0.0:1"),
            ("ADVERTISED_LISTENERS", "A://a:0"),
            ("LISTENER_SECURITY_PROTOCOL_MAP", "A:TLS"),
            ("LISTENER_SECURITY_PROTOCOL_MAP", "A:SSL,A:PLAINTEXT"),
            ("LISTENER_SECURITY_PROTOCOL_MAP", ":SSL"),
        ):
            self.assertIn(f"invalid KAFSCALE_{name}=", self.refused(**{name: value}))

    def test_for_one_listener(self) -> None:
        """
        A variable that names a listener is for that listener alone.
        """
        first, second = self.found(
            LISTENERS="A-B://:1,C://:2",
            LISTENER_SECURITY_PROTOCOL_MAP="A-B:SSL,C:SSL",
            SSL_CERT="all.pem",
            SSL_KEY="key.pem",
            LISTENER_NAME_A_B_SSL_CERT="one.pem",
            LISTENER_NAME_C_PROXY_PROTOCOL_FROM="10.0.0.1, 2001:db8::/32",
        )
        self.assertEqual((first.settings.ssl_cert, first.settings.ssl_key), ("one.pem", "key.pem"))
        self.assertEqual(second.settings.ssl_cert, "all.pem")
        self.assertIsNone(first.settings.proxy_protocol_from)
        self.assertEqual(second.settings.proxy_protocol_from, ("10.0.0.1/32", "2001:db8::/32"))
        text = self.refused(LISTENERS="SSL://:1", LISTENER_NAME_D_SSL_CERT="x")
        self.assertEqual(text, "KAFSCALE_LISTENER_NAME_D_SSL_CERT: there is no listener D")
        text = self.refused(LISTENERS="SSL://:1", LISTENER_NAME_SSL_SSL_CLIENT_AUTH="maybe")
        self.assertIn("invalid KAFSCALE_LISTENER_NAME_SSL_SSL_CLIENT_AUTH='maybe'", text)
        text = self.refused(LISTENERS="SSL://:1", LISTENER_NAME_SSL_DATA_DIR="x")
        self.assertIn("unknown setting KAFSCALE_LISTENER_NAME_SSL_DATA_DIR: no setting for", text)
        both = {f"LISTENER_NAME_SSL_SSL_KEY_PASSWORD{end}": __file__ for end in ("", "_FILE")}
        self.assertIn("are both set", self.refused(LISTENERS="SSL://:1", **both))
        (implied,) = self.found(LISTENER_NAME_PLAINTEXT_MAX_CONNECTIONS="7")
        self.assertEqual(implied.settings.max_connections, 7)

    def test_between_brokers(self) -> None:
        """
        Brokers use the listener that is named for them, or the first one.
        """
        both = {"LISTENERS": "PLAINTEXT://:1,SSL://:2"}
        for named, expected in (({}, "PLAINTEXT"), ({"INTER_BROKER_LISTENER_NAME": "ssl"}, "SSL")):
            (found,) = (each for each in self.found(**both, **named) if each.is_between_brokers)
            self.assertEqual(found.name, expected)
        for others in (both, {}):
            text = self.refused(**others, INTER_BROKER_LISTENER_NAME="B")
            self.assertIn("KAFSCALE_INTER_BROKER_LISTENER_NAME=B", text)


class OnS3Tests(SynchronousTestCase):
    """
    Defaults that differ with a bucket, where requests cost money.
    """

    def test_other_defaults(self) -> None:
        """
        With a bucket requests are fewer and larger; values that are set, even
        0, take precedence.
        """
        self.assertEqual(settings().flush_interval_ms, 0)
        self.assertEqual(settings(S3_BUCKET="logs").flush_interval_ms, 50)
        self.assertEqual(settings(S3_BUCKET="logs", FLUSH_INTERVAL_MS="0").flush_interval_ms, 0)
        self.assertEqual(settings(FLUSH_INTERVAL_MS="7").flush_interval_ms, 7)
        self.assertEqual(settings(S3_BUCKET="logs").unrolled_bytes, 256 << 20)
        self.assertEqual(settings().unrolled_bytes, 96 << 20)

    def test_fencing(self) -> None:
        """
        Only buckets can need fencing by the metadata store.
        """
        self.assertEqual(settings(S3_BUCKET="logs").fencing(), "create")
        self.assertEqual(settings(S3_BUCKET="logs", S3_FENCING="metadata").fencing(), "metadata")
        self.assertEqual(settings(S3_FENCING="metadata").fencing(), "create")


TLS = {"LISTENERS": "PLAINTEXT://:1,SSL://:2", "SSL_CERT": "c.pem"}
CERTIFIED = {**TLS, "SSL_CA": "ca.pem", "SSL_CLIENT_AUTH": "requested"}
SASL = {"LISTENERS": "SASL_SSL://:1,PLAINTEXT://:2"}
DELEGATED = {**SASL, "DELEGATION_TOKEN_SECRET_KEY": "x"}
TOKENS = {
    **SASL,
    "LISTENER_NAME_SASL_SSL_SASL_ENABLED_MECHANISMS": "OAUTHBEARER",
    "SASL_OAUTHBEARER_JWKS_ENDPOINT_URL": "https://login.example.org/keys",
}
BUCKET = {"S3_BUCKET": "logs"}
ETCD = {**BUCKET, "ETCD_ENDPOINTS": "https://a:1,https://b:1"}
HTTPS = {"METRICS_SSL_CERT": "c.pem"}

EFFECTS = [
    # A setting and a value of it; the settings with which it has an effect, and some
    # without which it has none; what it is said to need.
    ("ADVERTISED_LISTENERS", "SSL://a:1", TLS, {}, "KAFSCALE_LISTENERS"),
    ("LISTENER_SECURITY_PROTOCOL_MAP", "SSL:SSL,PLAINTEXT:SSL", TLS, {}, "KAFSCALE_LISTENERS"),
    ("SSL_CERT", "c.pem", TLS, {}, "SSL or SASL_SSL"),
    ("SSL_CERT", "c.pem", TLS, {"LISTENERS": "SASL_PLAINTEXT://:1"}, "SSL or SASL_SSL"),
    ("SSL_CERT", "c.pem", TLS, {"BROKER_ADDR": "ssl:1:privateKey=k"}, "SSL or SASL_SSL"),
    ("SSL_KEY", "k.pem", TLS, {}, "SSL or SASL_SSL"),
    ("SSL_KEY_PASSWORD", "x", TLS, {}, "SSL or SASL_SSL"),
    ("SSL_CLIENT_AUTH", "required", TLS, {}, "SSL or SASL_SSL"),
    ("SSL_ENABLED_PROTOCOLS", "TLSv1.3", TLS, {}, "SSL or SASL_SSL"),
    ("SSL_CA", "ca.pem", CERTIFIED, {}, "SSL or SASL_SSL"),
    ("SSL_PRINCIPAL_MAPPING_RULES", "DEFAULT", CERTIFIED, TLS, "KAFSCALE_SSL_CLIENT_AUTH"),
    (
        "SSL_CIPHERS",
        "ECDHE+AESGCM",
        TLS,
        {**TLS, "SSL_ENABLED_PROTOCOLS": "TLSv1.3"},
        "TLSv1.2 among its KAFSCALE_SSL_ENABLED_PROTOCOLS",
    ),
    ("SASL_ENABLED_MECHANISMS", "SCRAM-SHA-256,SCRAM-SHA-512", SASL, TLS, "SASL_PLAINTEXT"),
    ("CONNECTIONS_MAX_REAUTH_MS", "1000", SASL, {}, "SASL_PLAINTEXT"),
    ("CONNECTION_FAILED_AUTHENTICATION_DELAY_MS", "1000", SASL, {}, "SASL_PLAINTEXT"),
    ("ADMIN_USER", "admin", SASL, TLS, "SCRAM or PLAIN"),
    ("ADMIN_PASSWORD", "x", SASL, TOKENS, "SCRAM or PLAIN"),
    ("USERS_FILE", "users", SASL, {}, "SCRAM or PLAIN"),
    ("INTER_BROKER_USER", "b", SASL, {**SASL, "INTER_BROKER_LISTENER_NAME": "PLAINTEXT"}, "SASL"),
    ("INTER_BROKER_PASSWORD", "b", SASL, {}, "SASL_SSL"),
    ("SASL_MECHANISM_INTER_BROKER_PROTOCOL", "SCRAM-SHA-512", SASL, {}, "SASL_SSL"),
    ("SASL_OAUTHBEARER_JWKS_ENDPOINT_URL", "http://a/keys", TOKENS, SASL, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_EXPECTED_ISSUER", "a", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_EXPECTED_AUDIENCE", "a", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_CA", "ca.pem", TOKENS, {}, "OAUTHBEARER"),
    (
        "SASL_OAUTHBEARER_CA",
        "ca.pem",
        TOKENS,
        {**TOKENS, "SASL_OAUTHBEARER_JWKS_ENDPOINT_URL": "keys.json"},
        "https:// in KAFSCALE_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL",
    ),
    ("SASL_OAUTHBEARER_JWKS_ENDPOINT_REFRESH_MS", "5000", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_CLOCK_SKEW_SECONDS", "5", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_SUB_CLAIM_NAME", "name", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_SCOPE_CLAIM_NAME", "scp", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_REQUIRED_SCOPE", "kafka", TOKENS, {}, "OAUTHBEARER"),
    ("SASL_OAUTHBEARER_UNSTATED_ALGORITHMS", "RS256", TOKENS, {}, "OAUTHBEARER"),
    ("DELEGATION_TOKEN_SECRET_KEY", "x", SASL, TOKENS, "SCRAM"),
    ("DELEGATION_TOKEN_MAX_LIFETIME_MS", "5000", DELEGATED, SASL, "KAFSCALE_DELEGATION_TOKEN_S"),
    ("DELEGATION_TOKEN_EXPIRY_TIME_MS", "5000", DELEGATED, SASL, "KAFSCALE_DELEGATION_TOKEN_S"),
    (
        "DELEGATION_TOKEN_EXPIRY_CHECK_INTERVAL_MS",
        "5000",
        DELEGATED,
        SASL,
        "KAFSCALE_DELEGATION_TOKEN_SECRET_KEY",
    ),
    ("SUPER_USERS", "User:a", {"AUTHORIZER": "acl"}, {"AUTHORIZER": "none"}, "KAFSCALE_AUTHORIZER"),
    ("ALLOW_EVERYONE_IF_NO_ACL_FOUND", "1", {"AUTHORIZER": "acl"}, {}, "KAFSCALE_AUTHORIZER"),
    ("S3_BUCKET", "logs", {}, None, ""),
    ("S3_MOVED_FROM", "old", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_ENDPOINT", "http://127.0.0.1:9000", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_REGION", "eu-west-1", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_PATH_STYLE", "1", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_CA_FILE", "ca.pem", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_CA_FILE", "ca.pem", BUCKET, {**BUCKET, "S3_ENDPOINT": "http://a:1"}, "https:// in"),
    ("S3_KMS_ARN", "arn:aws:kms:the-key", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_FENCING", "metadata", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_CHECKSUM", "md5", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("S3_CONCURRENCY", "8", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("DISK_CACHE_DIR", "cache", BUCKET, {}, "KAFSCALE_S3_BUCKET"),
    ("ETCD_ENDPOINTS", "http://a:1", BUCKET, None, ""),
    ("ETCD_USERNAME", "a", ETCD, {}, "KAFSCALE_ETCD_ENDPOINTS"),
    ("ETCD_PASSWORD", "a", ETCD, BUCKET, "KAFSCALE_ETCD_ENDPOINTS"),
    ("ETCD_CA", "ca.pem", ETCD, {}, "KAFSCALE_ETCD_ENDPOINTS"),
    ("ETCD_CA", "ca.pem", ETCD, {**ETCD, "ETCD_ENDPOINTS": "https://a:1,http://b:1"}, "https://"),
    ("ETCD_CERT", "c.pem", ETCD, {**ETCD, "ETCD_ENDPOINTS": "http://b:1"}, "https:// in all"),
    ("ETCD_KEY", "k.pem", ETCD, {**ETCD, "ETCD_ENDPOINTS": "http://b:1"}, "https:// in all"),
    ("METRICS_SSL_CERT", "c.pem", {}, {"METRICS_ADDR": "off"}, "KAFSCALE_METRICS_ADDR=off"),
    ("METRICS_SSL_KEY", "k.pem", HTTPS, {}, "KAFSCALE_METRICS_SSL_CERT"),
    ("METRICS_TOKEN", "x", {}, {"METRICS_ADDR": "off"}, "KAFSCALE_METRICS_ADDR=off"),
    ("METRICS_USER", "x", {}, {"METRICS_ADDR": "off"}, "KAFSCALE_METRICS_ADDR=off"),
    ("METRICS_PASSWORD", "x", {}, {"METRICS_ADDR": "off"}, "KAFSCALE_METRICS_ADDR=off"),
]


class EffectsTests(SynchronousTestCase):
    """
    Settings that need others in order to have an effect.
    """

    def refused(self, found: Settings) -> str:
        """
        What is wrong with them.
        """
        return str(self.assertRaises(SettingError, check_effects, found))

    def test_each(self) -> None:
        """
        A setting without effect is refused, even if its value is the default. The line
        names it and what it needs; with that it is accepted.
        """
        for name, value, enough, lacking, needed in EFFECTS:
            check_effects(settings(**{**enough, name: value}))
            if lacking is not None:
                text = self.refused(settings(**{**lacking, name: value}))
                self.assertTrue(text.startswith(f"KAFSCALE_{name} has no effect without "), text)
                self.assertIn(needed, text)
                self.assertNotIn("\n", text)

    def test_off(self) -> None:
        """
        One that is off needs nothing: environments are often made from templates.
        """
        names = "ALLOW_EVERYONE_IF_NO_ACL_FOUND", "CONNECTIONS_MAX_REAUTH_MS", "S3_PATH_STYLE"
        check_effects(settings(SSL_CLIENT_AUTH="none", **dict.fromkeys(names, "0")))

    def test_complete(self) -> None:
        """
        Each setting that needs something is in the table, and no other.
        """
        needy = {each.name.upper() for each in SETTINGS if each.needs}
        self.assertEqual({name for name, *_ in EFFECTS}, needy)

    def test_sources(self) -> None:
        """
        The line names what the user has written: a variable of a file, an option, or the
        variable of one listener.
        """
        found = settings(METRICS_TOKEN_FILE=__file__, METRICS_ADDR="off")
        self.assertIn("KAFSCALE_METRICS_TOKEN_FILE has no effect", self.refused(found))
        found, _ = from_environment({}, {"super-users": "User:a"})
        self.assertIn("--super-users has no effect", self.refused(found))

    def test_one_listener(self) -> None:
        """
        What is given for one listener needs what that one lacks, whatever others have.
        """
        found = settings(**TLS, LISTENER_NAME_PLAINTEXT_SSL_CERT="c.pem")
        self.assertEqual(
            self.refused(found),
            "KAFSCALE_LISTENER_NAME_PLAINTEXT_SSL_CERT has no effect on listener PLAINTEXT, which"
            " is not a listener whose protocol is SSL or SASL_SSL",
        )
        check_effects(settings(**TLS, LISTENER_NAME_SSL_SSL_CERT="c.pem"))
        found = settings(LISTENER_NAME_PLAINTEXT_SSL_CLIENT_AUTH="required")
        self.assertIn("on listener PLAINTEXT", self.refused(found))

    def test_empty(self) -> None:
        """
        An empty setting is absent.
        """
        check_effects(settings(SSL_CERT="", SUPER_USERS="", LISTENER_NAME_X_SSL_CERT=""))


class FullOptionsTests(SynchronousTestCase):
    """
    Arguments of the command line.
    """

    def test_with_values(self) -> None:
        """
        Values may follow as arguments of their own, whatever they look like.
        """
        self.assertEqual(
            full_options(["--data-dir", "--x", "--log-level=", "--help", "rest"], ["help"]),
            ["--data-dir=--x", "--log-level=", "--help", "rest"],
        )

    def test_flags(self) -> None:
        """
        Settings that are true or false need no value.
        """
        for given, value in (
            (["--use-memory-s3"], "1"),
            (["--use-memory-s3", "--broker-id=1"], "1"),
            (["--use-memory-s3", "0"], "0"),
            (["--use-memory-s3=off"], "off"),
        ):
            self.assertEqual(full_options(given)[0], f"--use-memory-s3={value}")
        self.assertEqual(full_options(["--use-memory-s3", "sure"])[1:], ["sure"])

    def test_unknown(self) -> None:
        """
        An abbreviation is a mistake like any other, and a similar name is
        proposed.
        """
        for name, hint in {
            "broker-add": " (did you mean --broker-addr?)",
            "segment_bytes": " (did you mean --segment-bytes?)",
            "hel": " (did you mean --help?)",
            "x": "",
        }.items():
            error = self.assertRaises(SettingError, full_options, [f"--{name}=1"], ["help"])
            self.assertEqual(str(error), f"unknown option --{name}{hint}")

    def test_without_value(self) -> None:
        """
        All other settings need one.
        """
        error = self.assertRaises(SettingError, full_options, ["--use-memory-s3", "--data-dir"])
        self.assertEqual(str(error), "option --data-dir has no value")


class HelpTests(SynchronousTestCase):
    """
    C{--help}.
    """

    def setUp(self) -> None:
        """
        The help, and the same text without line breaks.
        """
        self.help = config.help_text()
        self.text = " ".join(self.help.split())

    def test_settings(self) -> None:
        """
        Each option has its meaning, variable, default, unit and bounds.
        """
        for each in SETTINGS:
            self.assertIn(f"\n  {each.usage}\n", self.help)
            variables = " or ".join(each.variables)
            facts = f"[{variables}; default: {each.default_text}; {each.kind.expects}]"
            self.assertIn(f"{each.meaning} {facts}".replace("`", ""), self.text)

    def test_sections(self) -> None:
        """
        Options of one section are neighbours, under one heading.
        """
        headings = re.findall(r"^(\w.*):$", self.help, re.MULTILINE)
        self.assertEqual(headings, [*dict.fromkeys(each.section for each in SETTINGS), "Other"])

    def test_sentences(self) -> None:
        """
        A meaning is one or more whole sentences.
        """
        for each in SETTINGS:
            self.assertRegex(each.meaning, r"\A([A-Z]|etcd ).*\.\Z")

    def test_default_with_s3(self) -> None:
        """
        A default that is another one with a bucket is beside the usual one.
        """
        self.assertIn("[KAFSCALE_FLUSH_INTERVAL_MS; default: 0, with S3 50; ", self.text)

    def test_width(self) -> None:
        """
        Lines fit into the terminal; no name is broken.
        """
        for width in (60, 80, 120):
            text = config.help_text(width)
            self.assertLessEqual(max(map(len, text.splitlines())), width)
            self.assertIn("max.incremental.fetch.session.cache.slots", text)


class DocumentationTests(SynchronousTestCase):
    """
    The settings in docs/configuration.md.
    """

    def test_table(self) -> None:
        """
        The tables are those made from the declarations:
        C{python -c "from kafscale import config; print(config.table())"}.
        """
        text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        self.assertIn("\n\n" + config.table() + "\n## ", text)
