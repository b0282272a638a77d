# SPDX-License-Identifier: Apache-2.0
"""Random numbers: ``mx.random``, and ``mx.nd.random``.

After ``seed()``, the same numbers in the order of the calls, however many threads compute them. They are not MXNet's.
"""

from __future__ import annotations

from typing import Any

from inflight import _inflight, errors
from inflight.mx.base import NULL, dtype_name, is_number, missing, shape_of
from inflight.mx.context import check_context, current_context
from inflight.mx.ndarray import NDArray


def seed(seed_state: int, ctx: Any = "all") -> None:
    """Starts the numbers anew, for all devices."""
    if isinstance(seed_state, bool) or not hasattr(seed_state, "__index__"):
        raise errors.InvalidTypeError(f"seed: found {type(seed_state).__name__}, want an integer")
    if ctx != "all":
        check_context(ctx)
    _inflight._mx_seed(int(seed_state) % 2**64)


def _drawn(draw: Any, what: str, first: Any, second: Any, shape: Any, dtype: Any, ctx: Any, out: Any, fallback: str) -> NDArray:
    check_context(ctx)
    for value in (first, second):
        if isinstance(value, NDArray):
            raise errors.UnsupportedError(f"{what}: found an array as a parameter, want a number; scale and shift what is drawn")
        if not is_number(value):
            raise errors.InvalidTypeError(f"{what}: found {type(value).__name__} as a parameter, want a number")
    unsaid = dtype is NULL or dtype is None or dtype == "None"
    if out is not None:
        if not isinstance(out, NDArray):
            raise errors.InvalidTypeError(f"{what}: out: found {type(out).__name__}, want an mx.nd.NDArray")
        if unsaid:
            dtype, unsaid = out.dtype, False
        if shape is NULL or shape is None:
            shape = out.shape
    extents = (1,) if shape is NULL or shape is None else shape_of(shape)
    made: NDArray = draw(first, second, extents, fallback if unsaid else dtype_name(dtype))
    if out is not None:
        return made.copyto(out)
    return made.as_in_context(current_context() if ctx is None else ctx)


def uniform(
    low: float = 0, high: float = 1, shape: Any = NULL, dtype: Any = NULL, ctx: Any = None, out: Any = None
) -> NDArray:
    """Numbers from low to before high: float16 or float32. Without a shape, one."""
    return _drawn(_inflight._mx_uniform, "uniform", low, high, shape, dtype, ctx, out, "float32")


def normal(
    loc: float = 0, scale: float = 1, shape: Any = NULL, dtype: Any = NULL, ctx: Any = None, out: Any = None
) -> NDArray:
    """Numbers of a normal distribution: float16 or float32."""
    return _drawn(_inflight._mx_normal, "normal", loc, scale, shape, dtype, ctx, out, "float32")


def randn(*shape: int, loc: float = 0, scale: float = 1, dtype: Any = NULL, ctx: Any = None, out: Any = None) -> NDArray:
    """The same, with the shape first."""
    return normal(loc, scale, shape or NULL, dtype, ctx, out)


def randint(low: int, high: int, shape: Any = NULL, dtype: Any = NULL, ctx: Any = None, out: Any = None) -> NDArray:
    """Whole numbers from low to before high: int32 or int64."""
    for value in (low, high):
        if is_number(value) and int(value) != value:
            raise errors.InvalidArgumentError(f"randint: found {value}, want whole numbers")
    return _drawn(_inflight._mx_randint, "randint", int(low), int(high), shape, dtype, ctx, out, "int32")


_INSTEAD = "uniform, normal or randint, or draw with NumPy"
__getattr__ = missing(
    "mx.random",
    dict.fromkeys(
        "exponential gamma poisson negative_binomial generalized_negative_binomial multinomial shuffle bernoulli".split(),
        _INSTEAD,
    ),
)
