# SPDX-License-Identifier: Apache-2.0
"""Functions of two arrays, or of an array and a number, either way round."""

from __future__ import annotations

import operator
from typing import Any

from inflight import _inflight, errors
from inflight.mx.base import is_number
from inflight.mx.ndarray import NDArray


def _either(name: str, array_op: str, scalar_op: str, reversed_op: str, of_numbers: Any) -> Any:
    def apply(lhs: Any, rhs: Any) -> Any:
        if isinstance(lhs, NDArray):
            if isinstance(rhs, NDArray):
                return _inflight._mx_invoke_pair(array_op, lhs, rhs, None)
            if is_number(rhs):
                return _inflight._mx_invoke_scalar(scalar_op, lhs, rhs, None)
        elif is_number(lhs):
            if isinstance(rhs, NDArray):
                return _inflight._mx_invoke_scalar(reversed_op, rhs, lhs, None)
            if is_number(rhs):
                return of_numbers(lhs, rhs)
        wrong = lhs if not isinstance(lhs, NDArray) and not is_number(lhs) else rhs
        raise errors.InvalidTypeError(f"mx.nd.{name}: found {type(wrong).__name__}, want an NDArray or a number")

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{name} of arrays, which broadcast, or of an array and a number."
    return apply


add = _either("add", "broadcast_add", "_plus_scalar", "_plus_scalar", operator.add)
subtract = _either("subtract", "broadcast_sub", "_minus_scalar", "_rminus_scalar", operator.sub)
multiply = _either("multiply", "broadcast_mul", "_mul_scalar", "_mul_scalar", operator.mul)
divide = _either("divide", "broadcast_div", "_div_scalar", "_rdiv_scalar", operator.truediv)
true_divide = divide
modulo = _either("modulo", "broadcast_mod", "_mod_scalar", "_rmod_scalar", operator.mod)
power = _either("power", "broadcast_power", "_power_scalar", "_rpower_scalar", operator.pow)
maximum = _either("maximum", "broadcast_maximum", "_maximum_scalar", "_maximum_scalar", max)
minimum = _either("minimum", "broadcast_minimum", "_minimum_scalar", "_minimum_scalar", min)
hypot = _either("hypot", "broadcast_hypot", "_hypot_scalar", "_hypot_scalar", lambda a, b: (a * a + b * b) ** 0.5)
equal = _either("equal", "broadcast_equal", "_equal_scalar", "_equal_scalar", lambda a, b: int(a == b))
not_equal = _either("not_equal", "broadcast_not_equal", "_not_equal_scalar", "_not_equal_scalar", lambda a, b: int(a != b))
greater = _either("greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar", lambda a, b: int(a > b))
greater_equal = _either(
    "greater_equal", "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar", lambda a, b: int(a >= b)
)
lesser = _either("lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar", lambda a, b: int(a < b))
lesser_equal = _either(
    "lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar", lambda a, b: int(a <= b)
)
logical_and = _either(
    "logical_and", "broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar", lambda a, b: int(bool(a and b))
)
logical_or = _either("logical_or", "broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar", lambda a, b: int(bool(a or b)))
logical_xor = _either(
    "logical_xor", "broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar", lambda a, b: int(bool(a) != bool(b))
)

__all__ = [
    "add", "divide", "equal", "greater", "greater_equal", "hypot", "lesser", "lesser_equal", "logical_and", "logical_or",
    "logical_xor", "maximum", "minimum", "modulo", "multiply", "not_equal", "power", "subtract", "true_divide",
]  # fmt: skip
