# SPDX-License-Identifier: Apache-2.0
"""What goes in and comes out: when it is copied, who keeps it alive, and what is refused with which words."""

from __future__ import annotations

import array
import gc
import sys
import weakref

import inflight
import numpy as np
import pytest


class Owned(np.ndarray):
    """An array that can be watched."""


def watched(shape=(3, 2), dtype=np.float32) -> Owned:
    made = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    own = np.empty(shape, dtype).view(Owned)
    own[...] = made
    return own


def address(given: object) -> int:
    return np.asarray(given).__array_interface__["data"][0]


DTYPES = {
    "bool": np.bool_, "u8": np.uint8, "i8": np.int8, "u16": np.uint16, "i16": np.int16, "u32": np.uint32,
    "i32": np.int32, "u64": np.uint64, "i64": np.int64, "f16": np.float16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 3), (1, 2, 1, 2, 1, 2, 1, 2)])
@pytest.mark.parametrize("copy", [None, True, False])
def test_every_dtype_and_shape_comes_back(name, shape, copy) -> None:
    given = (np.arange(np.prod(shape)) % 2).astype(DTYPES[name]).reshape(shape)
    made = inflight.NDArray(given, copy=copy)
    assert (made.dtype, made.shape, made.device) == (name, shape, "cpu")
    assert made.can_read() and made.status() is None
    for view in (made.numpy(), np.asarray(made), np.array(made), np.from_dlpack(made), np.asarray(memoryview(made))):
        assert view.dtype == given.dtype and view.shape == given.shape
        assert np.array_equal(view, given)
    assert not made.numpy().flags.writeable
    assert made.nbytes == given.nbytes


def test_an_array_that_may_still_be_written_to_is_copied() -> None:
    given = np.zeros(4, np.uint8)
    made = inflight.NDArray(given)
    given[:] = 9
    assert made.numpy().tolist() == [0, 0, 0, 0]
    # A read-only view of an array that can be written to is no promise.
    view = given[:]
    view.flags.writeable = False
    made = inflight.NDArray(view)
    given[:] = 7
    assert made.numpy().tolist() == [9, 9, 9, 9]


def test_what_nobody_can_write_to_is_not_copied() -> None:
    given = np.zeros(4, np.uint8)
    given.flags.writeable = False
    assert address(inflight.NDArray(given)) == address(given)
    assert address(inflight.NDArray(given[1:])) == address(given) + 1
    raw = b"12345678"
    assert address(inflight.NDArray(raw)) == address(np.frombuffer(raw, np.uint8))
    made = inflight.NDArray(raw)
    assert address(inflight.NDArray(made.numpy())) == address(made)
    assert address(inflight.NDArray(made)) == address(made)
    assert address(inflight.NDArray(made, copy=True)) != address(made)
    assert address(inflight.NDArray(memoryview(raw)[2:])) == address(made) + 2


def test_copy_false_shares_and_keeps_alive() -> None:
    given = watched()
    made = inflight.NDArray(given, copy=False)
    assert address(made) == address(given)
    watch = weakref.ref(given)
    del given
    gc.collect()
    assert watch() is not None
    assert made.numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    view = made.numpy()
    del made
    gc.collect()
    assert watch() is not None, "a view keeps the version, and that the array"
    assert view[2, 1] == 5
    del view
    gc.collect()
    assert watch() is None


def test_a_bytearray_cannot_be_resized_while_it_is_lent() -> None:
    given = bytearray(8)
    made = inflight.NDArray(given, copy=False)
    with pytest.raises(BufferError):
        given.extend(b"more")
    del made
    given.extend(b"more")


def test_reference_counts_come_back() -> None:
    given = np.zeros((480, 640, 3), np.uint8)
    given.flags.writeable = False
    before = sys.getrefcount(given)
    for _ in range(100):
        inflight.NDArray(given)
        inflight.NDArray(given, copy=True)
        np.from_dlpack(inflight.NDArray(given))
    gc.collect()  # the last of them ended in NumPy, with no call of this package since
    assert sys.getrefcount(given) == before


def test_what_is_not_contiguous_is_copied_once_or_refused() -> None:
    given = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    for view in (given[:, :, ::-1], given.T, given[::2], given[:, 1:, :2], np.asfortranarray(given)):
        assert np.array_equal(inflight.NDArray(view).numpy(), view)
        if not view.flags.c_contiguous:
            with pytest.raises(inflight.InvalidArgumentError, match="not C-contiguous.*copy"):
                inflight.NDArray(view, copy=False)
    strided = memoryview(bytearray(range(8)))[::2]
    assert inflight.NDArray(strided).numpy().tolist() == [0, 2, 4, 6]


def test_what_is_not_aligned_is_copied_or_refused() -> None:
    given = np.frombuffer(b"x" + np.float32([1, 2]).tobytes(), np.uint8)[1:].view(np.float32)
    if address(given) % 4 == 0:
        pytest.skip("aligned by chance")
    assert inflight.NDArray(given).numpy().tolist() == [1, 2]
    with pytest.raises(inflight.InvalidArgumentError, match="aligned"):
        inflight.NDArray(given, copy=False)


def test_other_makers_of_buffers() -> None:
    assert inflight.NDArray(array.array("d", [1, 2])).numpy().tolist() == [1, 2]
    assert inflight.NDArray(np.float32(3)).shape == ()

    class Picture:
        __array_interface__ = np.arange(6, dtype=np.uint8).reshape(2, 3).__array_interface__

    assert inflight.NDArray(Picture()).shape == (2, 3)

    class Converts:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 2), np.int16)

    assert inflight.NDArray(Converts()).dtype == "i16"


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (None, TypeError, "data: found None, want an array"),
        (3, TypeError, "data: found int"),
        ("text", TypeError, "data: found str"),
        ([[1, 2]], TypeError, "data: found list"),
        (object(), TypeError, "data: found object"),
        (np.array([None, 1]), TypeError, "Python objects"),
        (np.zeros(2, ">f4"), ValueError, "f32 in the byte order of other machines"),
        (np.zeros(2, ">u2"), ValueError, "byte order"),
        (np.zeros(2, np.complex64), ValueError, "'Zf'.*want bool"),
        (np.zeros(2, np.longdouble), ValueError, "'g'.*16 bytes"),
        (np.zeros(2, "S3"), ValueError, "'3s'"),
        (np.zeros(2, "U3"), ValueError, "'3w'"),
        (np.zeros(2, "M8[s]"), ValueError, "cannot be seen"),
        (np.zeros(2, [("a", "i4")]), ValueError, "format 'T"),
        (np.zeros((1,) * 9, np.uint8), NotImplementedError, "8"),
    ],
)
def test_bad_arrays(given, kind, message) -> None:
    with pytest.raises(kind, match=message) as caught:
        inflight.NDArray(given)
    assert isinstance(caught.value, inflight.Error)


def test_bytes_of_one_byte_have_no_order() -> None:
    assert inflight.NDArray(np.zeros(2, ">u1")).dtype == "u8"


class ForeignDevice:
    """A tensor that says that it is in memory of a graphics card."""

    def __init__(self, kind: int, index: int = 1) -> None:
        self.kind, self.index = kind, index

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.kind, self.index)

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("it must not be asked for")


def test_memory_of_another_device() -> None:
    with pytest.raises(inflight.UnsupportedError, match="vulkan:1.*want the host's"):
        inflight.NDArray(ForeignDevice(7))
    with pytest.raises(inflight.NoSuchDeviceError, match="cuda:63"):
        inflight.NDArray(ForeignDevice(2, 63))
    with pytest.raises(NotImplementedError, match="device type 99:1"):
        inflight.NDArray(ForeignDevice(99))


class Tensor:
    """DLPack as one from before 1.0 offers it, and nothing else."""

    def __init__(self, given: np.ndarray, old: bool) -> None:
        self.given = given
        self.old = old

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.given.__dlpack_device__()

    def __dlpack__(self, **options: object) -> object:
        if self.old and options:
            raise TypeError("unexpected keyword argument")
        return self.given.__dlpack__(**options)


@pytest.mark.parametrize("old", [False, True])
def test_dlpack_in(old) -> None:
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = inflight.NDArray(Tensor(given, old))
    given += 1
    assert made.numpy().tolist() == [[0, 1, 2], [3, 4, 5]], "it could be written to, so it was copied"
    shared = inflight.NDArray(Tensor(given, old), copy=False)
    assert address(shared) == address(given)
    assert inflight.NDArray(Tensor(given.T, old)).numpy().tolist() == given.T.tolist()
    with pytest.raises(inflight.InvalidArgumentError, match="contiguous"):
        inflight.NDArray(Tensor(given.T, old), copy=False)


def test_dlpack_keeps_what_lends_alive() -> None:
    given = watched()
    watch = weakref.ref(given)
    shared = inflight.NDArray(Tensor(given, False), copy=False)
    del given
    gc.collect()
    assert shared.numpy()[2, 1] == 5
    assert watch() is not None
    del shared
    gc.collect()
    assert watch() is None


def test_a_capsule_is_used_once() -> None:
    capsule = np.zeros(3, np.float32).__dlpack__()
    assert inflight.NDArray(capsule).shape == (3,)
    with pytest.raises(inflight.InvalidTypeError, match="nobody has taken"):
        inflight.NDArray(capsule)


def test_dlpack_out() -> None:
    made = inflight.NDArray(np.arange(6, dtype=np.int64).reshape(2, 3))
    assert made.__dlpack_device__() == (1, 0)
    view = np.from_dlpack(made)
    assert address(view) == address(made) and not view.flags.writeable
    old = inflight.NDArray(made.__dlpack__(), copy=False)  # without a version: a copy of its own
    assert address(old) != address(made) and old.numpy().tolist() == made.numpy().tolist()
    del made
    gc.collect()
    assert view[1, 2] == 5
    made = inflight.NDArray(b"1")
    with pytest.raises(BufferError):
        made.__dlpack__(copy=False)
    with pytest.raises(BufferError):
        made.__dlpack__(dl_device=(2, 0))
    with pytest.raises(ValueError, match="stream"):
        made.__dlpack__(stream=1)
    made.__dlpack__()  # never used, and given back
    made.__dlpack__(max_version=(1, 0))


def test_views_are_read_only() -> None:
    made = inflight.NDArray(np.zeros(3, np.float32))
    with pytest.raises(ValueError):
        made.numpy()[0] = 1
    with pytest.raises(ValueError):
        made.numpy().flags.writeable = True
    assert memoryview(made).readonly
    assert memoryview(made).format == "f"


def test_array_protocol_converts() -> None:
    made = inflight.NDArray(np.arange(3, dtype=np.float32))
    assert np.asarray(made, dtype=np.int16).dtype == np.int16
    assert np.array(made, copy=True).flags.writeable
    assert float(made.numpy().sum()) == 3.0


def test_identity() -> None:
    made = inflight.NDArray(b"12")
    again = inflight.NDArray(made)
    assert made == again and hash(made) == hash(again) and made is not again
    assert made != inflight.NDArray(b"12") and made != 3 and made is not None
    assert repr(made) == "<inflight.NDArray u8[2]>"
