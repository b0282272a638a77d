# SPDX-License-Identifier: Apache-2.0
"""await, async for, cancellation and time limits, over descriptors, in asyncio's loop and in uvloop's."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import inflight
import numpy as np
import pytest
import uvloop
from conftest import SANITIZED, device_that_takes, needs_plugin, slow_model
from inflight import _asyncio
from memory import least_growth

pytestmark = needs_plugin

Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def with_loop(main: Awaitable[Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(main, 240 if SANITIZED else 60)

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(bounded())

    return with_loop


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_await_gives_the_prediction(run, slow, frame) -> None:
    async def main() -> None:
        prediction = slow.submit(frame, tag=4)
        assert await prediction is prediction
        assert prediction.can_read() and prediction.output(0).numpy().shape == (2,)
        assert await prediction is prediction, "again, at once"
        array = slow.submit(frame).output(0)
        assert (await array) is array

    run(main())


def test_a_failure_is_raised(run, slow, frame) -> None:
    async def main() -> None:
        ahead = [slow.submit(frame) for _ in range(1000)]  # for 5 s
        late = slow.submit(frame, deadline=time.monotonic() + 0.5)
        given_up = slow.submit(frame)
        assert given_up.cancel()
        with pytest.raises(inflight.CancelledError):
            await given_up
        with pytest.raises(TimeoutError) as caught:
            await late
        assert isinstance(caught.value, inflight.DeadlineExceededError)
        for one in ahead:
            one.cancel()

    run(main())


def test_a_thousand_awaits_finish_in_the_order_of_completion(run, frame) -> None:
    order: list[int] = []

    async def wait(prediction: inflight.Prediction) -> None:
        await prediction
        order.append(prediction.tag)

    async def main(predictor: inflight.Predictor) -> None:
        await predictor.submit(first.submit(frame).output(0))  # the loop's queue is there
        predictor.take_finished()
        threads = threading.active_count()
        tasks_of_process = len(os.listdir("/proc/self/task"))
        gc.collect()  # what tests before have left
        before = descriptors()
        held_up = first.submit(frame).output(0)  # none is ready before all are awaited
        predictions = [predictor.submit(held_up, tag=i) for i in range(1000)]
        # Awaited in another order than that of the submissions.
        tasks = [asyncio.create_task(wait(p)) for p in predictions[::-1]]
        await asyncio.sleep(0)
        assert descriptors() <= before and threading.active_count() == threads
        assert len(os.listdir("/proc/self/task")) <= tasks_of_process
        await asyncio.gather(*tasks)

    same = inflight.Model.opaque("same", [inflight.TensorSpec("a", "f32", [2])], [inflight.TensorSpec("b", "f32", [2])])
    with (
        inflight.Predictor(slow_model(), runtime=device_that_takes(1000)) as first,
        inflight.Predictor(same, runtime=device_that_takes(1), in_flight_limit=1000, finished_limit=2000) as predictor,
    ):
        run(main(predictor))
        assert [p.tag for p in predictor.take_finished()] == order
    assert sorted(order) == list(range(1000))


def test_one_descriptor_for_all_of_a_loop(run, slow, frame) -> None:
    async def main() -> None:
        before = descriptors()
        await asyncio.gather(*(slow.submit(frame) for _ in range(20)))
        assert descriptors() == before + 1

    at_start = descriptors()
    run(main())
    gc.collect()
    assert descriptors() <= at_start + 1  # uvloop keeps one of its own


def test_cancelling_the_task_cancels_the_prediction(run, slow, frame) -> None:
    async def main() -> None:
        slow.submit(frame)
        predictions = [slow.submit(frame) for _ in range(1000)]
        tasks = [asyncio.ensure_future(asyncio.wait_for(one(p), None)) for p in predictions]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = sum(isinstance(r, asyncio.CancelledError) for r in results)
        assert cancelled >= 900
        assert sum(p.outcome == "cancelled" for p in predictions) >= 900
        assert slow.statistics().in_flight <= 2
        await asyncio.to_thread(slow.drain)

    async def one(prediction: inflight.Prediction) -> None:
        await prediction

    run(main())
    from inflight import _asyncio

    slow.take_finished()
    gc.collect()
    left = [o for o in gc.get_objects() if isinstance(o, _asyncio._Ready)]
    assert all(not ready._waiting for ready in left)


def test_cancelling_leaks_no_memory(run, slow, frame) -> None:
    if SANITIZED:
        pytest.skip("a sanitizer keeps freed memory")

    async def round_of_cancellations() -> None:
        slow.submit(frame)
        tasks = [asyncio.create_task(one(slow.submit(frame))) for _ in range(1000)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(slow.drain)
        slow.take_finished()

    async def one(prediction: inflight.Prediction) -> None:
        await prediction

    async def three_rounds() -> None:
        for _ in range(3):
            await round_of_cancellations()

    assert least_growth(lambda: run(three_rounds())) < 400_000


def test_time_limits(run, slow, frame) -> None:
    async def main() -> None:
        ahead = [slow.submit(frame) for _ in range(200)]  # for 1 s
        last = slow.submit(frame)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await last
        assert last.outcome == "cancelled"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ahead[-1].output(0), 0.01)
        # An array is somebody's result: giving up one wait for it cancels nothing.
        await ahead[-1]
        assert ahead[-1].outcome == "completed"
        async with asyncio.timeout(30):
            await slow.submit(frame)

    run(main())


def test_finished_gives_each_once_in_order(run, slow, frame) -> None:
    async def main() -> None:
        seen = []
        predictions = [slow.submit(frame, tag=i) for i in range(50)]
        async for prediction in slow.finished():
            seen.append(prediction.tag)
            if len(seen) == 50:
                break
        assert seen == [p.tag for p in predictions]

    run(main())


def test_what_is_left_after_a_break_is_still_there(run, slow, frame) -> None:
    async def main() -> None:
        predictions = [slow.submit(frame, tag=i) for i in range(10)]
        await asyncio.gather(*predictions)
        async for prediction in slow.finished():
            assert prediction.tag == 0
            break
        assert slow.wait_any(0)
        assert [p.tag for p in slow.take_finished()] == list(range(1, 10))

    run(main())


def test_several_consumers_share(run, slow, frame) -> None:
    async def consume(seen: list[int]) -> None:
        async for prediction in slow.finished():
            seen.append(prediction.tag)
            await asyncio.sleep(0.001)

    async def main() -> None:
        seen: list[list[int]] = [[], [], []]
        tasks = [asyncio.create_task(consume(one)) for one in seen]
        for i in range(60):
            slow.submit(frame, tag=i)
        await asyncio.to_thread(slow.shutdown)
        await asyncio.gather(*tasks)
        assert sorted(seen[0] + seen[1] + seen[2]) == list(range(60))
        assert all(seen), "each had some"

    run(main())


@pytest.fixture
def at_the_wait(monkeypatch) -> list[Callable[[], None]]:
    """What another thread does at the worst moment: a task has looked, and does not wait yet."""
    level_wait = _asyncio._Level.wait
    actions: list[Callable[[], None]] = []

    async def wait(level: _asyncio._Level, descriptor: int) -> None:
        if actions:
            thread = threading.Thread(target=actions.pop())
            thread.start()
            thread.join()
        await level_wait(level, descriptor)

    monkeypatch.setattr(_asyncio._Level, "wait", wait)
    return actions


def test_a_shutdown_between_the_look_and_the_wait_is_seen(run, slow, at_the_wait) -> None:
    async def main() -> None:
        assert [p async for p in slow.finished()] == []

    at_the_wait.append(slow.shutdown)
    run(main())
    assert not at_the_wait


def test_a_close_between_the_look_and_the_wait_is_seen(run, at_the_wait) -> None:
    class SilentSource:
        closed = False

        def _poll(self) -> str:
            return "wait"

        def _wakeup(self) -> int:
            return silence

        def close(self) -> None:
            self.closed = True
            _asyncio.wake_finished(self)

    async def main() -> None:
        with pytest.raises(StopAsyncIteration):
            await _asyncio.next_frame(source)

    source = SilentSource()
    silence, other_end = os.pipe()
    at_the_wait.append(source.close)
    run(main())
    os.close(silence)
    os.close(other_end)
    assert not at_the_wait


def test_finished_ends_with_the_predictor(run, slow_runtime, frame) -> None:
    async def main(close: str) -> None:
        predictor = inflight.Predictor(slow_model(), runtime=slow_runtime)
        seen = []

        async def consume() -> None:
            async for prediction in predictor.finished():
                seen.append(prediction.tag)

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
        before = descriptors()
        predictor.submit(frame, tag=1)
        while not seen:
            await asyncio.sleep(0.001)
        if close == "here":
            predictor.close()
        else:
            await asyncio.to_thread(predictor.close)
        await asyncio.wait_for(task, 30)
        assert seen == [1]
        assert descriptors() == before - 2

    run(main("here"))
    run(main("elsewhere"))


def test_finished_without_keeping(run, slow_runtime) -> None:
    async def main() -> None:
        with inflight.Predictor(slow_model(), runtime=slow_runtime, keep_finished=False) as predictor:
            with pytest.raises(inflight.UnsupportedError):
                async for _ in predictor.finished():
                    pass

    run(main())


def test_giving_up_a_wait_for_finished_ones(run, slow) -> None:
    async def main() -> None:
        before = descriptors()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    async for _ in slow.finished():
                        pass
        gc.collect()
        assert descriptors() <= before + 1

    run(main())


def test_two_loops_in_two_threads(slow, frame) -> None:
    failures: list[BaseException] = []

    async def main() -> None:
        for _ in range(20):
            await asyncio.gather(*(slow.submit(frame) for _ in range(3)))

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as failed:  # noqa: BLE001: told to the main thread
            failures.append(failed)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_many_loops_leave_nothing(slow, frame) -> None:
    async def main() -> None:
        await slow.submit(frame)

    asyncio.run(main())
    gc.collect()
    before = descriptors()
    for _ in range(20):
        asyncio.run(main())
    gc.collect()
    assert descriptors() <= before + 1


def test_a_loop_that_ends_with_awaits_in_flight(run, slow, frame) -> None:
    async def main() -> None:
        for _ in range(10):
            asyncio.create_task(one(slow.submit(frame)))
        await asyncio.sleep(0)

    async def one(prediction: inflight.Prediction) -> None:
        await prediction

    run(main())
    slow.drain(30)


def test_outside_of_a_loop() -> None:
    with pytest.raises(RuntimeError):
        pending = inflight.NDArray(np.zeros(1)).__await__()
        try:
            next(pending)
        except StopIteration:
            raise RuntimeError("ready at once") from None
