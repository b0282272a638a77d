# SPDX-License-Identifier: Apache-2.0
"""What the modules of :mod:`inflight.mx` share: errors, texts of attributes, and names that MXNet has and we do not."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from inflight import _inflight, errors

MXNetError = errors.Error
"""The base of this package's exceptions, under MXNet's name for its own."""


class MissingError(errors.UnsupportedError, AttributeError):
    """MXNet has this name, and :mod:`inflight.mx` does not; the text says what to use instead."""


class UnknownNameError(errors.InvalidArgumentError, AttributeError):
    """Neither MXNet nor :mod:`inflight.mx` has this name."""


class _Null:
    """What stands for "not given" in the signatures of operators."""

    def __repr__(self) -> str:
        return "_Null"

    def __bool__(self) -> bool:
        return False


NULL: Any = _Null()

TRAINING = "train with another framework, and load what it writes: training is not offered"


def missing(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: what MXNet has raises and says what to use instead."""

    def get(name: str) -> Any:
        instead = names.get(name)
        if instead is None:
            raise UnknownNameError(f"module {module} has no attribute {name!r}")
        raise MissingError(f"{module}.{name}: it is not offered; use {instead}")

    return get


def missing_operator(module: str, names: Mapping[str, str], others: str) -> Callable[[str], Any]:
    """The same for a module of operators, each of which the table knows; ``others`` is what has those that are not here."""

    def get(name: str) -> Any:
        if name in names:
            raise MissingError(f"{module}.{name}: it is not offered; use {names[name]}")
        if name.startswith("__"):
            raise AttributeError(f"module {module} has no attribute {name!r}")
        try:
            _inflight._mx_find_operator(name)
        except errors.UnsupportedError as refused:
            raise MissingError(f"{module}.{name}: {refused}") from None
        except errors.InvalidArgumentError as unknown:
            raise UnknownNameError(f"{module}.{name}: {unknown}") from None
        raise UnknownNameError(f"{module}.{name}: it is there for {others} and by other names only")

    return get


def dtype_name(dtype: Any) -> str:
    """``"float32"`` for whatever NumPy takes as a type."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        raise errors.UnsupportedError("dtype: found 'bfloat16', which NumPy does not have; want 'float16' or 'float32'")
    try:
        made = numpy.dtype(dtype)
    except TypeError as refused:
        raise errors.InvalidTypeError(f"dtype: found {dtype!r}, want a type of NumPy's such as 'float32'") from refused
    if not made.isnative:
        raise errors.InvalidArgumentError(f"dtype: found {made.str!r}, want the byte order of this machine")
    return made.name


def is_number(value: object) -> bool:
    """Whether it is one number, of Python's or NumPy's."""
    return isinstance(value, (int, float, numbers.Real, numpy.bool_))


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape from one integer or several."""
    if isinstance(shape, numbers.Integral):
        return (int(shape),)
    if isinstance(shape, (str, bytes)) or not isinstance(shape, (Sequence, numpy.ndarray)):
        raise errors.InvalidTypeError(f"shape: found {type(shape).__name__}, want an integer or a sequence of them")
    extents = []
    for extent in shape:
        if not isinstance(extent, numbers.Integral) or isinstance(extent, bool):
            raise errors.InvalidTypeError(f"shape: found {extent!r} in it, want integers")
        extents.append(int(extent))
    return tuple(extents)


def attribute_text(name: str, value: Any) -> str:
    """An attribute of an operator as MXNet writes it: ``(3, 3)``, ``True``, ``float32``."""
    if isinstance(value, str):
        return value
    if name == "dtype" and value is not None:
        return dtype_name(value)
    return str(_plain(name, value))


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (numpy.generic, numpy.ndarray)):
        return _plain(name, value.tolist())
    if isinstance(value, (tuple, list)):
        return tuple(_plain(name, one) for one in value)
    if isinstance(value, type) or isinstance(value, numpy.dtype):
        return dtype_name(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise errors.InvalidTypeError(
        f"{name}: found {type(value).__name__}, want a number, a text, or a tuple of numbers; arrays go before attributes"
    )
