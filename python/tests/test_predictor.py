# SPDX-License-Identifier: Apache-2.0
"""Models and predictors against answers found without them, and the books."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import inflight
import numpy as np
import openvino
import pytest
from conftest import MODELS, PLUGINS, needs_plugin, slow_model


def expected(images: np.ndarray) -> np.ndarray:
    """What OpenVINO itself says of frames u8[48,64,3], prepared by hand: no resizing at this size."""
    compiled = openvino.compile_model(openvino.Core().read_model(MODELS / "shapes.onnx"), "CPU",
                                      {"INFERENCE_PRECISION_HINT": "f32"})  # fmt: skip
    scaled = (images.astype(np.float32) - 127.5) / 127.5
    return np.stack([compiled(one[None])[0] for one in scaled.transpose(0, 3, 1, 2)])


def test_the_right_answers() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 48, 64, 3), np.uint8)
    model = inflight.Model.load(MODELS / "shapes.onnx").with_image_input(48, 64, mean=[127.5], scale=[127.5])
    with inflight.Predictor(model, in_flight_limit=6, precision="f32") as predictor:
        predictions = [predictor.submit(image, tag=100 + i) for i, image in enumerate(images)]
        inflight.wait_all(predictions, timeout=60)
        found = np.stack([p.output("scores").numpy() for p in predictions])
    np.testing.assert_allclose(found, expected(images), atol=1e-4)
    assert [p.tag for p in predictions] == [100, 101, 102, 103, 104, 105]
    assert [p.id for p in predictions] == [0, 1, 2, 3, 4, 5]


def test_labels_of_the_synthetic_source() -> None:
    right = 0
    with inflight.Predictor(inflight.default_model(480, 640)) as predictor:
        with inflight.open_source("synthetic", fps=0) as frames:
            for frame, _ in zip(frames, range(90)):
                prediction = predictor.submit(frame)
                prediction.wait()
                right += int(prediction.output(0).numpy().argmax()) == frame.label
                predictor.take_finished()
    assert right >= 85


@needs_plugin
def test_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    with inflight.Predictor(inflight.default_model(), tune="full") as predictor:
        assert predictor.tuning is None  # the CPU has nothing to time
    monkeypatch.setenv("INFLIGHT_TEST_NULL_TUNES", "1")
    runtime = inflight.Runtime("null", plugin_folders=[PLUGINS])
    with inflight.Predictor(slow_model(), runtime=runtime, tune="full") as predictor:
        tuning = predictor.tuning
    assert tuning is not None
    assert (tuning.level, tuning.seconds, tuning.gain, tuning.cached) == ("full", 1.5, 0.25, False)


def test_models() -> None:
    model = inflight.default_model()
    assert model.inputs == [inflight.TensorSpec("image", "f32", [1, 3, 48, 64])]
    assert model.outputs[0].shape == (1, 6) and model.outputs[0].dtype == "f32"
    assert (model.metadata("labels") or "").split(",")[0].strip('[" ') == inflight.SHAPE_NAMES[0]
    assert model.metadata("absent") is None
    assert model.summary().parameters > 0 and "Convolution" in model.summary().operators
    assert inflight.default_model(100, 200).inputs[0].shape == (100, 200, 3)
    again = inflight.Model.load_bytes((MODELS / "shapes.onnx").read_bytes(), "again")
    assert again.name == "again" and again.inputs == model.inputs
    for bad in ({"height": 0, "width": 5}, {"height": 5, "width": 5, "color": "hsv"},
                {"height": 5, "width": 5, "scale": [0.0]}, {"height": 5, "width": 5, "input": "no"}):  # fmt: skip
        with pytest.raises(inflight.InvalidArgumentError):
            model.with_image_input(**bad)
    with pytest.raises(inflight.InvalidTypeError, match="path: found None"):
        inflight.Model.load(None)
    with pytest.raises(inflight.InvalidArgumentError, match='dtype: got "float"'):
        inflight.TensorSpec("a", "float", [1])
    with pytest.raises(inflight.InvalidTypeError, match="input_shapes"):
        inflight.Model.load(MODELS / "shapes.onnx", input_shapes=[1])


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (None, TypeError, "frame: found None"),
        (np.zeros((480, 640, 3), np.float32), ValueError, r"got f32\[480,640,3\], want u8\[480,640,3\]"),
        (np.zeros((480, 640), np.uint8), ValueError, r"got u8\[480,640\], want u8\[480,640,3\]"),
        (np.zeros((479, 640, 3), np.uint8), ValueError, r"got u8\[479,640,3\]"),
        (np.zeros((480, 640, 3), object), TypeError, "Python objects"),
        ({"picture": np.zeros((480, 640, 3), np.uint8)}, ValueError, "picture"),
        ({}, ValueError, "input"),
        ({1: 2}, TypeError, "names of inputs"),
        ({"image": None}, TypeError, r'frame\["image"\]: found None'),
        ([], ValueError, "found 0 arrays, want 1"),
        ([None], TypeError, r"frame\[0\]: found None"),
    ],
)
def test_frames_that_do_not_fit(shapes, given, kind, message) -> None:
    with pytest.raises(kind, match=message) as caught:
        shapes.submit(given)
    assert isinstance(caught.value, inflight.InvalidArgumentError)
    assert shapes.statistics().in_flight == 0


def test_ways_to_give_a_frame(shapes) -> None:
    image = np.random.default_rng(2).integers(0, 256, (480, 640, 3), np.uint8)
    ways = [image, {"image": image}, [image], (image,), inflight.NDArray(image), image[:, ::-1][:, ::-1],
            image.tobytes()]  # fmt: skip
    ways[-1] = memoryview(ways[-1]).cast("B", (480, 640, 3))
    found = []
    for way in ways:
        for copy in (None, True):
            prediction = shapes.submit(way, copy=copy)
            prediction.wait()
            found.append(prediction.output(0).numpy().tolist())
    assert all(one == found[0] for one in found)
    with pytest.raises(TypeError):
        shapes.submit(image, tag=-1)
    with pytest.raises(TypeError):
        shapes.submit(image, tag="seven")


def test_a_frame_may_be_written_to_after_submit(shapes) -> None:
    image = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
    first = shapes.submit(image.copy())
    second = shapes.submit(image)
    image[:] = 0
    inflight.wait_all([first, second])
    assert first.output(0).numpy().tolist() == second.output(0).numpy().tolist()


def test_inputs_are_let_go_once_the_prediction_is_done(shapes) -> None:
    class Watched(np.ndarray):
        pass

    image = np.zeros((480, 640, 3), np.uint8).view(Watched)
    watch = weakref.ref(image)
    prediction = shapes.submit(image, copy=False)
    del image
    prediction.wait()
    gc.collect()
    assert watch() is None, "the worker gave it back, and the wait let go of it"


@needs_plugin
def test_finished_ones_wait_to_be_taken_in_their_order(slow, frame) -> None:
    predictions = [slow.submit(frame, tag=i) for i in range(10)]
    assert slow.wait_any(10)
    inflight.wait_all(predictions)
    assert [p.tag for p in slow.take_finished()] == list(range(10))
    assert slow.take_finished() == []
    assert not slow.wait_any(), "nothing is in flight"


@needs_plugin
def test_cancel_and_deadline_and_failure(slow, frame) -> None:
    running = slow.submit(frame)
    ahead = [slow.submit(frame) for _ in range(400)]  # for 2 s
    waiting = slow.submit(frame)
    late = slow.submit(frame, deadline=time.monotonic() + 0.5)
    assert waiting.cancel() and not waiting.cancel()
    assert waiting.outcome == "cancelled" and isinstance(waiting.status(), inflight.CancelledError)
    with pytest.raises(inflight.CancelledError):
        waiting.wait()
    running.wait()
    with pytest.raises(TimeoutError):
        late.wait()
    assert late.outcome == "expired" and late.times.launched is None
    for one in ahead:
        one.cancel()
    with pytest.raises(inflight.DeadlineExceededError):
        slow.submit(frame, deadline=time.monotonic() - 1)
    assert running.times.submitted <= running.times.launched <= running.times.finished
    chained = slow.submit(np.zeros(4, np.uint8))
    assert isinstance(chained.status(), inflight.NotReadyError) or chained.can_read()
    chained.wait(10)


@needs_plugin
def test_a_wait_ends_in_time(slow, frame) -> None:
    predictions = [slow.submit(frame) for _ in range(400)]  # for 2 s
    last = predictions[-1]
    with pytest.raises(TimeoutError):
        last.wait(0)
    with pytest.raises(inflight.DeadlineExceededError):
        last.wait(0.01)
    with pytest.raises(inflight.DeadlineExceededError):
        last.output(0).wait(0.01)
    with pytest.raises(inflight.DeadlineExceededError):
        slow.drain(0.01)
    with pytest.raises(inflight.DeadlineExceededError):
        inflight.wait_all(predictions, 0.01)
    assert inflight.wait_any([last], 0.01) is None
    with pytest.raises(ValueError, match="timeout"):
        last.wait(-1)
    with pytest.raises(ValueError, match="timeout"):
        last.wait(float("nan"))
    with pytest.raises(inflight.NotReadyError):
        last.output(0).numpy()
    with pytest.raises(BlockingIOError):
        np.from_dlpack(last.output(0))
    assert last.output(0).shape == (2,) and "pending" in repr(last.output(0))
    assert inflight.wait_any(predictions) == 0
    slow.drain()
    last.wait(float("inf"))


@needs_plugin
def test_a_chain_needs_no_wait(slow_runtime, frame) -> None:
    same = inflight.Model.opaque("same", [inflight.TensorSpec("a", "f32", [2])], [inflight.TensorSpec("b", "f32", [2])])
    with inflight.Predictor(slow_model(), runtime=slow_runtime) as first:
        with inflight.Predictor(same, runtime=slow_runtime) as second:
            chained = second.submit(first.submit(frame).output(0))
            chained.wait(10)
            assert chained.outcome == "completed"


def test_outputs_by_index_and_name(shapes) -> None:
    prediction = shapes.submit(np.zeros((480, 640, 3), np.uint8))
    prediction.wait()
    assert prediction.output_count == 1
    assert prediction.output(0) == prediction.output("scores")
    for bad in (1, -1, 10**30):
        with pytest.raises(inflight.InvalidArgumentError, match="output"):
            prediction.output(bad)
    with pytest.raises(inflight.NotFoundError, match="absent"):
        prediction.output("absent")
    with pytest.raises(inflight.InvalidTypeError):
        prediction.output(None)


def test_outputs_outlive_everything(frame) -> None:
    predictor = inflight.Predictor(inflight.default_model(480, 640))
    prediction = predictor.submit(np.zeros((480, 640, 3), np.uint8))
    prediction.wait()
    view = prediction.output(0).numpy()
    before = view.tolist()
    for _ in range(50):  # others would take the memory, were it free
        predictor.submit(np.full((480, 640, 3), 255, np.uint8)).wait()
        predictor.take_finished()
    predictor.close()
    del predictor, prediction
    gc.collect()
    assert view.tolist() == before


def test_callbacks(shapes) -> None:
    from concurrent.futures import ThreadPoolExecutor

    called = threading.Event()
    seen = []

    def fn(prediction: inflight.Prediction) -> None:
        seen.append((prediction.can_read(), threading.current_thread() is threading.main_thread()))
        called.set()

    prediction = shapes.submit(np.zeros((480, 640, 3), np.uint8))
    prediction.on_ready(fn)
    assert called.wait(30)
    assert seen == [(True, False)]
    called.clear()
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        prediction.output(0).on_ready(lambda a: (seen.append(threading.current_thread().name), called.set()),
                                      executor=pool)  # fmt: skip
        assert called.wait(30)
    assert seen[-1].startswith("mine")
    with pytest.raises(TypeError, match="callable"):
        prediction.on_ready(3)
    with pytest.raises(TypeError, match="Executor"):
        prediction.on_ready(fn, executor=3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_callback_raises_is_told_and_ends_there(shapes) -> None:
    import sys

    told: list[object] = []
    was, sys.unraisablehook = sys.unraisablehook, lambda args: told.append(args.exc_value)
    try:
        done = threading.Event()
        prediction = shapes.submit(np.zeros((480, 640, 3), np.uint8))
        prediction.on_ready(lambda p: 1 / 0)
        prediction.on_ready(lambda p: done.set())
        assert done.wait(30)
    finally:
        sys.unraisablehook = was
    assert isinstance(told[0], ZeroDivisionError)


def test_many_threads(shapes) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    failures: list[BaseException] = []
    done = [0] * 6

    def work(index: int) -> None:
        try:
            for _ in range(60):
                try:
                    prediction = shapes.submit(image)
                except inflight.OverloadedError as full:
                    time.sleep(min(full.retry_after, 0.01))
                    continue
                prediction.wait(60)
                assert prediction.output(0).numpy().shape == (1, 6)
                done[index] += 1
                shapes.take_finished()
        except BaseException as failed:  # noqa: BLE001: told to the main thread
            failures.append(failed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert shapes.statistics().completed == sum(done)


@needs_plugin
def test_closing_while_others_wait(slow_runtime, frame) -> None:
    predictor = inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=100)
    predictions = [predictor.submit(frame) for _ in range(100)]
    waiter = threading.Thread(target=lambda: inflight.wait_any(predictions[-1:]))
    looker = threading.Thread(target=lambda: [predictor.wait_any() for _ in range(1)])
    waiter.start()
    looker.start()
    predictor.close()
    waiter.join(30)
    looker.join(30)
    assert not waiter.is_alive() and not looker.is_alive()
    outcomes = {p.outcome for p in predictions}
    assert outcomes <= {"completed", "cancelled"} and "cancelled" in outcomes


def test_completion_queue(shapes) -> None:
    queue = inflight.CompletionQueue()
    assert len(queue) == 0 and queue.take() == [] and queue.take_one() is None and not queue.wait(0.01)
    prediction = shapes.submit(np.zeros((480, 640, 3), np.uint8))
    queue.add(prediction, 7)
    queue.add(prediction.output(0), 2**64 - 1)
    assert len(queue) == 2
    prediction.wait()
    assert queue.wait(30)
    taken = []
    while len(taken) < 2:
        taken += queue.take()
    assert taken == [7, 2**64 - 1]
    queue.add(prediction, 1)
    assert queue.take_one() == 1
    assert queue.event_fd() == queue.event_fd()
    with pytest.raises(TypeError, match="handle: found None"):
        queue.add(None, 1)
    with pytest.raises(TypeError, match="handles: found int"):
        inflight.wait_any([1])


def test_a_runtime_is_shared() -> None:
    runtime = inflight.Runtime("cpu", threads=1)
    assert runtime.capacity == 1 and runtime.device == inflight.Device("cpu") and "cpu" in runtime.device_description
    with inflight.Predictor(inflight.default_model(), runtime=runtime, weight=2) as a:
        with inflight.Predictor(inflight.default_model(), runtime=runtime) as b:
            image = np.zeros((1, 3, 48, 64), np.float32)
            inflight.wait_all([a.submit(image), b.submit(image)], 60)
            assert a.slots >= 1 and "cpu" in a.device_description
    with pytest.raises(inflight.InvalidArgumentError, match="device"):
        inflight.Predictor(inflight.default_model(), runtime=runtime, device="cpu")


def test_devices() -> None:
    assert str(inflight.Device("cuda:1")) == "cuda:1" and inflight.Device("cuda:1").index == 1
    assert inflight.Device().is_host and inflight.Device() == inflight.Device("cpu:0") != inflight.Device("null")
    with pytest.raises(inflight.InvalidArgumentError):
        inflight.Device("CUDA")
