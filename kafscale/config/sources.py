"""
Reading settings from environment variables and command-line options.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from kafscale.config.setting import PREFIX
from kafscale.config.settings import SETTINGS, Settings


def from_environment(
    environ: Mapping[str, str], options: Mapping[str, str | None] | None = None
) -> tuple[Settings, list[str]]:
    """
    The settings given by environment variables and options.

    @param environ: Such as C{os.environ}.
    @param options: The option's name, without dashes, to its value; None or
        empty if it was not given. Takes precedence over the variable.
    @return: The settings, and warnings of one line each about variables with
        our prefix that are not settings.
    @raise SettingError: A value is not acceptable.
    """
    values: dict[str, Any] = {}
    warnings = []
    for each in SETTINGS:
        option, variable = (options or {}).get(each.option), environ.get(each.variable)
        if option:
            values[each.name] = each.read(option, f"--{each.option}")
        elif variable and re.match(r"(tcp|udp|sctp)://", variable):
            # Kubernetes sets such variables for a service called "kafscale-broker".
            warnings.append(
                f"{each.variable}={variable!r} was set by Kubernetes for a service: ignored"
            )
        elif variable:
            values[each.name] = each.read(variable, each.variable)
    known = {each.variable for each in SETTINGS}
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        hint = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"unknown setting {name} ignored{hint}")
    return Settings(**values), warnings


def option_parameters() -> list[list[str | None]]:
    """
    The settings as C{optParameters} of C{twisted.python.usage.Options}. Their
    defaults are None, so that an option that is not given leaves the variable.
    """
    return [[each.option, None, None, each.meaning.replace("`", "")] for each in SETTINGS]
