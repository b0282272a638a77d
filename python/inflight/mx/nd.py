# SPDX-License-Identifier: Apache-2.0
"""``mx.nd``: arrays, and operators on them."""

from __future__ import annotations

from inflight.mx import random as random
from inflight.mx._nd_operators import *  # noqa: F403
from inflight.mx.base import missing_operator
from inflight.mx.ndarray import *  # noqa: F403
from inflight.mx.pairs import *  # noqa: F403
from inflight.mx.random import normal as normal
from inflight.mx.random import normal as random_normal
from inflight.mx.random import randint as random_randint
from inflight.mx.random import randn as randn
from inflight.mx.random import uniform as random_uniform
from inflight.mx.random import uniform as uniform

_MISSING = {
    "sparse": "dense arrays: sparse ones are not offered",
    "linalg": "dot, batch_dot and linalg_gemm2",
    "contrib": "a model file (ONNX) with such operators",
    "image": "inflight.open_source(), or image inputs of inflight.Model",
    "Custom": "inflight.Engine, or NumPy on asnumpy()",
    "imdecode": "inflight.open_source()",
    "to_dlpack_for_read": "NDArray.__dlpack__()",
    "to_dlpack_for_write": "NDArray.__dlpack__(), and assign what comes back",
    "CachedOp": "Symbol.bind()",
}

__getattr__ = missing_operator("mx.nd", _MISSING, others="symbols")
