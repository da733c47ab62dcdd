"""
``twistd kafscale``: the package that joins the rooms to a broker.

It alone imports all rooms, and it alone uses the reactor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from twisted.application.service import IService
from twisted.python import usage

from kafscale.config import (
    from_environment,
    full_options,
    help_text,
    option_parameters,
    version_text,
)
from kafscale.errors import SettingError
from kafscale.ops.launch import Launch
from kafscale.tap.broker import BrokerService

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """
    The options of ``twistd kafscale``, one for each setting.

    @cvar command: How the user has called it.
    @ivar settings: The settings from options and environment, once parsed.
    @ivar warnings: What to log about variables that are not settings.
    @ivar launch: Reports the outcome of the start to the user's command.
    """

    synopsis = (
        "Usage: python -m kafscale run [options]\n"
        "       twistd [options of twistd] kafscale [options]\n"
    )
    optParameters = option_parameters()
    command = "twistd kafscale"

    def getSynopsis(self) -> str:  # noqa: N802 - Twisted's name
        """
        The first lines of the help.
        """
        return self.synopsis

    def getUsage(self, width: int | None = None) -> str:  # noqa: N802 - Twisted's name
        """
        The help, in sections. Twisted's own is one list, sorted by name.

        @param width: Columns of the terminal.
        """
        return help_text(width or int(os.environ.get("COLUMNS", "80")))

    def opt_version(self) -> None:
        """
        Show the versions of Kafscale and Twisted and exit.
        """
        sys.stdout.write(f"{version_text()}\n")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse; a mistake ends the process with one line and exit status 1.
        twistd would print the whole help first.
        """
        given = sys.argv[1:] if options is None else options
        try:
            full = full_options(given, ("help", "version"))
            super().parseOptions(full)  # type: ignore[no-untyped-call]
        except (usage.UsageError, SettingError) as error:
            sys.exit(f"kafscale: {error}; see {self.command} --help")

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802 - Twisted's name
        """
        Refuse arguments that are not options.
        """
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def postOptions(self) -> None:
        """
        Read the settings; a wrong one ends the process with one line and exit
        status 1.
        """
        try:
            self.settings, self.warnings = from_environment(os.environ, self)
        except SettingError as error:
            sys.exit(f"kafscale: {error}")
        self.launch = Launch(self.parent)


def makeService(options: Options) -> IService:
    """
    The broker, as a Twisted service.

    @param options: Parsed already.
    """
    return BrokerService(options.settings, options.warnings, options.launch)
