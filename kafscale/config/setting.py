"""
How a setting is declared, and how it is written.
"""

from __future__ import annotations

from typing import Any

import attrs

from kafscale.config.kinds import Kind
from kafscale.errors import SettingError

PREFIX = "KAFSCALE_"


@attrs.frozen
class Setting:
    """
    One setting, as the user meets it.

    @ivar name: The attribute of `Settings`.
    @ivar default: As the user would write it; empty when there is none.
    @ivar meaning: In plain words; may hold Markdown.
    @ivar on_s3: The default where the records are in a bucket, and requests
        cost money; empty when it is the same.
    """

    name: str
    kind: Kind
    default: str
    meaning: str
    on_s3: str = ""

    @property
    def variable(self) -> str:
        """
        Its environment variable.
        """
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """
        Its option on the command line, without the dashes.
        """
        return self.name.replace("_", "-")

    def read(self, text: str, source: str) -> Any:
        """
        The value that C{text} stands for.

        @raise SettingError: none; the message names C{source}.
        """
        try:
            return self.kind.parse(text.strip())
        except ValueError:
            raise SettingError(f"{source}={text!r}: accepted is {self.kind.accepts}") from None


def setting(
    kind: Kind, default: str, meaning: str, on_s3: str = "", secret: bool = False
) -> Any:
    """
    The declaration of one, as an attribute of `Settings`.

    @param secret: Whether it is left out where settings are shown.
    """
    value: Any = kind.parse(default) if default else None
    if on_s3:
        elsewhere, there = value, kind.parse(on_s3)

        def either(made: Any) -> Any:
            return there if made.s3_bucket else elsewhere

        value = attrs.Factory(either, takes_self=True)
    metadata = {"setting": (kind, default, meaning, on_s3)}
    return attrs.field(default=value, metadata=metadata, repr=not secret)
