# SPDX-License-Identifier: Apache-2.0
"""Devices, as MXNet names them. Arrays and executors are on the CPU here."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from inflight import errors
from inflight.mx._scopes import Scopes


class Context:
    """A device: ``mx.cpu()``. Also a ``with`` block in which it is the current one.

    NoSuchDeviceError (a LookupError): another device than ``cpu(0)``.
    """

    __slots__ = ("device_id", "device_type")

    def __init__(self, device_type: str | Context, device_id: int = 0) -> None:
        if isinstance(device_type, Context):
            device_type, device_id = device_type.device_type, device_type.device_id
        if device_type != "cpu" or device_id != 0:
            raise errors.NoSuchDeviceError(
                f"device: found {device_type}({device_id}), want mx.cpu(): arrays and executors compute on the CPU"
            )
        self.device_type = device_type
        self.device_id = device_id

    @property
    def device_typeid(self) -> int:
        """MXNet's number of the kind: 1 for the CPU."""
        return 1

    def empty_cache(self) -> None:
        """Does nothing: memory of the host is given back by itself."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and (other.device_type, other.device_id) == (self.device_type, self.device_id)

    def __hash__(self) -> int:
        return hash((self.device_type, self.device_id))

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    def __enter__(self) -> Context:
        _scopes.push(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        _scopes.pop()


_scopes: Scopes[Context] = Scopes()
_CPU = Context("cpu", 0)


def cpu(device_id: int = 0) -> Context:
    """The CPU."""
    return Context("cpu", device_id)


def gpu(device_id: int = 0) -> Context:
    """Raises NoSuchDeviceError: arrays and executors compute on the CPU. ``mx.context.num_gpus()`` is 0."""
    return Context("gpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """Raises NoSuchDeviceError, as ``gpu``: there is nothing to pin memory for."""
    return Context("cpu_pinned", device_id)


def num_gpus() -> int:
    """How many GPUs arrays can be on: none."""
    return 0


def current_context() -> Context:
    """The device of the innermost ``with`` block of this thread; ``cpu(0)`` outside of one."""
    return _scopes.innermost() or _CPU


def check_context(ctx: Any) -> None:
    """Refuses what is not a device."""
    if ctx is not None and not isinstance(ctx, Context):
        raise errors.InvalidTypeError(f"ctx: found {type(ctx).__name__}, want a Context such as mx.cpu()")
