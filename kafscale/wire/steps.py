"""
Work that is divided into steps, because it would hold up the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[Callable[[], Any] | None, Any, T]
"""
Long work, divided into steps. The generator yields None after a step, or a
function whose result it is to be sent. The function may take long, but releases
the interpreter's lock, so it is best called in another thread.
"""
