# SPDX-License-Identifier: Apache-2.0
"""Arrays on a GPU, with PyTorch and CuPy where they are there. Skips where there is no GPU."""

from __future__ import annotations

from typing import Any

import inflight
import inflight.mx as mx
import numpy as np
import pytest

if mx.num_gpus() == 0:
    pytest.skip("this machine has no GPU", allow_module_level=True)

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def host(array: Any) -> np.ndarray:
    copy = array.copy_to("cpu")
    copy.wait()
    return np.array(copy.numpy())


def test_arrays_go_there_and_back() -> None:
    for values in (VALUES, np.zeros((0, 3), np.uint8), np.arange(5_000_000, dtype=np.int64)):
        array = inflight.NDArray(values).copy_to("cuda")
        assert array.device == "cuda:0"
        assert (host(array) == values).all()


def test_operators_compute_there() -> None:
    a = mx.nd.array(VALUES, ctx=mx.gpu(0))
    assert a.context == mx.gpu(0)
    made = mx.nd.exp(a / 10) + a.sum() - a[:, ::2].sum(axis=1, keepdims=True)
    want = np.exp(VALUES / 10) + VALUES.sum() - VALUES[:, ::2].sum(axis=1, keepdims=True)
    assert made.context == mx.gpu(0)
    np.testing.assert_allclose(made.asnumpy(), want, rtol=1e-4)
    a[1] = 100
    a[:, 1:3] += 1
    want = VALUES.copy()
    want[1] = 100
    want[:, 1:3] += 1
    np.testing.assert_allclose(a.asnumpy(), want)


def test_executors_compute_there() -> None:
    random = np.random.default_rng(0)
    x = mx.sym.Variable("x")
    net = mx.sym.Convolution(x, kernel=(3, 3), num_filter=8, name="conv")
    net = mx.sym.Activation(net, act_type="relu")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Flatten(net), num_hidden=5, name="fc"), name="out")
    values = {
        "x": random.random((2, 3, 16, 16), np.float32),
        "conv_weight": random.random((8, 3, 3, 3), np.float32) - 0.5,
        "conv_bias": random.random(8, np.float32),
        "fc_weight": (random.random((5, 8 * 14 * 14), np.float32) - 0.5) / 20,
        "fc_bias": random.random(5, np.float32),
        "out_label": np.zeros(2, np.float32),
    }

    def bound(context: mx.Context) -> Any:
        with context:
            return net.bind(context, {name: mx.nd.array(value) for name, value in values.items()})

    want = bound(mx.cpu()).forward()[0].asnumpy()
    executor = bound(mx.gpu())
    for _ in range(6):
        np.testing.assert_allclose(executor.forward()[0].asnumpy(), want, rtol=1e-3, atol=1e-5)
        mx.nd.waitall()


def test_predictions_stay_there() -> None:
    with inflight.Predictor(inflight.default_model(480, 640), device="cuda", precision="f32", outputs_on_device=True) as there:
        frame = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        on_gpu = inflight.NDArray(frame).copy_to("cuda")
        outputs = [there.submit(given).output(0) for given in (frame, on_gpu, frame, on_gpu)]
        assert outputs[0].device == "cuda:0"
        with inflight.Predictor(inflight.default_model(480, 640), precision="f32") as here:
            want = here.submit(frame)
            want.wait()
            for output in outputs:
                np.testing.assert_allclose(host(output), want.output(0).numpy(), rtol=1e-3, atol=1e-4)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    # Out: the tensor is over the same memory.
    array = inflight.NDArray(VALUES).copy_to("cuda")
    array.wait()
    tensor = torch.from_dlpack(array)
    assert tensor.is_cuda and (tensor.cpu().numpy() == VALUES).all()
    again = inflight.from_dlpack(tensor)
    again.wait()
    assert torch.from_dlpack(again).data_ptr() == tensor.data_ptr()
    # In: on a stream of its own that is far behind, and nobody waits. The array is ready when the stream is.
    stream = torch.cuda.Stream()
    big = torch.zeros(64 << 20, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        # A machine that is held up may find the stream at its end; a call that waits for the stream always does.
        passes = 0
        pending = False
        while not pending and passes < 2000:
            for _ in range(200):
                big.add_(1)
            passes += 200
            taken = inflight.from_dlpack(big)
            pending = not taken.can_read()
            taken.wait()
            assert (host(taken) == passes).all()
    assert pending, "from_dlpack() waits for the stream"
    with pytest.raises(inflight.InvalidArgumentError, match="contiguous"):
        inflight.from_dlpack(torch.zeros(4, 4, device="cuda").t())


def test_torch_may_still_read_what_it_gave_back() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    count = 16 << 20
    results = []
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            for i in range(10):
                array = inflight.NDArray(np.full(count, i, np.float32)).copy_to("cuda")
                array.wait()
                tensor = torch.from_dlpack(array)
                total = torch.zeros((), device="cuda", dtype=torch.float64)
                for _ in range(20):
                    total += tensor[::4096].sum(dtype=torch.float64)
                results.append((i, total))
                del tensor, array  # its memory goes back to the pool, while the sums are still to come
    torch.cuda.synchronize()
    for i, total in results:
        assert total.item() == 20 * i * (count // 4096)


def test_torch_predicts_on_its_own_tensors() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    with inflight.Predictor(inflight.default_model(480, 640), device="cuda", precision="f32", outputs_on_device=True) as there:
        frames = [torch.randint(0, 255, (480, 640, 3), dtype=torch.uint8, device="cuda") for _ in range(8)]
        predictions = [there.submit(frame) for frame in frames]
        for prediction in predictions:
            prediction.wait()
        scores = [torch.from_dlpack(prediction.output(0)).softmax(-1).cpu().numpy() for prediction in predictions]
        with inflight.Predictor(inflight.default_model(480, 640), precision="f32") as here:
            for frame, score in zip(frames, scores):
                want = here.submit(frame.cpu().numpy())
                want.wait()
                logits = want.output(0).numpy()
                soft = np.exp(logits - logits.max(-1, keepdims=True))
                np.testing.assert_allclose(score, soft / soft.sum(-1, keepdims=True), rtol=1e-3, atol=1e-4)


def test_torch_graphs_are_captured_while_arrays_are_copied() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    x = torch.ones(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
        arrays = [inflight.NDArray(VALUES).copy_to("cuda") for _ in range(50)]
        for array in arrays:
            array.wait()
    graph.replay()
    torch.cuda.synchronize()
    assert (y.cpu().numpy() == 2).all() and (host(arrays[-1]) == VALUES).all()


def test_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    array = inflight.NDArray(VALUES).copy_to("cuda")
    array.wait()
    given = cupy.from_dlpack(array)
    assert (cupy.asnumpy(given) == VALUES).all()
    taken = inflight.from_dlpack(given)
    taken.wait()
    assert (host(taken) == VALUES).all()
    with cupy.cuda.Stream():
        made = cupy.arange(1 << 20, dtype=cupy.float32) * 2
        taken = inflight.from_dlpack(made)
    taken.wait()
    assert (host(taken) == np.arange(1 << 20, dtype=np.float32) * 2).all()
