"""
Errors of reading stored data.

Each error is one line. A codec does not know the key of the object that it
reads. A caller that does sets it on the error, and then the line begins with
the key.
"""

from __future__ import annotations

from kafscale.errors import StoreError


class UnreadableData(StoreError):
    """
    An object or an entry of the metadata store cannot be read.

    @ivar key: Its key; empty while it is not known.
    @ivar reason: The error without the key.
    """

    def __init__(self, reason: str, key: str = "") -> None:
        """
        @param reason: The error without the key.
        @param key: Of the object or entry, if it is known.
        """
        super().__init__(reason)
        self.reason = reason
        self.key = key

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" if self.key else self.reason


class CorruptObject(UnreadableData):
    """
    The contents of an object are not valid: its bytes were changed, or it was
    not written by a broker.
    """


class CorruptRecord(UnreadableData):
    """
    The value of an entry of the metadata store is not valid: it was changed, or
    it was not written by a broker.
    """


class NewerFormat(UnreadableData):
    """
    The data was written by a newer version, in a level of its format that this
    version does not read (`kafscale.format.levels`).
    """

    def __init__(self, name: str, found: int, highest: int, key: str = "") -> None:
        """
        @param name: Of the format.
        @param found: The level of the data.
        @param highest: The highest level of the format that this version reads.
        """
        super().__init__(
            f"level {found} of the format {name!r} is newer than this version, which reads it up"
            f" to level {highest}: use the version that has written it",
            key,
        )
