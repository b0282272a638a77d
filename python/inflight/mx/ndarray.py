# SPDX-License-Identifier: Apache-2.0
"""NDArray: an array as MXNet has it, a name whose elements can be written; and what makes arrays."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import numpy.typing

import inflight
from inflight import _asyncio, _inflight, errors
from inflight.mx import _operators
from inflight.mx._indexing import Key, read_key
from inflight.mx.base import TRAINING, MissingError, dtype_name, is_number, shape_of
from inflight.mx.context import Context, check_context, context_of, current_context, device_of

if TYPE_CHECKING:
    from inflight.mx._nd_operators import Methods

    class _Base(_inflight.MxArray, Methods):
        """The extension's class with the operators as methods."""
else:
    _Base = _inflight.MxArray

_MISSING = {
    "attach_grad": TRAINING,
    "backward": TRAINING,
    "grad": TRAINING,
    "detach": "the array itself: nothing is recorded",
    "tostype": "dense arrays: sparse ones are not offered",
    "stype": "dense arrays: sparse ones are not offered",
    "as_np_ndarray": "asnumpy()",
    "as_nd_ndarray": "the array itself",
    "to_dlpack_for_read": "__dlpack__(), which numpy.from_dlpack and others call",
    "to_dlpack_for_write": "__dlpack__(), and assign what comes back",
    "handle": "snapshot()",
}


def _refuse(other: Any) -> Any:
    # NumPy would go on by itself, and give an array of its own.
    if isinstance(other, numpy.ndarray):
        raise errors.InvalidTypeError("operator: found a NumPy array, want an mx.nd.NDArray (mx.nd.array() makes one) or a number")
    return NotImplemented


def _pair(array_op: str, scalar_op: str) -> Any:
    def apply(self: NDArray, other: Any) -> Any:
        if isinstance(other, NDArray):
            return _inflight._mx_invoke_pair(array_op, self, other, None)
        if is_number(other):
            return _inflight._mx_invoke_scalar(scalar_op, self, other, None)
        return _refuse(other)

    return apply


def _reversed(scalar_op: str) -> Any:
    def apply(self: NDArray, other: Any) -> Any:
        return _inflight._mx_invoke_scalar(scalar_op, self, other, None) if is_number(other) else _refuse(other)

    return apply


def _in_place(array_op: str, scalar_op: str) -> Any:
    def apply(self: NDArray, other: Any) -> Any:
        if isinstance(other, NDArray):
            return _inflight._mx_invoke_pair(array_op, self, other, self)
        if is_number(other):
            return _inflight._mx_invoke_scalar(scalar_op, self, other, self)
        return _refuse(other)

    return apply


class NDArray(_Base):
    """A mutable name for an array: it stands for the newest version, and each write makes another one.

    Calls that compute return at once, with arrays that are still to come; what fails later is raised by
    ``wait_to_read()``, ``asnumpy()`` and the like. Rows, slices without gaps, and ``reshape`` share memory
    with the array that they come from, as in MXNet: a write through one is seen through the others. Other
    slices are copies.

    Any thread may call it; ``mx.nd.array(...)`` and its like make one.
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __array_ufunc__ = None  # NumPy's scalars and arrays leave operators to this class

    __add__ = __radd__ = _pair("broadcast_add", "_plus_scalar")
    __sub__ = _pair("broadcast_sub", "_minus_scalar")
    __rsub__ = _reversed("_rminus_scalar")
    __mul__ = __rmul__ = _pair("broadcast_mul", "_mul_scalar")
    __truediv__ = _pair("broadcast_div", "_div_scalar")
    __rtruediv__ = _reversed("_rdiv_scalar")
    __mod__ = _pair("broadcast_mod", "_mod_scalar")
    __rmod__ = _reversed("_rmod_scalar")
    __pow__ = _pair("broadcast_power", "_power_scalar")
    __rpow__ = _reversed("_rpower_scalar")
    __iadd__ = _in_place("broadcast_add", "_plus_scalar")
    __isub__ = _in_place("broadcast_sub", "_minus_scalar")
    __imul__ = _in_place("broadcast_mul", "_mul_scalar")
    __itruediv__ = _in_place("broadcast_div", "_div_scalar")
    __imod__ = _in_place("broadcast_mod", "_mod_scalar")
    __ipow__ = _in_place("broadcast_power", "_power_scalar")
    __gt__ = _pair("broadcast_greater", "_greater_scalar")
    __ge__ = _pair("broadcast_greater_equal", "_greater_equal_scalar")
    __lt__ = _pair("broadcast_lesser", "_lesser_scalar")
    __le__ = _pair("broadcast_lesser_equal", "_lesser_equal_scalar")
    __eq__ = _pair("broadcast_equal", "_equal_scalar")
    __ne__ = _pair("broadcast_not_equal", "_not_equal_scalar")

    def __hash__(self) -> int:
        return id(self) >> 4

    def __neg__(self) -> NDArray:
        return self * -1

    def __abs__(self) -> NDArray:
        return _invoke("abs", [self])

    # What it is.

    @property
    def dtype(self) -> Any:
        """The element type, a class of NumPy's such as ``numpy.float32``."""
        return numpy.dtype(self._dtype_name).type

    @property
    def context(self) -> Context:
        """Where its memory is, and where operators on it compute: ``cpu(0)``, ``gpu(1)``."""
        return context_of(self._device)

    ctx = context

    @property
    def T(self) -> NDArray:  # noqa: N802: MXNet's name
        """A copy with the axes in the opposite order."""
        return _invoke("transpose", [self])

    def __len__(self) -> int:
        if not self.shape:
            raise errors.InvalidTypeError("len(): the array has no axis")
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray]:
        for row in range(len(self)):
            yield self[row]

    # What is in it.

    def asnumpy(self) -> numpy.typing.NDArray[Any]:
        """A NumPy array of its own with the elements; waits for them, and copies them from a GPU."""
        return numpy.array(self._on_host().numpy())

    def _on_host(self) -> inflight.NDArray:
        if self.__dlpack_device__()[0] == 1:  # DLPack's number of the CPU
            return self._read()
        version = self.snapshot().copy_to("cpu")
        version.wait()
        return version

    def asscalar(self) -> Any:
        """The one element, as a scalar of NumPy's; waits for it. InvalidArgumentError: there are more."""
        if self.size != 1:
            raise errors.InvalidArgumentError(f"asscalar(): found {self.size} elements, want 1")
        return self._on_host().numpy().reshape(-1)[0]

    item = asscalar

    def tolist(self) -> Any:
        """The elements as nested lists; waits for them."""
        return self.asnumpy().tolist()

    def wait_to_read(self) -> None:
        """Waits for the version that is newest now, and raises why it failed. Ctrl-C ends the wait."""
        self.wait()

    def wait_to_write(self) -> None:
        """The same: a write never has to wait for readers here, as it makes a version of its own."""
        self.wait()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.typing.NDArray[Any]:
        return self._on_host().__array__(dtype, copy)

    def __dlpack__(self, **options: Any) -> Any:
        """A capsule with the newest version, read-only, without a copy; waits for it. On a GPU, for others to read there."""
        return self._read().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.snapshot().__dlpack_device__()

    def __await__(self) -> Generator[Any, None, NDArray]:
        """Waits in an asyncio task for the version that is newest now; gives this array, or raises why it failed."""
        yield from _asyncio.await_ready(self.snapshot())
        return self

    def __bool__(self) -> bool:
        if self.size != 1:
            raise errors.InvalidArgumentError("the truth of an array with several elements is ambiguous")
        return bool(self.asscalar())

    def __float__(self) -> float:
        return float(self.asscalar())

    def __int__(self) -> int:
        return int(self.asscalar())

    def __index__(self) -> int:
        if self._dtype_name.startswith(("int", "uint")) and self.size == 1:
            return int(self.asscalar())
        raise errors.InvalidTypeError(f"an index: found {self._dtype_name}{list(self.shape)}, want one whole number")

    def __contains__(self, element: Any) -> bool:
        return bool((self.asnumpy() == element).any())

    def __repr__(self) -> str:
        shape = "x".join(str(extent) for extent in self.shape)
        return f"\n{self.asnumpy()}\n<NDArray {shape} @{self.context}>"

    def __reduce__(self) -> Any:
        return _unpickled, (self.asnumpy(),)

    def __copy__(self) -> NDArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> NDArray:
        return self.copy()

    # Others of the same elements.

    def copy(self) -> NDArray:
        """A new name for what is there now; writes to one are not seen in the other."""
        return self._copy()

    def copyto(self, other: NDArray | Context) -> NDArray:
        """Writes the elements to another array, or gives a copy on a device."""
        if isinstance(other, Context):
            return self.copy() if other == self.context else self._as_in(other._device)
        if not isinstance(other, NDArray):
            raise errors.InvalidTypeError(f"copyto: found {type(other).__name__}, want an NDArray or a Context")
        if other.shape != self.shape:
            raise errors.InvalidArgumentError(f"copyto: found an array of {list(other.shape)}, want {list(self.shape)}")
        other._assign(self)
        return other

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        """The elements converted. ``copy=False``: this array, where it is of that type."""
        name = dtype_name(dtype)
        return self if not copy and name == self._dtype_name else self._astype(name)

    def as_in_context(self, context: Context) -> NDArray:
        """The elements on a device; this array, where they are there already. Returns at once, as all that computes."""
        device = device_of(context)
        return self if device == self.context._device else self._as_in(device)

    as_in_ctx = as_in_context

    def reshape(self, *shape: Any, **options: Any) -> NDArray:
        """The same elements in another shape, sharing memory. 0, -1, -2, -3 and -4 are MXNet's codes.

        ``reverse=True`` reads them from the last axis on.
        """
        if "shape" in options:
            if shape:
                raise errors.InvalidTypeError("reshape: shape: found twice, by place and by name")
            shape = (options.pop("shape"),)
        reverse = options.pop("reverse", False)
        if options:
            raise errors.InvalidTypeError(f"reshape: found an argument {next(iter(options))!r}, want shape or reverse")
        if len(shape) == 1:
            return self._reshape(list(shape_of(shape[0])), reverse)
        return self._reshape(list(shape_of(shape)), reverse)

    def transpose(self, *axes: Any) -> NDArray:
        """A copy with the axes in this order; without any, in the opposite one."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = tuple(axes[0] or ())
        return _invoke("transpose", [self], {"axes": str(tuple(axes))})

    # Parts of it.

    def __getitem__(self, key: Any) -> NDArray:
        if type(key) is int:
            shape = self.shape
            if shape and -shape[0] <= key < shape[0]:
                return self._at(key)  # the same as below, and cheap: loops and asscalar() use it
        read = read_key(self.shape, key)
        if read.indices is not None:
            return _gathered(self, read.indices)
        part = read.flat()
        if part is not None:
            begin, end = part
            if (begin, end) == (0, self.size) and read.shape == self.shape:
                return self._rows(0, self.shape[0]) if self.shape else self
            return self._reshape([-1], False)._rows(begin, end)._reshape(list(read.shape), False)
        return self._slice(*read.slices())._reshape(list(read.shape), False)

    def __setitem__(self, key: Any, value: Any) -> None:
        read = read_key(self.shape, key)
        if read.indices is not None:
            raise errors.UnsupportedError(
                "writing to elements that an array of indices chooses is not offered; use mx.nd.where, or one_hot and a sum"
            )
        if is_number(value):
            self._write_number(read, value)
            return
        source = value if isinstance(value, NDArray) else array(value, dtype=self._dtype_name)
        source = read.fitted(source)
        if read.is_all():
            self._assign(source)
        else:
            self._assign_slice(*read.slices(), source)

    def _write_number(self, read: Key, value: float) -> None:
        if read.is_all():
            self._fill(value)
        else:
            self._fill_slice(*read.slices(), value)

    def __getattr__(self, name: str) -> Any:
        instead = _MISSING.get(name)
        if instead is not None:
            raise MissingError(f"NDArray.{name}: it is not offered; use {instead}")
        raise AttributeError(f"NDArray has no attribute {name!r}")


def _unpickled(values: Any) -> NDArray:
    return array(values, dtype=values.dtype)


def _invoke(op: str, inputs: Sequence[NDArray], attributes: dict[str, str] | None = None, out: Any = None) -> Any:
    return _inflight._mx_invoke(op, inputs, attributes or {}, out)


def _gathered(source: NDArray, indices: list[Any]) -> NDArray:
    if len(indices) == 1:
        return _invoke("take", [source, array(indices[0], source.context, "int32")], {"axis": "0"})
    stacked = numpy.stack(numpy.broadcast_arrays(*indices))
    return _invoke("gather_nd", [source, array(stacked, source.context, "int32")])


for _name, _operator in _operators.by_method().items():
    if _name not in vars(NDArray):
        setattr(NDArray, _name, _operators.method(_operators.array_function(_operator, _name, NDArray), _name))


# What makes arrays. `ctx` is the device that they are on; None: the current one.


def _dtype(dtype: Any) -> str:
    return "float32" if dtype is None else dtype_name(dtype)


def _placed(made: NDArray, ctx: Any) -> NDArray:
    return made.as_in_context(current_context() if ctx is None else ctx)


def array(source_array: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """A copy of an array: of NumPy, DLPack or the buffer protocol, of this package, or of nested lists.

    The type is float32, or the source's own where that is an NDArray; another with ``dtype``.
    """
    check_context(ctx)
    return _placed(_copied(source_array, dtype), ctx)


def _copied(source_array: Any, dtype: Any) -> NDArray:
    if isinstance(source_array, NDArray):
        return source_array.copy() if dtype is None else source_array.astype(dtype)
    if isinstance(source_array, inflight.NDArray):
        made: NDArray = _inflight._mx_from(source_array)
        return made.copy() if dtype is None else made.astype(dtype)
    name = _dtype(dtype)
    if isinstance(source_array, range):
        source_array = list(source_array)
    if isinstance(source_array, (list, tuple, int, float, bool)):
        try:
            source_array = numpy.array(
                [one.asnumpy() if isinstance(one, NDArray) else one for one in source_array]
                if isinstance(source_array, (list, tuple))
                else source_array
            )
        except ValueError as refused:
            raise errors.InvalidArgumentError(f"array: found lists that are not of one shape ({refused})") from refused
    # Checked as it is, before NumPy converts anything.
    if isinstance(source_array, numpy.ndarray) and source_array.dtype.isnative and source_array.dtype.kind in "biuf":
        source_array = source_array.astype(name, copy=False)
    made = _inflight._mx_from(source_array, True)
    if made.ndim == 0:
        made = made._reshape([1], False)
    return made if made._dtype_name == name else made._astype(name)


def from_numpy(ndarray: Any, zero_copy: bool = True) -> NDArray:
    """An array over NumPy's memory without a copy; the caller does not write to that any more."""
    return _inflight._mx_from(ndarray, None if not zero_copy else False)  # type: ignore[no-any-return]


def from_dlpack(dlpack: Any) -> NDArray:
    """An array of what another library holds; on a GPU without a copy, where nobody writes to it any more."""
    return _inflight._mx_from(dlpack)  # type: ignore[no-any-return]


def _filled(shape: Any, value: float, ctx: Any, dtype: Any) -> NDArray:
    check_context(ctx)
    return _placed(_inflight._mx_full(shape_of(shape), value, _dtype(dtype)), ctx)


def zeros(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """All elements 0."""
    return _filled(shape, 0, ctx, dtype)


def ones(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """All elements 1."""
    return _filled(shape, 1, ctx, dtype)


def full(shape: Any, val: float, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None) -> NDArray:
    """All elements ``val``."""
    if out is not None:
        if out.shape != shape_of(shape):
            raise errors.InvalidArgumentError(f"full: out: found {list(out.shape)}, want {list(shape_of(shape))}")
        out._fill(val)
        return out
    return _filled(shape, val, ctx, dtype)


def empty(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """Elements of any value."""
    check_context(ctx)
    return _placed(_inflight._mx_empty(shape_of(shape), _dtype(dtype)), ctx)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool | None = None,
    ctx: Context | None = None,
    dtype: Any = None,
) -> NDArray:
    """start, start + step, ... before stop, each ``repeat`` times. Without ``stop``, from 0 to ``start``."""
    check_context(ctx)
    if infer_range:
        raise errors.UnsupportedError("arange: infer_range: found True, want None: say where it stops")
    return _placed(_inflight._mx_arange(start, stop, step, repeat, _dtype(dtype)), ctx)


def eye(N: int, M: int = 0, k: int = 0, ctx: Context | None = None, dtype: Any = None) -> NDArray:  # noqa: N803
    """Ones where column - row is ``k``, on ``N`` rows and ``M`` columns; 0: a square."""
    check_context(ctx)
    return _placed(_inflight._mx_eye(N, M, k, _dtype(dtype)), ctx)


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """One array after the other along an axis."""
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return _invoke("Concat", list(arrays), {"dim": str(axis)})  # type: ignore[no-any-return]


def moveaxis(tensor: NDArray, source: Any, destination: Any) -> NDArray:
    """A copy with some axes at other places."""
    where = range(tensor.ndim)
    # NumPy's shape of an array whose extents are the axes' numbers is the order.
    stand_in = numpy.lib.stride_tricks.as_strided(numpy.zeros(1), shape=[axis + 1 for axis in where], strides=[0] * tensor.ndim)
    axes = [extent - 1 for extent in numpy.moveaxis(stand_in, source, destination).shape]
    return tensor.transpose(axes)


def waitall() -> None:
    """Waits until no operation is pending. Ctrl-C ends the wait."""
    _inflight._mx_wait_all()


def save(fname: str | os.PathLike[str], data: NDArray | Sequence[NDArray] | Mapping[str, NDArray]) -> None:
    """Writes an array, a list or a dict of them to a file in MXNet's format; waits for them."""
    if isinstance(data, Mapping):
        _inflight._mx_save(fname, list(data.values()), list(data.keys()))
    else:
        _inflight._mx_save(fname, [data] if isinstance(data, NDArray) else list(data), None)


def _read(names: list[str], arrays: list[NDArray]) -> list[NDArray] | dict[str, NDArray]:
    return dict(zip(names, arrays)) if names else arrays


def load(fname: str | os.PathLike[str]) -> list[NDArray] | dict[str, NDArray]:
    """What ``save`` or MXNet wrote: a list, or a dict where the arrays have names."""
    return _read(*_inflight._mx_load(fname))


def load_frombuffer(buf: bytes) -> list[NDArray] | dict[str, NDArray]:
    """The same from bytes."""
    return _read(*_inflight._mx_load_bytes(buf))


__all__ = [
    "NDArray", "arange", "array", "concatenate", "current_context", "empty", "eye", "from_dlpack", "from_numpy", "full",
    "load", "load_frombuffer", "moveaxis", "ones", "save", "waitall", "zeros",
]  # fmt: skip
