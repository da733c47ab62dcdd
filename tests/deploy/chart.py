"""
Helm's own library, in a process of its own:

    python -m tests.deploy.chart CHART < values.json

prints the results for the chart with these values, as JSON: the findings of
C{helm lint}, and the output of C{helm template} by the template's name, or the
error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "kafscale"


@attrs.frozen
class Rendered:
    """
    The results of Helm.

    @ivar findings: Of C{helm lint --strict}, beyond mere advice.
    @ivar refusal: Why nothing is made; empty if something is.
    @ivar objects: What is made.
    """

    findings: list[str]
    refusal: str
    objects: list[dict[str, Any]]

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """
        The only object of a kind, or that with a name.
        """
        (found,) = (
            each
            for each in self.objects
            if each["kind"] == kind and name in ("", each["metadata"]["name"])
        )
        return found


def render(values: dict[str, Any]) -> Rendered:
    """
    The chart with these values.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.chart", str(CHART)],
        input=json.dumps(values),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = json.loads(done.stdout)
    texts = [text for name, text in said["manifests"].items() if name.endswith(".yaml")]
    objects = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return Rendered(said["findings"], said["refusal"], objects)


def main() -> None:
    """
    Ask the library.
    """
    import helm_python

    values = json.load(sys.stdin)
    report = helm_python.lint(sys.argv[1], values, strict=True)
    findings = [each["error"] for each in report["messages"] if each["severity"] > 1]
    manifests: dict[str, str] = {}
    refusal = ""
    try:
        with helm_python.Chart.load(sys.argv[1]) as chart:
            manifests = chart.render(values, name="events", namespace="streams")
    except helm_python.HelmError as error:
        refusal = str(error)
    print(json.dumps({"findings": findings, "refusal": refusal, "manifests": manifests}))


if __name__ == "__main__":
    main()
