# SPDX-License-Identifier: Apache-2.0
"""Arrays on a device: on the null device, whose memory is the host's after all, and by DLPack."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from typing import Any

import inflight
import inflight.mx as mx
import numpy as np
import pytest
from conftest import forks

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def there(values: np.ndarray = VALUES) -> inflight.NDArray:
    array = inflight.NDArray(values).copy_to("null")
    array.wait()
    return array


def test_arrays_go_there_and_back() -> None:
    array = inflight.NDArray(VALUES).copy_to(inflight.Device("null"))
    assert array.device == "null" and array.shape == (3, 4) and array.dtype == "f32"
    back = array.copy_to("cpu")
    back.wait()
    assert (back.numpy() == VALUES).all()
    assert array.copy_to("null") == array and back.copy_to("cpu") == back
    assert array.can_read() and array.status() is None and array.nbytes == VALUES.nbytes
    # From one device to another.
    beside = array.copy_to("null:1").copy_to("cpu")
    beside.wait()
    assert (beside.numpy() == VALUES).all()


def test_the_host_does_not_read_it() -> None:
    array = there()
    for look in (array.numpy, lambda: np.asarray(array), lambda: memoryview(array)):
        with pytest.raises(inflight.UnsupportedError, match="memory of null cannot be read by the host; copy it first"):
            look()


@pytest.mark.parametrize("device", ["cuda:63", "null:99", "nosuch"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(inflight.NoSuchDeviceError) as refused:
        inflight.NDArray(VALUES).copy_to(device)
    assert device in str(refused.value) and "\n" not in str(refused.value)


def test_dlpack_out() -> None:
    array = there()
    assert array.__dlpack_device__() == (12, 0)  # DLPack's number for what it has no name for
    for options in ({}, {"stream": None}, {"stream": 1}, {"stream": 2}, {"stream": -1}, {"stream": 0x7F00}):
        for version in ({}, {"max_version": (1, 0)}):
            array.__dlpack__(**options, **version)  # never used, and given back
    with pytest.raises(inflight.InvalidArgumentError, match="stream: got 0, which may mean either default stream"):
        array.__dlpack__(stream=0)
    with pytest.raises(inflight.InvalidArgumentError, match="stream: got -7"):
        array.__dlpack__(stream=-7)
    with pytest.raises(TypeError, match="stream"):
        array.__dlpack__(stream="1")
    with pytest.raises(BufferError, match="dl_device"):
        array.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="needs a copy"):
        array.__dlpack__(dl_device=(1, 0), copy=False)
    # To the host, as the array API has it.
    assert (np.from_dlpack(array, device="cpu") == VALUES).all()
    # One that is still on its way is refused. It may arrive in the middle of this, but not each time.
    big = np.zeros(1 << 24, np.uint8)
    for _ in range(100):
        try:
            inflight.NDArray(big, copy=False).copy_to("null").__dlpack__()
        except inflight.NotReadyError:
            break
    else:
        raise AssertionError("none was refused")


class Tensor:
    """What another library has on a device. It remembers how it was asked."""

    def __init__(self, array: inflight.NDArray, old: bool = False) -> None:
        self.array = array
        self.old = old
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> object:
        self.asked.append(options)
        if self.old and "max_version" in options:
            raise TypeError("max_version?")
        # The stream is one of ours, as it is for PyTorch: it would let it wait for its own.
        return self.array.__dlpack__(**{**options, "stream": 1})


@pytest.mark.parametrize("old", [False, True])
def test_dlpack_in(old: bool) -> None:
    tensor = Tensor(there(), old)
    for take in (inflight.from_dlpack, inflight.NDArray, lambda t: inflight.NDArray(t, copy=False)):
        array = take(tensor)
        array.wait()
        assert array.device == "null" and array.shape == (3, 4)
        assert address(array) == address(tensor.array)
        assert tensor.asked[-1]["stream"] == 0x5EA, "the stream of the null device"
    copied = inflight.NDArray(tensor, copy=True)
    copied.wait()
    assert address(copied) != address(tensor.array)
    assert (np.from_dlpack(copied, device="cpu") == VALUES).all()


class Both(bytearray):
    """What offers the buffer protocol and DLPack: CuPy's arrays do, and refuse the former."""

    place = (1, 0)
    asked = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, **options: Any) -> object:
        self.asked += 1
        return np.frombuffer(bytes(self), np.uint8).copy().__dlpack__(**options)


@pytest.mark.parametrize("place", [(2, 63), (13, 63), (10, 0), (12, 99)])
def test_what_is_on_a_device_goes_by_dlpack(place: tuple[int, int]) -> None:
    tensor = Both(b"\1\2\3\4")
    tensor.place = place
    name = {2: "cuda:63", 13: "cuda:63", 10: "rocm:0", 12: "null:99"}[place[0]]
    model = inflight.Model.opaque("m", [inflight.TensorSpec("x", "u8", [4])], [inflight.TensorSpec("y", "u8", [4])])
    with inflight.Predictor(model, runtime=inflight.Runtime("null")) as predictor:
        for take in (
            inflight.from_dlpack, inflight.NDArray, lambda t: inflight.NDArray(t, copy=True),
            mx.nd.from_dlpack, predictor.submit, lambda t: predictor.submit({"x": t}),
        ):  # fmt: skip
            with pytest.raises((inflight.NoSuchDeviceError, inflight.UnsupportedError), match=name) as refused:
                take(tensor)
            assert "\n" not in str(refused.value)
    assert tensor.asked == 0


def test_what_is_here_and_offers_both() -> None:
    for place in ((1, 0), (3, 0)):
        tensor = Both(b"\1\2\3\4")
        tensor.place = place
        assert inflight.NDArray(tensor).numpy().tolist() == [1, 2, 3, 4] and tensor.asked == 0
    tensor = Both(b"\1\2\3\4")
    assert inflight.from_dlpack(tensor).numpy().tolist() == [1, 2, 3, 4] and tensor.asked == 1, "that is what it says"
    # NumPy's are never asked: the same memory without.
    values = VALUES.copy()
    assert np.shares_memory(inflight.from_dlpack(values).numpy(), values)
    values.flags.writeable = False
    assert np.shares_memory(inflight.from_dlpack(values).numpy(), values)
    assert inflight.from_dlpack(bytearray(b"ab")).numpy().tolist() == [97, 98]


class _Old(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p)]


def address(array: inflight.NDArray) -> int:
    """Where it is, as DLPack has it."""
    capsule = array.__dlpack__(stream=-1)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return _Old.from_address(pointer(capsule, b"dltensor")).data


def test_a_capsule_alone_says_nothing_of_streams() -> None:
    with pytest.raises(inflight.InvalidArgumentError, match="want the tensor itself"):
        inflight.NDArray(there().__dlpack__())


def test_what_a_consumer_gives_back_comes_back() -> None:
    arrays = [there() for _ in range(50)]
    capsules = [array.__dlpack__(max_version=(1, 0)) for array in arrays]
    del arrays
    threads = [threading.Thread(target=capsules.clear)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    for _ in range(50):
        there()


def test_a_predictor_reads_and_leaves_arrays_there() -> None:
    model = inflight.Model.opaque("m", [inflight.TensorSpec("x", "u8", [4])], [inflight.TensorSpec("y", "u8", [4])])
    runtime = inflight.Runtime("null")
    first = inflight.Predictor(model, runtime=runtime, outputs_on_device=True)
    second = inflight.Predictor(model, runtime=runtime, outputs_on_device=True)
    with first, second:
        tensor = Tensor(there(np.full(4, 9, np.uint8)))
        for frame in (tensor, tensor.array, np.full(4, 9, np.uint8)):
            a = first.submit(frame)
            assert a.output(0).device == "null"
            end = second.submit(a.output(0)).output(0).copy_to("cpu")
            end.wait()
            assert (end.numpy() == 9).all()


# ---- MXNet's names


def null() -> mx.Context:
    return mx.Context("null", 0)


def test_contexts() -> None:
    context = null()
    assert context.device_type == "null" and repr(context) == "null(0)" and context == mx.Context("null")
    array = mx.nd.array(VALUES, ctx=context)
    assert array.context == context and array.ctx == context
    assert (array.asnumpy() == VALUES).all()
    assert array.as_in_context(context) is array
    here = array.as_in_context(mx.cpu())
    assert here.context == mx.cpu() and (here.asnumpy() == VALUES).all()
    assert mx.nd.array(array).context == mx.cpu(), "the current one"
    assert array.copy().context == context and array.copyto(context).context == context
    assert array.copyto(mx.cpu()).context == mx.cpu()
    with context:
        assert mx.current_context() == context
        for made in (
            mx.nd.zeros((2,)), mx.nd.ones(3), mx.nd.full((2,), 3), mx.nd.empty(2), mx.nd.arange(4), mx.nd.eye(2),
            mx.nd.array([1, 2]), mx.nd.random.uniform(0, 1, (2,)), mx.nd.array(here),
        ):
            assert made.context == context
        assert mx.nd.zeros((2,), ctx=mx.cpu()).context == mx.cpu()
    assert mx.nd.zeros((2,)).context == mx.cpu()
    assert (mx.nd.arange(4, ctx=context).asnumpy() == [0, 1, 2, 3]).all()
    with pytest.raises(inflight.NoSuchDeviceError, match=r"null\(99\), want 0 to"):
        mx.Context("null", 99)
    with pytest.raises(inflight.NoSuchDeviceError, match=r"nosuch\(0\), which is not here"):
        mx.Context("nosuch")


def test_gpus_that_are_not_there() -> None:
    if mx.num_gpus() > 0:
        pytest.skip("this machine has a GPU")
    with pytest.raises(LookupError, match=r"device: found gpu\(0\), which is not here, want mx.cpu\(\)") as refused:
        mx.gpu()
    assert "\n" not in str(refused.value)


def test_reading_what_is_there() -> None:
    array = mx.nd.array(VALUES, ctx=null())
    assert array[1, 2].asscalar() == 6 and float(array[2, 3]) == 11
    assert array[1].tolist() == [4, 5, 6, 7] and array.shape == (3, 4)
    assert "null(0)" in repr(array) and (np.asarray(array) == VALUES).all()
    assert array[1].context == null() and array.reshape((-1,))[3:5].asnumpy().tolist() == [3, 4]
    assert (np.from_dlpack(array, device="cpu") == VALUES).all()
    assert array.__dlpack_device__() == (12, 0)
    shared = mx.nd.from_dlpack(array)
    assert shared.context == null() and (shared.asnumpy() == VALUES).all()


def test_writing_there() -> None:
    array = mx.nd.array(VALUES, ctx=null())
    want = VALUES.copy()
    before = array.snapshot()
    for key, value in ((1, 7.0), ((slice(None), slice(1, 3)), 5.0), ((0, slice(None, None, 2)), np.float32([50, 60]))):
        array[key] = value
        want[key] = value
        assert (array.asnumpy() == want).all()
    array[2] = mx.nd.array([1, 2, 3, 4], ctx=null())
    array[0] = mx.nd.array([9, 8, 7, 6])  # from the host
    want[2], want[0] = [1, 2, 3, 4], [9, 8, 7, 6]
    assert (array.asnumpy() == want).all() and array.context == null()
    array[:] = 3
    assert (array.asnumpy() == 3).all() and array.context == null()
    assert (np.from_dlpack(before, device="cpu") == VALUES).all()


def test_operators_there() -> None:
    a, b = mx.nd.array(VALUES, ctx=null()), mx.nd.array(VALUES)
    made = a + a * 2  # the null device computes nothing that is looked at
    assert made.context == null() and made.shape == (3, 4)
    made.wait_to_read()
    assert mx.nd.exp(a).context == null() and a[:, ::2].context == null()
    with pytest.raises(inflight.InvalidArgumentError, match="input 1 is on cpu, want null as input 0"):
        a + b
    with pytest.raises(inflight.InvalidArgumentError, match="out: is on cpu, want null"):
        mx.nd.exp(a, out=b)
    a += 1
    assert a.context == null()
    mx.nd.waitall()


def test_executors_there() -> None:
    net = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
    executor = net.simple_bind(null(), x=(3, 4))
    assert all(array.context == null() for array in executor.arg_arrays) and executor.outputs[0].context == null()
    outputs = executor.forward(x=mx.nd.array(VALUES))
    assert outputs[0].context == null() and outputs[0].shape == (3, 2)
    outputs[0].wait_to_read()
    with pytest.raises(inflight.InvalidArgumentError, match='"x" is on cpu, want null, where the executor computes'):
        net.bind(null(), {"x": mx.nd.zeros((3, 4)), "fc_weight": mx.nd.zeros((2, 4)), "fc_bias": mx.nd.zeros((2,))})
    with null():
        bound = net.bind(args={"x": mx.nd.zeros((3, 4)), "fc_weight": mx.nd.zeros((2, 4)), "fc_bias": mx.nd.zeros((2,))})
    assert bound.forward()[0].context == null()
    mx.nd.waitall()


def test_files(tmp_path: Any) -> None:
    path = str(tmp_path / "a.params")
    mx.nd.save(path, {"a": mx.nd.array(VALUES, ctx=null())})
    read = mx.nd.load(path)["a"]  # type: ignore[call-overload]
    assert read.context == mx.cpu() and (read.asnumpy() == VALUES).all()


def test_many_threads() -> None:
    def work(first: int) -> None:
        for i in range(first, first + 50):
            array = mx.nd.full((5,), i, ctx=null())
            if array.asnumpy()[0] != i:
                wrong.append(i)

    wrong: list[int] = []
    threads = [threading.Thread(target=work, args=(100 * t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_program_ends_while_copies_are_out(program: Any) -> None:
    program(
        """
        import inflight.mx as mx
        kept = [inflight.NDArray(np.zeros(100_000)).copy_to("null") for _ in range(20)]
        made = [mx.nd.zeros((1000,), ctx=mx.Context("null")) + 1 for _ in range(20)]
        capsules = [a.__dlpack__(stream=1) for a in kept if a.can_read()]
        """
    )


@forks
def test_the_child_of_a_fork_is_refused(program: Any) -> None:
    program(
        """
        array = inflight.NDArray(np.zeros(10)).copy_to("null")
        array.wait()
        child = os.fork()
        if child == 0:
            try:
                inflight.NDArray(np.zeros(10)).copy_to("null")
            except inflight.ShuttingDownError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


FAKE = os.environ.get("INFLIGHT_TEST_FAKE_DRIVER", "")


@pytest.mark.skipif(not FAKE, reason="the driver that computes nothing is not built")
def test_the_gpu_of_a_driver_that_computes_nothing(program: Any) -> None:
    """All of a GPU's memory, streams and DLPack, where its memory is the host's; no operator computes."""
    program(
        """
        import inflight.mx as mx
        assert mx.num_gpus() == 1
        values = np.arange(12, dtype=np.float32).reshape(3, 4)
        array = mx.nd.array(values, ctx=mx.gpu(0))
        assert array.context == mx.gpu(0) and repr(array.context) == "gpu(0)" and array.context.device_typeid == 2
        assert (array.asnumpy() == values).all()
        assert array.__dlpack_device__() == (2, 0)
        version = array.snapshot()
        assert version.device == "cuda:0"
        class Tensor:
            def __dlpack_device__(self): return (2, 0)
            def __dlpack__(self, *, stream, max_version=None):
                assert stream > 2, stream  # a stream of the package's own
                return version.__dlpack__(stream=1, max_version=max_version)
        taken = inflight.from_dlpack(Tensor())
        taken.wait()
        assert taken.device == "cuda:0" and (np.from_dlpack(taken, device="cpu") == values).all()
        array[1] = 5
        assert (array.asnumpy()[1] == 5).all() and (version.copy_to("cpu") is not None)
        try:
            mx.gpu(1)
        except LookupError as refused:
            assert "gpu(1), want 0 to 0" in str(refused), refused
        else:
            raise AssertionError
        """,
        INFLIGHT_CUDA_LIBRARIES=FAKE,
    )
