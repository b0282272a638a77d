# SPDX-License-Identifier: Apache-2.0
"""MXNet's programming model on this package's engine: arrays, symbols, executors.

::

    import inflight.mx as mx

    x = mx.nd.random.uniform(0, 1, (3, 640, 480))     # returns at once
    net = mx.sym.Variable("data") + 1
    executor = net.bind(mx.cpu(), {"data": x})        # cheap: programs are compiled once and shared
    y = executor.forward()[0]                         # returns at once
    if y.can_read():                                  # never waits
        print(y.asnumpy())

What is the same as in MXNet 1.9 and what differs: docs/from_mxnet.md. What MXNet has and this package does not raises
UnsupportedError, which names it and what to use instead.
"""

from __future__ import annotations

from inflight import _inflight
from inflight.mx import attribute as attribute
from inflight.mx import base as base
from inflight.mx import context as context
from inflight.mx import executor as executor
from inflight.mx import name as name
from inflight.mx import nd as nd
from inflight.mx import ndarray as _ndarray
from inflight.mx import random as random
from inflight.mx import sym as sym
from inflight.mx import symbol as _symbol
from inflight.mx.attribute import AttrScope as AttrScope
from inflight.mx.base import MXNetError as MXNetError
from inflight.mx.context import Context as Context
from inflight.mx.context import cpu as cpu
from inflight.mx.context import cpu_pinned as cpu_pinned
from inflight.mx.context import current_context as current_context
from inflight.mx.context import gpu as gpu
from inflight.mx.context import num_gpus as num_gpus
from inflight.mx.executor import Executor as Executor
from inflight.mx.ndarray import NDArray as NDArray
from inflight.mx.ndarray import waitall as waitall
from inflight.mx.symbol import Symbol as Symbol
from inflight.mx.symbol import Variable as Variable
from inflight.mx.symbol import var as var

_inflight._mx_set_classes(_ndarray.NDArray, _symbol.Symbol, executor.Executor)

# MXNet's long names are those of the same modules.
ndarray = nd
symbol = sym
rnd = random

__getattr__ = base.missing(
    "mx",
    {
        **dict.fromkeys(
            "autograd gluon optimizer opt kvstore kv metric init initializer lr_scheduler callback monitor mon operator rnn".split(),
            base.TRAINING,
        ),
        **dict.fromkeys(("mod", "module", "model"), "Symbol.bind(), and mx.nd.load() for the parameters"),
        **dict.fromkeys(("np", "npx", "numpy", "numpy_extension"), "mx.nd, or NumPy on asnumpy()"),
        **dict.fromkeys(("io", "image", "img", "recordio"), "inflight.open_source()"),
        **dict.fromkeys(("viz", "visualization", "profiler", "test_utils", "engine", "runtime"), "Symbol.tojson() and inflight's statistics"),
        **dict.fromkeys(("contrib", "onnx", "rtc", "library", "tensorrt"), "inflight.Model.load() for ONNX files"),
    },
)
