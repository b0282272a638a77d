# SPDX-License-Identifier: Apache-2.0
"""Devices, as MXNet names them: ``mx.cpu()``, ``mx.gpu(1)``."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from inflight import _inflight, errors
from inflight.mx._scopes import Scopes

# MXNet's kinds by this package's, and the other way. A kind that MXNet does not know keeps its name.
_OURS = {"gpu": "cuda"}
_MXNETS = {"cuda": "gpu"}


class Context:
    """A device: ``mx.cpu()``, ``mx.gpu(0)``. Also a ``with`` block in which it is the current one.

    device_type  "cpu", "gpu", or the kind of another backend (a plugin)

    NoSuchDeviceError (a LookupError): there is no such device here, and why.
    """

    __slots__ = ("device_id", "device_type")

    def __init__(self, device_type: str | Context, device_id: int = 0) -> None:
        if isinstance(device_type, Context):
            device_type, device_id = device_type.device_type, device_type.device_id
        else:
            _check_there(device_type, device_id)
        self.device_type = device_type
        self.device_id = device_id

    @property
    def device_typeid(self) -> int:
        """MXNet's number of the kind: 1 for the CPU, 2 for GPUs; 0 for kinds that MXNet does not know."""
        return {"cpu": 1, "gpu": 2}.get(self.device_type, 0)

    @property
    def _device(self) -> str:
        """As the rest of the package names it: "cpu", "cuda:1"."""
        return "cpu" if self.device_type == "cpu" else f"{_OURS.get(self.device_type, self.device_type)}:{self.device_id}"

    def empty_cache(self) -> None:
        """Does nothing: memory comes back by itself, to a pool of at most 1 GiB for each device."""

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


def _check_there(kind: str, index: int) -> None:
    name = f"device: found {kind}({index})"
    if kind == "cpu_pinned":
        raise errors.NoSuchDeviceError(f"{name}, want mx.cpu(): what comes from a GPU is in pinned memory by itself")
    if kind == "cpu":
        if index != 0:
            raise errors.NoSuchDeviceError(f"{name}, want mx.cpu(): all processors are one device")
        return
    try:
        count = _inflight._device_count(_OURS.get(kind, kind))
    except errors.Error as refused:
        raise errors.NoSuchDeviceError(f"{name}, which is not here, want mx.cpu(): {refused}") from None
    if not 0 <= index < count:
        raise errors.NoSuchDeviceError(f"{name}, want 0 to {count - 1}, as there are {count}")


_scopes: Scopes[Context] = Scopes()
_CPU = Context("cpu", 0)


def cpu(device_id: int = 0) -> Context:
    """The CPU."""
    return Context("cpu", device_id)


def gpu(device_id: int = 0) -> Context:
    """A GPU of this machine. NoSuchDeviceError: there is none of that number, and why; ``num_gpus()`` tells how many."""
    return Context("gpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """Raises NoSuchDeviceError: what is copied from a GPU lies in pinned memory of ``mx.cpu()`` by itself."""
    return Context("cpu_pinned", device_id)


def num_gpus() -> int:
    """How many GPUs arrays can be on."""
    try:
        return _inflight._device_count("cuda")
    except errors.NoSuchDeviceError:
        return 0


def current_context() -> Context:
    """The device of the innermost ``with`` block of this thread; ``cpu(0)`` outside of one."""
    return _scopes.innermost() or _CPU


def context_of(device: str) -> Context:
    """The context of a device that something is on: of "cuda:1", ``gpu(1)``."""
    kind, _, index = device.partition(":")
    made = object.__new__(Context)
    made.device_type = _MXNETS.get(kind, kind)
    made.device_id = int(index or 0)
    return made


def check_context(ctx: Any) -> None:
    """Refuses what is not a device."""
    if ctx is not None and not isinstance(ctx, Context):
        raise errors.InvalidTypeError(f"ctx: found {type(ctx).__name__}, want a Context such as mx.cpu()")


def device_of(ctx: Any) -> str:
    """The device of a context, or of the current one where that is None."""
    check_context(ctx)
    named: Context = current_context() if ctx is None else ctx
    return named._device
