"""
The Helm chart in deploy/, as Helm sees it.
"""

from __future__ import annotations

from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from kafscale.config import SETTINGS, Settings, from_environment
from kafscale.config.agreement import check_effects, check_stores
from kafscale.config.listeners import listeners_of
from tests.deploy.chart import CHART, Rendered, render

LEAST: dict[str, Any] = {
    "s3": {"bucket": "logs"},
    "etcd": {"endpoints": ["http://etcd-0:2379", "http://etcd-1:2379"]},
}

ALL: dict[str, Any] = {
    "replicas": 5,
    "image": {"repository": "registry.example.org/kafscale", "tag": "1"},
    "imagePullSecrets": [{"name": "registry"}],
    "namespace": "events",
    "s3": {
        "bucket": "logs",
        "region": "eu-west-1",
        "endpoint": "https://s3.example.org",
        "pathStyle": False,
        "fencing": "metadata",
        "kmsArn": "arn:aws:kms:eu-west-1:1:key/2",
        "credentialsSecret": "aws",
        "caSecret": "s3-ca",
    },
    "etcd": {
        "endpoints": ["https://etcd:2379"],
        "credentialsSecret": "etcd-user",
        "tlsSecret": "etcd-tls",
        "certKey": "tls.crt",
        "keyKey": "tls.key",
    },
    "security": {
        "protocol": "SASL_SSL",
        "tlsSecret": "tls",
        "certKey": "cert.pem",
        "keyKey": "key.pem",
        "caKey": "ca.pem",
        "clientAuth": "requested",
        "mechanisms": ["SCRAM-SHA-512", "PLAIN"],
        "adminSecret": "admin",
        "interBrokerSecret": "brokers",
        "usernameKey": "name",
        "passwordKey": "secret",
        "authorizer": "acl",
        "superUsers": ["User:admin", "User:brokers"],
    },
    "leaseSeconds": 5,
    "rack": {"name": "a"},
    "settings": {"KAFSCALE_AUTO_CREATE_TOPICS": "0", "KAFSCALE_CACHE_BYTES": "1073741824"},
    "diskCache": {"enabled": True, "gib": 20},
    "service": {"port": 19092, "annotations": {"a": "b"}},
    "clusterDomain": "example.org",
    "metrics": {"port": 9999, "tokenSecret": "token", "tokenKey": "bearer", "tls": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podDisruptionBudget": {"maxUnavailable": 2},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}},
    "terminationGracePeriodSeconds": 60,
    "resources": {"limits": {"memory": "2Gi"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "events"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "high",
    "extraEnv": [{"name": "AWS_PROFILE", "value": "logs"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}


class ChartTests(SynchronousTestCase):
    """
    The chart makes valid objects of Kubernetes, with valid settings.
    """

    def made(self, values: dict[str, Any]) -> Rendered:
        """
        The chart with values that are as they should be.
        """
        rendered = render(values)
        self.assertEqual(rendered.findings, [])
        self.assertEqual(rendered.refusal, "")
        return rendered

    def settings(self, rendered: Rendered) -> Settings:
        """
        What the first broker makes of its environment; it must have nothing to
        complain of.
        """
        environ = {}
        for each in self.container(rendered)["env"]:
            value = each.get("value")
            if value is None:
                (source,) = each["valueFrom"].values()
                value = {"metadata.name": "events-kafscale-0"}.get(source.get("fieldPath"), "x")
            environ[each["name"]] = value
        names = {"POD_NAME": "events-kafscale-0", "POD_NAMESPACE": "streams"}
        for name, value in names.items():
            environ = {k: v.replace(f"$({name})", value) for k, v in environ.items()}
        settings, warnings = from_environment(environ)
        self.assertEqual(warnings, [])
        check_effects(settings)
        check_stores(settings)
        return settings

    def pod(self, rendered: Rendered) -> dict[str, Any]:
        """
        The template of its pods.
        """
        pod = rendered.one("StatefulSet")["spec"]["template"]["spec"]
        assert isinstance(pod, dict)
        return pod

    def container(self, rendered: Rendered) -> dict[str, Any]:
        """
        The only container of a pod.
        """
        (container,) = self.pod(rendered)["containers"]
        assert isinstance(container, dict)
        return container

    def assert_coherent(self, rendered: Rendered) -> None:
        """
        References between the objects of the chart are correct.
        """
        whole = rendered.one("StatefulSet")
        labels = whole["spec"]["template"]["metadata"]["labels"]
        brokers = whole["spec"]["serviceName"]
        selectors = [whole["spec"]["selector"]["matchLabels"]]
        selectors += [each["spec"]["selector"] for each in rendered.objects
                      if each["kind"] == "Service"]  # fmt: skip
        selectors.append(rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        self.assertEqual(rendered.one("Service", brokers)["spec"]["clusterIP"], "None")
        container, pod = self.container(rendered), self.pod(rendered)
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for service in (each for each in rendered.objects if each["kind"] == "Service"):
            for port in service["spec"]["ports"]:
                self.assertEqual(ports[port["targetPort"]], port["port"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.assertIn(container[probe]["httpGet"]["path"], ("/healthz", "/readyz"))
            self.assertIn(container[probe]["httpGet"]["port"], ports)
            has_tls = self.settings(rendered).metrics_ssl_cert is not None
            self.assertEqual(container[probe]["httpGet"]["scheme"], "HTTPS" if has_tls else "HTTP")
        volumes = {each["name"] for each in pod["volumes"]}
        self.assertEqual({each["name"] for each in container["volumeMounts"]}, volumes)
        account = rendered.one("ServiceAccount")["metadata"]["name"]
        self.assertEqual(pod["serviceAccountName"], account)
        settings = self.settings(rendered)
        self.assertEqual(settings.broker_addr.port, ports["kafka"])
        assert settings.metrics_addr is not None
        self.assertEqual(settings.metrics_addr.port, ports["http"])
        self.assertGreater(
            pod["terminationGracePeriodSeconds"] * 1000, settings.shutdown_ms + 5000
        )

    def test_least(self) -> None:
        """
        A bucket and an etcd are enough.
        """
        rendered = self.made(LEAST)
        self.assert_coherent(rendered)
        settings = self.settings(rendered)
        self.assertEqual(
            settings.advertised_host(),
            "events-kafscale-0.events-kafscale-brokers.streams.svc.cluster.local",
        )
        self.assertEqual(settings.etcd_endpoints, ("http://etcd-0:2379", "http://etcd-1:2379"))
        self.assertEqual(settings.s3_bucket, "logs")
        self.assertIn("KAFSCALE_BROKER_ID=", " ".join(self.container(rendered)["command"]))
        self.assertNotIn("ServiceMonitor", [each["kind"] for each in rendered.objects])

    def test_all(self) -> None:
        """
        Every value has its effect.
        """
        rendered = self.made(ALL)
        self.assert_coherent(rendered)
        settings = self.settings(rendered)
        for name, value in (
            ("lease_seconds", 5),
            ("broker_rack", "a"),
            ("namespace", "events"),
            ("auto_create_topics", False),
            ("cache_bytes", 1 << 30),
            ("disk_cache_bytes", 20 << 30),
            ("s3_path_style", False),
            ("s3_fencing", "metadata"),
            ("s3_ca_file", "/etc/kafscale/s3/ca.crt"),
            ("etcd_cert", "/etc/kafscale/etcd/tls.crt"),
            ("etcd_username", "x"),
            ("ssl_cert", "/etc/kafscale/tls/cert.pem"),
            ("ssl_key", "/etc/kafscale/tls/key.pem"),
            ("ssl_ca", "/etc/kafscale/tls/ca.pem"),
            ("ssl_client_auth", "requested"),
            ("sasl_enabled_mechanisms", ("SCRAM-SHA-512", "PLAIN")),
            ("admin_user", "x"),
            ("inter_broker_password", "x"),
            ("authorizer", "acl"),
            ("super_users", ("User:admin", "User:brokers")),
            ("metrics_ssl_cert", "/etc/kafscale/tls/cert.pem"),
            ("metrics_token", "x"),
        ):
            self.assertEqual(getattr(settings, name), value)
        monitor = rendered.one("ServiceMonitor")
        (endpoint,) = monitor["spec"]["endpoints"]
        self.assertEqual(endpoint["scheme"], "https")
        host = "events-kafscale.streams.svc.example.org"
        self.assertEqual(endpoint["tlsConfig"]["serverName"], host)
        self.assertEqual(
            endpoint["authorization"]["credentials"], {"name": "token", "key": "bearer"}
        )
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        seen = [each for each in rendered.objects if each["kind"] == "Service"
                and selector <= each["metadata"]["labels"].items()]  # fmt: skip
        self.assertEqual(len(seen), 1)
        self.assertEqual(rendered.one("StatefulSet")["spec"]["replicas"], 5)
        self.assertEqual(self.pod(rendered)["priorityClassName"], "high")
        self.assertEqual(self.pod(rendered)["terminationGracePeriodSeconds"], 60)
        limits = self.container(rendered)["resources"]["limits"]
        self.assertEqual(limits, ALL["resources"]["limits"])

    def test_protocols(self) -> None:
        """
        Each protocol has what it needs, and the advertised host is the same. No secret is
        in a manifest: they are references.
        """
        of_tls = {"tlsSecret": "tls", "caKey": ""}
        of_sasl = {"adminSecret": "users", "interBrokerSecret": "users"}
        for protocol, values in (
            ("PLAINTEXT", {}),
            ("SSL", of_tls),
            ("SASL_PLAINTEXT", of_sasl),
            ("SASL_SSL", {**of_tls, **of_sasl}),
        ):
            rendered = self.made({**LEAST, "security": {"protocol": protocol, **values}})
            self.assert_coherent(rendered)
            (listener,) = listeners_of(self.settings(rendered))
            self.assertEqual((listener.protocol, listener.listen.port), (protocol, 9092))
            self.assertTrue(listener.host.startswith("events-kafscale-0."))
        secrets = {each.variable for each in SETTINGS if each.secret}
        env = self.container(self.made(ALL))["env"]
        found = [each for each in env if each["name"] in secrets]
        self.assertGreaterEqual(len(found), 4)
        for each in found:
            self.assertEqual(set(each), {"name", "valueFrom"})

    def test_every_value_is_tried(self) -> None:
        """
        The tests above leave none out.
        """
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(set(ALL), set(defaults))

    def test_rack_by_label(self) -> None:
        """
        Each pod's own.
        """
        label = "topology.kubernetes.io/zone"
        rendered = self.made({**LEAST, "rack": {"podLabel": label}})
        (rack,) = (each for each in self.container(rendered)["env"]
                   if each["name"] == "KAFSCALE_BROKER_RACK")  # fmt: skip
        path = rack["valueFrom"]["fieldRef"]["fieldPath"]
        self.assertEqual(path, f"metadata.labels['{label}']")

    def test_refused(self) -> None:
        """
        Invalid values are refused before anything is installed.
        """
        for values, words in (
            ({**LEAST, "s3": {}}, "s3.bucket is required"),
            ({**LEAST, "etcd": {}}, "etcd.endpoints is required"),
            ({**LEAST, "etcd": {"endpoints": ["etcd:2379"]}}, "/etcd/endpoints/0"),
            ({**LEAST, "etcd": {**LEAST["etcd"], "certKey": "a"}}, "must be set together"),
            ({**LEAST, "settings": {"KAFSCALE_CACHE_BYTES": 1 << 30}}, "/settings"),
            ({**LEAST, "settings": {"CACHE_BYTES": "1"}}, "CACHE_BYTES"),
            ({**LEAST, "replica": 3}, "replica"),
            ({**LEAST, "security": {"protocol": "TLS"}}, "/security/protocol"),
            ({**LEAST, "security": {"protocol": "SSL"}}, "security.tlsSecret is required"),
            ({**LEAST, "metrics": {"tls": True}}, "security.tlsSecret is required"),
            (
                {**LEAST, "security": {"protocol": "SASL_PLAINTEXT"}},
                "security.interBrokerSecret is required",
            ),
            ({**LEAST, "security": {"superUsers": ["a;b"]}}, "/security/superUsers/0"),
            ({**LEAST, "security": {"adminSecret": "a"}}, "adminSecret has no effect"),
            ({**LEAST, "security": {"clientAuth": "required"}}, "clientAuth has no effect"),
            ({**LEAST, "security": {"superUsers": ["User:a"]}}, "superUsers has no effect"),
            (
                {
                    **LEAST,
                    "security": {
                        "protocol": "SSL", "tlsSecret": "t", "clientAuth": "required", "caKey": ""
                    },
                },
                "security.caKey is required",
            ),
        ):
            self.assertIn(words, render(values).refusal)


class DockerfileTests(SynchronousTestCase):
    """
    deploy/Dockerfile.
    """

    def setUp(self) -> None:
        """
        Its instructions, one line each.
        """
        text = (CHART.parents[1] / "Dockerfile").read_text().replace("\\\n", "")
        lines = [line.split(None, 1) for line in text.splitlines() if line[:1].isupper()]
        self.lines = [(name, rest) for name, rest in lines]

    def test_copied(self) -> None:
        """
        The copied files exist.
        """
        for name, rest in self.lines:
            if name == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    self.assertTrue((CHART.parents[2] / source).exists(), source)

    def test_settings(self) -> None:
        """
        What is set are settings, with values that are accepted; and the ports
        that are opened are those.
        """
        ((_, given),) = (each for each in self.lines if each[0] == "ENV")
        environ = dict(each.split("=", 1) for each in given.split())
        settings, warnings = from_environment(environ)
        self.assertEqual(warnings, [])
        known = {each.variable for each in SETTINGS}
        self.assertTrue({name for name in environ if name.startswith("KAFSCALE_")} <= known)
        ((_, ports),) = (each for each in self.lines if each[0] == "EXPOSE")
        assert settings.metrics_addr is not None
        listened = [settings.broker_addr.port, settings.metrics_addr.port]
        self.assertEqual([int(each) for each in ports.split()], listened)
