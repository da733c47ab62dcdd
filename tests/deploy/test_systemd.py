"""
The unit of systemd in deploy/, and its file of settings.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.config import SETTINGS, from_environment
from kafscale.config.agreement import check_effects

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy" / "systemd"

Unit = dict[str, dict[str, list[str]]]


def unit() -> Unit:
    """
    The unit's values, by section and name; a name may stand more than once.
    """
    sections: Unit = {}
    for line in (SYSTEMD / "kafscale.service").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), defaultdict(list))
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            section[name].append(value)
    return sections


def variables(commented: bool) -> dict[str, str]:
    """
    Return the variables that the file of settings sets.

    @param commented: Include the examples that are commented out.
    """
    found = {}
    for line in (SYSTEMD / "kafscale.env").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.removeprefix("#" if commented else "").partition("=")
        if equals and name.isidentifier() and not line.startswith("# "):
            found[name] = value
    return found


class UnitTests(SynchronousTestCase):
    """
    kafscale.service
    """

    def setUp(self) -> None:
        """
        Its sections.
        """
        self.unit = unit()
        self.service = self.unit["Service"]

    def one(self, name: str) -> str:
        """
        The only value that a name has.
        """
        (value,) = self.service[name]
        return value

    def test_sections(self) -> None:
        """
        It can be enabled, and is restarted for as long as it takes.
        """
        self.assertEqual(set(self.unit), {"Unit", "Service", "Install"})
        self.assertEqual(self.unit["Install"]["WantedBy"], ["multi-user.target"])
        self.assertEqual(self.one("Restart"), "always")
        self.assertEqual(self.unit["Unit"]["StartLimitIntervalSec"], ["0"])

    def test_stopping(self) -> None:
        """
        systemd waits longer for the end than the broker may take.
        """
        settings, _ = from_environment({})
        self.assertGreater(int(self.one("TimeoutStopSec")) * 1000, settings.shutdown_ms + 5000)

    def test_data(self) -> None:
        """
        The data is where the service may write, and only the service may read.
        """
        pairs = [each for line in self.service["Environment"] for each in line.split()]
        environ = dict(each.split("=", 1) for each in pairs)
        settings, warnings = from_environment(environ)
        self.assertEqual(warnings, [])
        self.assertEqual(settings.data_dir, f"/var/lib/{self.one('StateDirectory')}")
        self.assertEqual(self.one("WorkingDirectory"), settings.data_dir)
        self.assertEqual((self.one("StateDirectoryMode"), self.one("UMask")), ("0700", "0077"))

    def test_hardened(self) -> None:
        """
        It has a user of its own, no privileges, and can write nowhere else.
        """
        self.assertEqual(self.one("User"), "kafscale")
        self.assertEqual(self.one("CapabilityBoundingSet"), "")
        self.assertEqual(self.one("ProtectSystem"), "strict")
        for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
            self.assertEqual(self.one(name), "yes", name)


class SettingsTests(SynchronousTestCase):
    """
    kafscale.env
    """

    def test_accepted(self) -> None:
        """
        The file sets only known settings, with valid values, and so do the
        examples that are commented out.
        """
        known = {name for each in SETTINGS for name in each.variables}
        files = known - {each.variable for each in SETTINGS}
        for commented in (False, True):
            environ = variables(commented)
            ours = {name for name in environ if name.startswith("KAFSCALE_")}
            self.assertLessEqual(ours, known)
            for name in ours & files:
                environ[name] = self.secret(environ[name])
            settings, warnings = from_environment(environ)
            self.assertEqual(warnings, [])
            check_effects(settings)
        self.assertLess(variables(False).keys(), variables(True).keys())

    def secret(self, path: str) -> str:
        """
        A file with a secret, in place of one that the unit gives the service.
        """
        folder = Path("/run/credentials/kafscale.service")
        self.assertEqual(Path(path).parent, folder)
        text = (SYSTEMD / "kafscale.service").read_text(encoding="utf-8")
        self.assertIn(f"#LoadCredential={Path(path).name}:", text)
        file = Path(self.mktemp())
        file.write_text("secret")
        return str(file)

    def test_named_by_the_unit(self) -> None:
        """
        The unit reads it from where it says that it is to be installed.
        """
        (path,) = unit()["Service"]["EnvironmentFile"]
        text = (SYSTEMD / "kafscale.service").read_text(encoding="utf-8")
        self.assertIn(f"deploy/systemd/kafscale.env {path}", text)
