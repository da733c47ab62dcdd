"""
What a declaration of a setting consists of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kafscale.config.kinds import BOOLEAN, Kind
from kafscale.config.needs import Need
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
    @ivar secret: Whether the value is a secret. Then it is given in the variable, or in a
        file that the variable with C{_FILE} or the option with C{-file} names, and not
        on the command line, which others can see.
    @ivar needs: Without any of these it has no effect, and is refused.
    """

    name: str
    section: str
    kind: Kind
    default: str
    meaning: str
    on_s3: str = ""
    otherwise: str = "none"
    by_listener: bool = False
    secret: bool = False
    needs: Sequence[Need] = ()

    @property
    def variable(self) -> str:
        """
        The environment variable.
        """
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """
        The command-line option, without its dashes; that of a secret takes the path of a
        file.
        """
        return self.name.replace("_", "-") + ("-file" if self.secret else "")

    @property
    def variables(self) -> list[str]:
        """
        All environment variables that the setting can be given in.
        """
        return [self.variable, f"{self.variable}_FILE"] if self.secret else [self.variable]

    @property
    def usage(self) -> str:
        """
        The option with its value, as the help shows it.
        """
        value = "=PATH" if self.secret else f"={self.kind.metavar}"
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
            source and value, unless that is a secret, and says what is expected.
        """
        try:
            return self.kind.parse(text.strip())
        except ValueError:
            value = "..." if self.secret else repr(text)
            raise SettingError(f"invalid {source}={value}: expected {self.kind.expects}") from None

    def read_file(self, path: str, source: str) -> Any:
        """
        Parse the value that is in a file, without blanks and line ends around it.

        @param source: The variable or option that names the file.
        @raise SettingError: There is no such file, or its contents are not acceptable.
        """
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingError(f"cannot read {source}={path!r}: {why}") from None
        if not text.strip():
            raise SettingError(f"{source}={path!r}: the file is empty")
        return self.read(text, source)


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
    needs: Sequence[Need] = (),
) -> Any:
    """
    Declare a setting, as the value of an attribute of `Settings`.

    @param section: See L{Setting}, as for the other parameters.
    """
    value: Any = kind.parse(default) if default else None
    if on_s3:
        elsewhere, there = value, kind.parse(on_s3)

        def either(made: Any) -> Any:
            return there if made.s3_bucket else elsewhere

        value = attrs.Factory(either, takes_self=True)
    declared = (section, kind, default, meaning, on_s3, otherwise, by_listener, secret, needs)
    return attrs.field(default=value, metadata={"setting": declared}, repr=not secret)
