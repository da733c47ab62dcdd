"""
The Compose files in deploy/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from kafscale.config import Settings, from_environment
from kafscale.config.agreement import check_effects, check_stores
from kafscale.config.listeners import listeners_of

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

VARIABLE = re.compile(r"\$\{(\w+):-(\w+)\}")
"""How a file takes a variable of the caller's environment, or a default."""


class ComposeTests(SynchronousTestCase):
    """
    What the files set is accepted, and their parts fit together.
    """

    def services(self, name: str) -> dict[str, Any]:
        """
        The services of a file, with the defaults of its variables in place.
        """
        text = VARIABLE.sub(r"\2", (DEPLOY / name).read_text(encoding="utf-8"))
        services = yaml.safe_load(text)["services"]
        assert isinstance(services, dict)
        return services

    def settings(self, service: dict[str, Any]) -> Settings:
        """
        A broker's settings: those of the image, and above them the service's.
        """
        self.assertEqual(service["image"], "kafscale")
        self.assertTrue((DEPLOY / service["build"]["context"] / "setup.cfg").exists())
        image = {"KAFSCALE_BROKER_ADDR": "0.0.0.0:9092", "KAFSCALE_METRICS_ADDR": "0.0.0.0:9308"}
        settings, warnings = from_environment({**image, **service["environment"]})
        self.assertEqual(warnings, [])
        check_effects(settings)
        check_stores(settings)
        return settings

    def assert_reachable(self, service: dict[str, Any], settings: Settings) -> None:
        """
        Both ports are published as they are advertised, on loopback only; and a
        stop is given the time that the broker may take.
        """
        assert settings.metrics_addr is not None
        ports = [settings.broker_addr.port, settings.metrics_addr.port]
        self.assertEqual(service["ports"], [f"127.0.0.1:{port}:{port}" for port in ports])
        self.assertEqual(settings.advertised_host(), "localhost")
        self.assertIsNone(settings.broker_port)
        grace = int(service["stop_grace_period"].removesuffix("s"))
        self.assertGreater(grace * 1000, settings.shutdown_ms + 5000)

    def test_one_broker(self) -> None:
        """
        The broker alone has a volume, and a probe of the port that it has.
        """
        services = self.services("compose.yaml")
        self.assertEqual(list(services), ["kafscale"])
        broker = services["kafscale"]
        settings = self.settings(broker)
        self.assert_reachable(broker, settings)
        self.assertEqual(broker["volumes"], ["data:/data"])
        assert settings.metrics_addr is not None
        url = f"http://127.0.0.1:{settings.metrics_addr.port}/readyz"
        self.assertIn(url, broker["healthcheck"]["test"][-1])

    def test_secured(self) -> None:
        """
        The broker has TLS, logins and rights by files that are secrets of the file, and that
        docs/security.md makes.
        """
        text = (DEPLOY / "compose-secured.yaml").read_text(encoding="utf-8")
        file = yaml.safe_load(text)
        broker = file["services"]["kafscale"]
        context = DEPLOY.parent / broker["build"]["context"]
        self.assertTrue((context / broker["build"]["dockerfile"]).exists())
        names = {}
        for variable, value in broker["environment"].items():
            path = Path(value)
            if path.parent == Path("/run/secrets"):
                names[path.name] = file["secrets"][path.name]["file"]
                broker["environment"][variable] = self.mktemp()
                Path(broker["environment"][variable]).write_text("secret")
        self.assertEqual(sorted(names), sorted(broker["secrets"]))
        self.assertEqual(set(file["secrets"]), set(names))
        how = (DEPLOY.parent / "docs" / "security.md").read_text(encoding="utf-8")
        for name, source in names.items():
            self.assertEqual(source, f"secured/{name}")
            stem = name.removesuffix(".secret")
            self.assertTrue(f"-out {name}" in how or f"-keyout {name}" in how or f" {stem} " in how)
        image = {"KAFSCALE_BROKER_ADDR": "0.0.0.0:9092", "KAFSCALE_METRICS_ADDR": "0.0.0.0:9308"}
        settings, warnings = from_environment({**image, **broker["environment"]})
        self.assertEqual(warnings, [])
        check_effects(settings)
        check_stores(settings)
        (listener,) = listeners_of(settings)
        self.assertEqual((listener.host, listener.protocol), ("localhost", "SASL_SSL"))
        self.assertEqual(
            broker["ports"], [f"127.0.0.1:{port}:{port}" for port in (listener.listen.port, 9308)]
        )

    def test_cluster(self) -> None:
        """
        Three brokers differ in id and ports, and agree in everything else; the
        servers that they name are services of the file.
        """
        services = self.services("compose-cluster.yaml")
        brokers = {name: each for name, each in services.items() if name.startswith("broker-")}
        self.assertEqual(len(brokers), 3)
        ids, ports, stores = set(), set(), set()
        for name, broker in brokers.items():
            settings = self.settings(broker)
            self.assert_reachable(broker, settings)
            self.assertEqual(name, f"broker-{settings.broker_id}")
            ids.add(settings.broker_id)
            ports.update(broker["ports"])
            stores.add((settings.etcd_endpoints, settings.s3_endpoint, settings.s3_bucket))
            self.assertLessEqual(set(broker["depends_on"]), set(services))
        self.assertEqual((len(ids), len(ports), len(stores)), (3, 6, 1))
        ((etcd, s3, _),) = stores
        self.assertEqual((etcd, s3), (("http://etcd:2379",), "http://s3:8333"))
        self.assertIn("--advertise-client-urls=http://etcd:2379", services["etcd"]["command"])
        self.assertIn("-s3.port=8333", services["s3"]["command"])

    def test_bucket(self) -> None:
        """
        What creates the bucket is a program; its server, bucket and keys are
        those of the brokers.
        """
        services = self.services("compose-cluster.yaml")
        (program,) = services["bucket"]["command"]
        compile(program, "compose-cluster.yaml", "exec")
        broker = services["broker-1"]["environment"]
        self.assertIn(broker["KAFSCALE_S3_ENDPOINT"], program)
        self.assertIn(f'create_bucket(Bucket="{broker["KAFSCALE_S3_BUCKET"]}")', program)
        keys = services["bucket"]["environment"]
        self.assertLessEqual(keys.items(), broker.items())
        self.assertLessEqual(keys.items(), services["s3"]["environment"].items())
