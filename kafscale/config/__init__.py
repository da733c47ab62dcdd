"""
The settings of a broker: declared once, read from variables and options.

All else follows from the declarations in `kafscale.config.settings`: the
environment variable (C{KAFSCALE_SEGMENT_BYTES}) and the option
(C{--segment-bytes}) from the attribute's name; the help text and the table in
docs/configuration.md from section, kind, default and meaning. An option takes
precedence over its variable. Some settings can be given for a single listener
(C{KAFSCALE_LISTENER_NAME_EXTERNAL_SSL_KEY}). An empty option or variable counts as absent.
"""

from kafscale.config.help import help_text, table, version_text
from kafscale.config.setting import PREFIX, Setting
from kafscale.config.settings import SETTINGS, Settings
from kafscale.config.sources import from_environment, full_options, option_parameters

__all__ = [
    "PREFIX",
    "SETTINGS",
    "Setting",
    "Settings",
    "from_environment",
    "full_options",
    "help_text",
    "option_parameters",
    "table",
    "version_text",
]
