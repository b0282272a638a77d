# SPDX-License-Identifier: Apache-2.0
"""Asynchronous inference: submit each frame the moment it arrives; nothing blocks.

::

    import inflight

    predictor = inflight.Predictor(inflight.Model.load("model.onnx"), in_flight_limit=8)
    prediction = predictor.submit(frame)         # returns at once: admitted, or OverloadedError
    if prediction.can_read():                    # one load, no lock
        scores = prediction.output(0).numpy()    # a view without a copy
    for prediction in predictor.take_finished(): # what has finished since the last look
        ...
    await prediction                             # in asyncio; or prediction.wait() in a thread

The words are those of the C++ library. Failures are exceptions of :mod:`inflight.errors`.
"""

from __future__ import annotations

from inflight import _inflight
from inflight import errors as errors
from inflight._inflight import CompletionQueue as CompletionQueue
from inflight._inflight import Device as Device
from inflight._inflight import DeviceStatistics as DeviceStatistics
from inflight._inflight import Engine as Engine
from inflight._inflight import Histogram as Histogram
from inflight._inflight import Model as Model
from inflight._inflight import ModelSummary as ModelSummary
from inflight._inflight import NDArray as NDArray
from inflight._inflight import OpToken as OpToken
from inflight._inflight import Prediction as Prediction
from inflight._inflight import PredictionTimes as PredictionTimes
from inflight._inflight import Predictor as Predictor
from inflight._inflight import Runtime as Runtime
from inflight._inflight import Source as Source
from inflight._inflight import StageLatencies as StageLatencies
from inflight._inflight import Statistics as Statistics
from inflight._inflight import Stream as Stream
from inflight._inflight import TensorSpec as TensorSpec
from inflight._inflight import Tuning as Tuning
from inflight._inflight import Var as Var
from inflight._inflight import VideoFrame as VideoFrame
from inflight._inflight import default_model as default_model
from inflight._inflight import from_dlpack as from_dlpack
from inflight._inflight import open_source as open_source
from inflight._inflight import wait_all as wait_all
from inflight._inflight import wait_any as wait_any
from inflight.errors import CallbackError as CallbackError
from inflight.errors import CancelledError as CancelledError
from inflight.errors import DeadlineExceededError as DeadlineExceededError
from inflight.errors import DeviceError as DeviceError
from inflight.errors import Error as Error
from inflight.errors import InternalError as InternalError
from inflight.errors import InvalidArgumentError as InvalidArgumentError
from inflight.errors import InvalidMediaError as InvalidMediaError
from inflight.errors import InvalidModelError as InvalidModelError
from inflight.errors import InvalidTypeError as InvalidTypeError
from inflight.errors import IoError as IoError
from inflight.errors import NoSuchDeviceError as NoSuchDeviceError
from inflight.errors import NotFoundError as NotFoundError
from inflight.errors import NotReadyError as NotReadyError
from inflight.errors import OutOfMemoryError as OutOfMemoryError
from inflight.errors import OverloadedError as OverloadedError
from inflight.errors import ShuttingDownError as ShuttingDownError
from inflight.errors import UnsupportedError as UnsupportedError

__version__: str = _inflight._version()

SHAPE_NAMES: tuple[str, ...] = _inflight._shape_names()
"""The classes of the synthetic source and of default_model(): a frame's label is an index of this."""
