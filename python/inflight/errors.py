# SPDX-License-Identifier: Apache-2.0
"""The exceptions of this package: one family, a class for each code that C++ knows.

Each class is also of the built-in kind that a Python programmer would catch, so both of these work::

    try:
        prediction = predictor.submit(frame)
    except inflight.OverloadedError as full:
        time.sleep(full.retry_after)

    try:
        model = inflight.Model.load("absent.onnx")
    except FileNotFoundError:
        ...

The text of an exception says what was found and what was wanted.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """The base of every exception that this package raises itself."""

    code: ClassVar[str] = ""
    """The code's name in C++ and in messages of the program, such as ``"invalid argument"``."""


class InvalidArgumentError(Error, ValueError):
    """The caller's value is wrong: an option, a shape, an element type."""

    code = "invalid argument"


class InvalidTypeError(InvalidArgumentError, TypeError):
    """The caller's value is of a type that cannot be used here: ``None``, an array of objects."""


class NotFoundError(Error, FileNotFoundError, LookupError):
    """A file or a name that is not there."""

    code = "not found"


class InvalidModelError(Error, ValueError):
    """A model that cannot be read or compiled."""

    code = "invalid model"


class InvalidMediaError(Error, ValueError):
    """A picture, a video or a folder of them that cannot be read or decoded."""

    code = "invalid media"


class UnsupportedError(Error, NotImplementedError):
    """Understood, and not offered."""

    code = "unsupported"


class NotReadyError(Error, BlockingIOError):
    """A look at what has not been computed yet. Wait for it, or ask ``can_read()`` first."""

    code = "not ready"


class OverloadedError(Error, BlockingIOError):
    """A limit is reached: try again later."""

    code = "overloaded"
    retry_after: float = 0.0
    """An estimate of the seconds until a place is free."""


class DeadlineExceededError(Error, TimeoutError):
    """A wait ended before what it waited for, or a deadline passed."""

    code = "deadline exceeded"


class CancelledError(Error, RuntimeError):
    """Given up before it started, on request. Not ``asyncio.CancelledError``, which ends a task."""

    code = "cancelled"


class ShuttingDownError(Error, RuntimeError):
    """The object is closed, or its process has been forked."""

    code = "shutting down"


class NoSuchDeviceError(Error, LookupError):
    """No device of that name here."""

    code = "no such device"


class DeviceError(Error, RuntimeError):
    """The device or its runtime failed."""

    code = "device error"


class OutOfMemoryError(Error, MemoryError):
    """Memory, threads or descriptors ran out."""

    code = "out of memory"


class IoError(Error, OSError):
    """A file or a pipe could not be written."""

    code = "input or output error"


class CallbackError(Error, RuntimeError):
    """Code of the caller's raised; the text is the exception's type and message."""

    code = "exception"


class InternalError(Error, RuntimeError):
    """None of the above: report it."""

    code = "internal error"


_BY_CODE: dict[str, type[Error]] = {
    kind.code: kind
    for kind in (
        InvalidArgumentError,
        NotFoundError,
        InvalidModelError,
        InvalidMediaError,
        UnsupportedError,
        NotReadyError,
        OverloadedError,
        DeadlineExceededError,
        CancelledError,
        ShuttingDownError,
        NoSuchDeviceError,
        DeviceError,
        OutOfMemoryError,
        IoError,
        CallbackError,
        InternalError,
    )
}
