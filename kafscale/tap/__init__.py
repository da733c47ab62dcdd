"""
``twistd kafscale``: where the rooms are joined.

The only package that knows all of them, and the only one that knows the
reactor.
"""

from __future__ import annotations

import os
import sys

from twisted.application.service import IService
from twisted.python import usage

from kafscale.config import from_environment, option_parameters
from kafscale.errors import SettingError
from kafscale.tap.broker import BrokerService

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """
    The options of ``twistd kafscale``: one for each setting.
    """

    longdesc = "A Kafka-compatible broker whose log lives in an object store."
    optParameters = option_parameters()

    def postOptions(self) -> None:
        """
        Read the settings; one line and exit status 1 if one is wrong.
        """
        try:
            self.settings, self.warnings = from_environment(os.environ, self)
        except SettingError as error:
            sys.exit(f"kafscale: {error}")


def makeService(options: Options) -> IService:
    """
    The broker, as a Twisted service.
    """
    return BrokerService(options.settings, options.warnings)
