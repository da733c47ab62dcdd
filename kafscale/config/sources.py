"""
Reading settings from environment variables and command-line options.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kafscale.config.kinds import BOOLEAN, PATH
from kafscale.config.setting import PREFIX
from kafscale.config.settings import SETTINGS, Settings
from kafscale.errors import SettingError

_LISTENER_PREFIX = f"{PREFIX}LISTENER_NAME_"

# Kubernetes sets such variables for a service called "kafscale-broker": one that ends with
# _PORT and has this value, and others with these names.
_FROM_KUBERNETES = re.compile(r"(tcp|udp|sctp)://")
_OF_KUBERNETES = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)

_GUARDING = ("TLS", "Authentication", "Authorization")
"""Sections whose settings protect the broker."""


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
    @raise SettingError: A value is not acceptable, or a variable is like a setting, and
        is none.
    """
    values: dict[str, Any] = {}
    given: dict[tuple[str, str], str] = {}
    warnings = []
    for each in SETTINGS:
        option, variable = (options or {}).get(each.option), environ.get(each.variable)
        file = environ.get(f"{each.variable}_FILE") if each.secret else None
        source = ""
        if option:
            source = f"--{each.option}"
            read = each.read_file if each.secret else each.read
            values[each.name] = read(option, source)
        elif variable and file:
            raise SettingError(f"{each.variable} and {each.variable}_FILE are both set")
        elif file:
            source = f"{each.variable}_FILE"
            values[each.name] = each.read_file(file, source)
        elif variable and _FROM_KUBERNETES.match(variable):
            warnings.append(
                f"{each.variable}={variable!r} was set by Kubernetes for a service: ignored"
            )
        elif variable:
            source = each.variable
            values[each.name] = each.read(variable, source)
        if source:
            given["", each.name] = source
    known = {name for each in SETTINGS for name in each.variables}
    by_listener: dict[str, dict[str, Any]] = {}
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        if name.startswith(_LISTENER_PREFIX) and environ[name]:
            listener, setting, value = _for_listener(name, environ[name])
            if (listener, setting) in given:
                raise SettingError(f"{given[listener, setting]} and {name} are both set")
            given[listener, setting] = name
            by_listener.setdefault(listener, {})[setting] = value
        elif environ[name]:
            warnings.append(_unknown(name, environ[name], known))
    return Settings(**values, by_listener=by_listener, given=given), warnings


def _for_listener(variable: str, text: str) -> tuple[str, str, Any]:
    """
    The listener and the setting in the name of a variable that is for one listener, and
    its value.

    @raise SettingError: There is no such setting, or the value is not acceptable.
    """
    for each in SETTINGS:
        for end in each.variables:
            suffix = f"_{end.removeprefix(PREFIX)}"
            listener = variable.removeprefix(_LISTENER_PREFIX).removesuffix(suffix)
            if each.by_listener and variable == f"{_LISTENER_PREFIX}{listener}{suffix}":
                read = each.read if end == each.variable else each.read_file
                return listener, each.name, read(text, variable)
    raise SettingError(
        f"unknown setting {variable}: no setting for a single listener ends like that"
    )


def _unknown(variable: str, text: str, known: Collection[str]) -> str:
    """
    A warning of a variable that is no setting.

    @raise SettingError: It is a setting with a mistake in its name, which would be
        without effect.
    """
    if not _FROM_KUBERNETES.match(text) and not _OF_KUBERNETES.fullmatch(variable):
        close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
        for each in SETTINGS:  # KAFSCALE_AUTHORIZER_CLASS_NAME, as in Kafka
            if each.section in _GUARDING and variable.startswith(f"{each.variable}_"):
                close.append(each.variable)
        if close:
            raise SettingError(f"unknown setting {variable}; did you mean {close[0]}?")
    return f"unknown setting {variable} ignored"


def option_parameters() -> list[list[str | None]]:
    """
    The settings as C{optParameters} of C{twisted.python.usage.Options}. Their
    defaults are None, so that an option that is not given leaves the variable.
    """
    return [[each.option, None, None, each.meaning.replace("`", "")] for each in SETTINGS]


def full_options(arguments: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """
    The arguments of a command line, with a value for each option that is a
    setting. C{getopt}, which parses them, takes abbreviations for options, and
    has no option whose value can be left out.

    @param others: The options that are no settings, without dashes, and take
        no value.
    @return: The same arguments, with C{--name=value} in the place of
        C{--name value}, and of C{--name} where C{1} is meant.
    @raise SettingError: There is no such option, or its value is missing.
    """
    kinds = {each.option: PATH if each.secret else each.kind for each in SETTINGS}
    left, found = list(arguments), []
    while left and left[0].startswith("--") and left[0] != "--":
        name, equals, value = left.pop(0)[2:].partition("=")
        if name not in kinds and name not in others:
            close = difflib.get_close_matches(name, [*kinds, *others], n=1, cutoff=0.6)
            hint = f" (did you mean --{close[0]}?)" if close else ""
            raise SettingError(f"unknown option --{name}{hint}")
        if name in kinds and not equals:
            if kinds[name] is BOOLEAN and not (left and _is_boolean(left[0])):
                value = "1"
            elif left:
                value = left.pop(0)
            else:
                raise SettingError(f"option --{name} has no value")
        found.append(f"--{name}={value}" if name in kinds or equals else f"--{name}")
    return found + left


def _is_boolean(text: str) -> bool:
    try:
        BOOLEAN.parse(text)
    except ValueError:
        return False
    return True
