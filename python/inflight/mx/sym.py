# SPDX-License-Identifier: Apache-2.0
"""``mx.sym``: symbols, and operators on them."""

from __future__ import annotations

from typing import Any

from inflight import _inflight, errors
from inflight.mx._sym_operators import *  # noqa: F403
from inflight.mx.base import MissingError, UnknownNameError
from inflight.mx.symbol import *  # noqa: F403

_MISSING = {
    "random": "mx.nd.random, and an array as an input of the network",
    "sparse": "dense symbols: sparse ones are not offered",
    "linalg": "dot, batch_dot and linalg_gemm2",
    "contrib": "a model file (ONNX) with such operators",
    "image": "image inputs of inflight.Model",
    "Custom": "two networks, with NumPy between them",
}


def __getattr__(name: str) -> Any:
    if name in _MISSING:
        raise MissingError(f"mx.sym.{name}: it is not offered; use {_MISSING[name]}")
    if name.startswith("__"):
        raise AttributeError(f"module mx.sym has no attribute {name!r}")
    try:
        _inflight._mx_find_operator(name)
    except errors.UnsupportedError as missing:
        raise MissingError(f"mx.sym.{name}: {missing}") from None
    except errors.InvalidArgumentError as unknown:
        raise UnknownNameError(f"mx.sym.{name}: {unknown}") from None
    raise UnknownNameError(f"mx.sym.{name}: it is there for arrays and by other names only")
