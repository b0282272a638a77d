# SPDX-License-Identifier: Apache-2.0
"""Attributes of the user's own for all symbols of a block: ``with mx.AttrScope(__group__="4"):``."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from inflight import errors
from inflight.mx._scopes import Scopes

_scopes: Scopes[dict[str, str]] = Scopes()


class AttrScope:
    """Variables and operators that are made inside the block get these attributes, whose values are text."""

    def __init__(self, **attributes: str) -> None:
        for key, value in attributes.items():
            if not isinstance(value, str):
                raise errors.InvalidTypeError(f"AttrScope: {key}: found {type(value).__name__}, want a str")
        self._attributes = attributes

    def __enter__(self) -> AttrScope:
        _scopes.push({**(_scopes.innermost() or {}), **self._attributes})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        _scopes.pop()


def attributes_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """Those of the block, and those given."""
    attributes = dict(_scopes.innermost() or {})
    if given:
        for key, value in given.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise errors.InvalidTypeError(f"attr: found {key!r}: {value!r}, want texts")
            attributes[key] = value
    return attributes
