"""
What a declaration of a setting consists of.
"""

from __future__ import annotations

from typing import Any

import attrs

from kafscale.config.kinds import BOOLEAN, Kind
from kafscale.errors import SettingError

PREFIX = "KAFSCALE_"


@attrs.frozen
class Setting:
    """
    One setting, as users see it.

    @ivar name: The attribute of `Settings`.
    @ivar section: The heading under which help and documentation list it.
    @ivar default: The default as a user would write it; empty if there is none.
    @ivar meaning: Whole sentences that can be read without their neighbours;
        may contain Markdown.
    @ivar on_s3: The default with a bucket, where requests cost money; empty
        if it is the same.
    @ivar otherwise: What holds if nothing is set, in words, for settings
        without a default.
    @ivar by_listener: Whether it can be given for a single listener.
    """

    name: str
    section: str
    kind: Kind
    default: str
    meaning: str
    on_s3: str = ""
    otherwise: str = "none"
    by_listener: bool = False

    @property
    def variable(self) -> str:
        """
        The environment variable.
        """
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """
        The command-line option, without its dashes.
        """
        return self.name.replace("_", "-")

    @property
    def usage(self) -> str:
        """
        The option with its value, as the help shows it.
        """
        value = f"={self.kind.metavar}"
        return f"--{self.option}{f'[{value}]' if self.kind is BOOLEAN else value}"

    @property
    def default_text(self) -> str:
        """
        The default in words and Markdown.
        """
        if not self.default:
            return self.otherwise
        return f"`{self.default}`" + (f", with S3 `{self.on_s3}`" if self.on_s3 else "")

    def read(self, text: str, source: str) -> Any:
        """
        Parse the value that a user gave.

        @param source: The variable or option that it comes from.
        @raise SettingError: The value is not acceptable; the message names
            source and value, and says what is expected.
        """
        try:
            return self.kind.parse(text.strip())
        except ValueError:
            raise SettingError(f"invalid {source}={text!r}: expected {self.kind.expects}") from None


def setting(
    section: str,
    kind: Kind,
    default: str,
    meaning: str,
    *,
    on_s3: str = "",
    otherwise: str = "none",
    secret: bool = False,
    by_listener: bool = False,
) -> Any:
    """
    Declare a setting, as the value of an attribute of `Settings`.

    @param section: See L{Setting}, as for the other parameters.
    @param secret: Leave the value out of the C{repr} of `Settings`.
    """
    value: Any = kind.parse(default) if default else None
    if on_s3:
        elsewhere, there = value, kind.parse(on_s3)

        def either(made: Any) -> Any:
            return there if made.s3_bucket else elsewhere

        value = attrs.Factory(either, takes_self=True)
    metadata = {"setting": (section, kind, default, meaning, on_s3, otherwise, by_listener)}
    return attrs.field(default=value, metadata=metadata, repr=not secret)
