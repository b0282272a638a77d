# SPDX-License-Identifier: Apache-2.0
"""Names of operators in a symbol that are not given: ``mx.name.Prefix("first_")``."""

from __future__ import annotations

from types import TracebackType

from inflight import errors
from inflight.mx._scopes import Scopes


class NameManager:
    """Gives names such as ``fullyconnected0``, counted from 0 in each ``with`` block of it."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def get(self, name: str | None, hint: str) -> str:
        """``name``, or the next one of this hint."""
        if name:
            return name
        count = self._counts.get(hint, 0)
        self._counts[hint] = count + 1
        return f"{hint}{count}"

    def __enter__(self) -> NameManager:
        _scopes.push(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        _scopes.pop()


class Prefix(NameManager):
    """The same with something before each name, those that are given included."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The name with the prefix."""
        return self._prefix + super().get(name, hint)


_scopes: Scopes[NameManager] = Scopes()


def name_of(name: str | None, op: str) -> str:
    """The name of a new operator; "" where the library is to count."""
    if name is not None and not isinstance(name, str):
        raise errors.InvalidTypeError(f"name: found {type(name).__name__}, want a str")
    names = _scopes.innermost()
    return names.get(name, op.lower()) if names else name or ""
