# SPDX-License-Identifier: Apache-2.0
"""What the ``with`` blocks of a thread have entered."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Entered = TypeVar("Entered")


class Scopes(Generic[Entered]):
    """A stack for each thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def push(self, entered: Entered) -> None:
        """At the begin of a block."""
        self._stack().append(entered)

    def pop(self) -> None:
        """At its end."""
        self._stack().pop()

    def innermost(self) -> Entered | None:
        """What this thread entered last, or None outside of every block."""
        stack = self._stack()
        return stack[-1] if stack else None

    def _stack(self) -> list[Entered]:
        stack: list[Entered] | None = getattr(self._local, "stack", None)
        if stack is None:
            stack = self._local.stack = []
        return stack
