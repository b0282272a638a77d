# SPDX-License-Identifier: Apache-2.0
"""Names of types for the signatures of the extension, in whose class NDArray `numpy` is a method."""

from __future__ import annotations

from typing import Any

import numpy
import numpy.typing

Array = numpy.typing.NDArray[Any]
Image = numpy.typing.NDArray[numpy.uint8]
DTypeLike = numpy.typing.DTypeLike
