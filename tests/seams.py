"""
The private names that tests use, and how uses of private names are found.

A test that uses a private name breaks, or worse, tests nothing any more, when
the name changes. So there are few, each with its reason, and
L{tests.test_seams} checks that each is there and that tests use no others. The
functions that mutations replace have a table of their own, which also compares
their arguments: L{tests.simulation.mutations}.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType

import attrs
from kafka.protocol.api_message import ApiMessage
from twisted.logger import LogPublisher

from kafscale.concurrency.due_queue import DueQueue
from kafscale.log.partition.record_changes import RecordChanges
from kafscale.log.rolling import releasing
from kafscale.log.takeover import sealing
from kafscale.net.connection import Connection
from kafscale.net.fetch_client import FetchClient
from kafscale.net.outbox import TransportOutbox
from kafscale.services.records import produce
from kafscale.services.records.fetch import FetchService
from kafscale.services.records.fetch_sessions import FetchSessionCache
from kafscale.services.records.produce import ProduceService
from kafscale.store.sqlite.store import SQLiteMetadataStore

PUBLIC = frozenset({"_PARTITION_EOF", "_exit", "_fields", "_replace"})
"""Names that begin with an underscore and are documented all the same: of named
tuples, C{os._exit}, and an error of librdkafka."""

_PATCHES = frozenset({"delattr", "getattr", "hasattr", "patch", "setattr"})
"""Functions that take the name of an attribute as their second argument."""


@attrs.frozen
class Seam:
    """
    A private name that tests use.

    @ivar owner: The class or module that has it.
    @ivar name: The name.
    @ivar why: Why no public name would do.
    """

    owner: type | ModuleType
    name: str
    why: str

    def check(self) -> None:
        """
        Find the name: in the owner, or as an attribute that a method of the
        class assigns.

        @raise LookupError: there is no such name.
        """
        if hasattr(self.owner, self.name):
            return
        if isinstance(self.owner, type) and self.name in assigned(self.owner):
            return
        raise LookupError(
            f"{self.owner.__name__} has no {self.name}: if it was renamed, rename it in"
            f" {__name__} and in the tests that use it"
        )


SEAMS = (
    Seam(DueQueue, "_heap", "That removed items do not pile up is memory, and shows nowhere else."),
    Seam(RecordChanges, "_alive", "A mutation commits what it commits, in another way."),
    Seam(RecordChanges, "_metadata", "A mutation commits what it commits, in another way."),
    Seam(releasing, "_released", "A mutation commits what it commits, in another way."),
    Seam(sealing, "_first_missing", "A mutation finds the slot, and does not seal it."),
    Seam(Connection, "_waiting", "Which memory a waiting request keeps alive shows nowhere."),
    Seam(FetchClient, "_session", "The last epoch of a session is two billion polls away."),
    Seam(TransportOutbox, "_unsent", "How much waits behind TLS shows nowhere else."),
    Seam(produce, "_MAX_RULES", "The bound is too large for a test."),
    Seam(ProduceService, "_rules", "That the number of kept rules is bounded is memory."),
    Seam(ProduceService, "_rules_of", "Adds to the rules without a topic in the image."),
    Seam(FetchService, "_sessions", "Which sessions a service keeps shows nowhere else."),
    Seam(FetchSessionCache, "_sessions", "Their order, partitions and epochs show nowhere else."),
    Seam(SQLiteMetadataStore, "_leases", "No request lists leases; a test ends those of others."),
    Seam(LogPublisher, "_observers", "Twisted cannot name observers, to put them aside."),
    Seam(ApiMessage, "_header", "kafka-python sets it in the constructor, but not in decode."),
)


def assigned(owner: type) -> set[str]:
    """
    The attributes that methods of a class and its bases assign to C{self}, and
    its slots.
    """
    found: set[str] = set()
    for each in owner.__mro__:
        found |= set(getattr(each, "__slots__", ()))
        try:
            source = textwrap.dedent(inspect.getsource(each))
        except (OSError, TypeError):
            continue  # written in C
        found |= {
            node.attr
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and _is_own(node.value)
        }
    return found


def uses(source: str) -> Iterator[tuple[int, str]]:
    """
    The private names of other objects and modules that a module uses: as an
    attribute, in an import, or as a string in a call that patches. What a class
    has for itself (C{self._x}) does not count.

    @return: Pairs of the line and the name.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not _is_own(node.value):
            if _is_private(node.attr):
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if _is_private(alias.name):
                    yield node.lineno, alias.name
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            called, name = node.func, node.args[1]
            function = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
            if (
                function in _PATCHES
                and isinstance(name, ast.Constant)
                and isinstance(name.value, str)
                and _is_private(name.value)
            ):
                yield node.lineno, name.value


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC
