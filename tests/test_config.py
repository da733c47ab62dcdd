"""
Tests of `kafscale.config` and the kinds of settings in `kafscale.config.kinds`.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from twisted.internet import endpoints
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from kafscale import config
from kafscale.config import SETTINGS, Setting, Settings, from_environment, full_options, kinds
from kafscale.config.agreement import check_stores
from kafscale.config.listeners import ListenerSettings, inter_broker_listener, listeners_of
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
        An unknown variable with our prefix is a warning, which suggests a
        similar setting if there is one.
        """
        found, warnings = from_environment(
            {"KAFSCALE_SERVICE_HOST": "10.0.0.1", "KAFSCALE_SEGMENT_BYTE": "1", "KAFKA": ""}
        )
        self.assertEqual(found, Settings())
        self.assertEqual(
            warnings,
            [
                "unknown setting KAFSCALE_SEGMENT_BYTE ignored; did you mean "
                + "KAFSCALE_SEGMENT_BYTES?",
                "unknown setting KAFSCALE_SERVICE_HOST ignored",
            ],
        )

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
            ("ADVERTISED_LISTENERS", "A://a:1"),
            ("LISTENER_SECURITY_PROTOCOL_MAP", "A:SSL"),
        ):
            self.assertIn("has no effect without", self.refused(**{name: value}))
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
        _, warnings = from_environment({"KAFSCALE_LISTENER_NAME_D_DATA_DIR": "x"})
        self.assertEqual(len(warnings), 1)

    def test_between_brokers(self) -> None:
        """
        Brokers use the listener that is named for them, or the first one.
        """
        both = {"LISTENERS": "PLAINTEXT://:1,SSL://:2"}
        for named, expected in (({}, "PLAINTEXT"), ({"INTER_BROKER_LISTENER_NAME": "ssl"}, "SSL")):
            found = settings(**both, **named)
            self.assertEqual(inter_broker_listener(found, listeners_of(found)).name, expected)
        other = settings(**both, INTER_BROKER_LISTENER_NAME="B")
        error = self.assertRaises(
            SettingError, inter_broker_listener, other, listeners_of(other)
        )
        self.assertIn("KAFSCALE_INTER_BROKER_LISTENER_NAME=B", str(error))


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


class AgreementTests(SynchronousTestCase):
    """
    Settings that depend on one another.
    """

    def test_s3_without_bucket(self) -> None:
        """
        A setting of S3 without a bucket is refused: the records would be stored
        in the data directory. Its default is no mistake.
        """
        for name, text in {
            "S3_ENDPOINT": "http://127.0.0.1:9000",
            "S3_REGION": "eu-west-1",
            "S3_PATH_STYLE": "0",
            "S3_CA_FILE": "ca.pem",
            "S3_KMS_ARN": "arn:aws:kms:the-key",
            "S3_FENCING": "metadata",
            "S3_CHECKSUM": "md5",
            "S3_CONCURRENCY": "8",
        }.items():
            found = settings(**{name: text})
            error = self.assertRaises(SettingError, check_stores, found)
            self.assertEqual(
                str(error), f"KAFSCALE_{name} has no effect without KAFSCALE_S3_BUCKET"
            )
            check_stores(attrs.evolve(found, s3_bucket="logs"))
        check_stores(settings(S3_FENCING="create", S3_CONCURRENCY="64", S3_ENDPOINT=""))


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
