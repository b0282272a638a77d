# SPDX-License-Identifier: Apache-2.0
"""``mx.sym``: symbols, and operators on them."""

from __future__ import annotations

from inflight.mx._sym_operators import *  # noqa: F403
from inflight.mx.base import missing_operator
from inflight.mx.symbol import *  # noqa: F403

_MISSING = {
    "random": "mx.nd.random, and an array as an input of the network",
    "sparse": "dense symbols: sparse ones are not offered",
    "linalg": "dot, batch_dot and linalg_gemm2",
    "contrib": "a model file (ONNX) with such operators",
    "image": "image inputs of inflight.Model",
    "Custom": "two networks, with NumPy between them",
}

__getattr__ = missing_operator("mx.sym", _MISSING, others="arrays")
