# SPDX-License-Identifier: Apache-2.0
"""Which frames get a place: limits, policies, streams and deadlines."""

from __future__ import annotations

import time

import inflight
import pytest
from conftest import device_that_takes, needs_plugin, slow_model


@needs_plugin
def test_the_limit_refuses_with_a_time(frame) -> None:
    with inflight.Predictor(slow_model(), runtime=device_that_takes(200), in_flight_limit=3) as predictor:
        warm = predictor.submit(frame)
        warm.wait()
        admitted = [predictor.submit(frame) for _ in range(3)]
        with pytest.raises(inflight.OverloadedError) as caught:
            predictor.submit(frame)
        assert 0 < caught.value.retry_after < 5
        assert isinstance(caught.value, BlockingIOError)
        assert predictor.retry_after() > 0
        inflight.wait_all(admitted)
        books = predictor.statistics()
        assert (books.submitted, books.completed, books.rejected, books.in_flight) == (5, 4, 1, 0)
        assert books.in_flight_max == 3
        assert predictor.latencies().total.count == 4
        assert predictor.latencies().total.quantile(0.5) >= 0.19


@needs_plugin
def test_finished_limit_says_why(slow_runtime, frame) -> None:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, finished_limit=2) as predictor:
        for _ in range(2):
            predictor.submit(frame).wait()
        with pytest.raises(inflight.OverloadedError, match="take"):
            predictor.submit(frame)
    with inflight.Predictor(slow_model(), runtime=slow_runtime, finished_limit=2, keep_finished=False) as predictor:
        for _ in range(5):
            predictor.submit(frame).wait()
        assert predictor.take_finished() == []
        with pytest.raises(inflight.UnsupportedError):
            predictor.event_fd()


@needs_plugin
def test_blocking_waits_for_a_place_and_keeps_the_books(slow_runtime, frame) -> None:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=1, overload="block") as predictor:
        for _ in range(5):
            predictor.submit(frame)
        predictor.drain()
        assert predictor.statistics().completed == 5
    with inflight.Predictor(
        slow_model(), runtime=slow_runtime, in_flight_limit=1, overload="block", block_timeout=0.001
    ) as predictor:
        predictor.submit(frame)
        with pytest.raises(inflight.OverloadedError):
            for _ in range(300):
                predictor.submit(frame)


@needs_plugin
def test_blocking_waits_as_long_as_it_was_told(program) -> None:
    program(
        """
        predictor = slow_predictor(in_flight_limit=1, overload="block", block_timeout=0.6)
        predictor.submit(frame)
        began = time.monotonic()
        try:
            predictor.submit(frame)
            raise SystemExit("admitted")
        except inflight.OverloadedError as full:
            took = time.monotonic() - began
        assert took >= 0.6, took
        books = predictor.statistics()
        assert (books.submitted, books.rejected, books.in_flight) == (2, 1, 1), books
        """,
        INFLIGHT_TEST_NULL_MS="4000",
    )


@needs_plugin
def test_streams_have_policies_deliveries_and_books(slow_runtime, frame) -> None:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=4, slots=1) as predictor:
        door = predictor.stream("door", policy="keep-latest", delivery="newest-only")
        yard = predictor.stream("yard", policy="block", weight=2.0, priority=1, delivery="in-order")
        shown = [predictor.submit(frame, stream=door, tag=i) for i in range(6)]
        predictor.drain()  # or a frame of the yard, of higher priority, would take its last one's place
        kept = [predictor.submit(frame, stream=yard, tag=10 + i) for i in range(6)]
        other = predictor.submit(frame, tag=99) if predictor.statistics().in_flight < 4 else None
        predictor.drain()
        assert {p.stream_name for p in shown} == {"door"} and kept[0].stream_name == "yard"
        assert other is None or other.stream_name == ""
        assert [p.outcome for p in kept] == ["completed"] * 6
        outcomes = [p.outcome for p in shown]
        assert outcomes[-1] == "completed" and "dropped" in outcomes
        tags = [p.tag for p in predictor.take_finished()]
        assert [tag for tag in tags if 10 <= tag < 16] == [10, 11, 12, 13, 14, 15]
        assert [tag for tag in tags if tag < 10] == [5]
        books, all_books = door.statistics(), predictor.statistics()
        assert books.submitted == 6 == books.completed + books.dropped
        assert books.superseded == books.completed - 1 == all_books.superseded
        assert books.submitted + yard.statistics().submitted + (other is not None) == all_books.submitted
        assert yard.latency().count == 6 and yard.age().count > 0
        assert repr(door) == '<inflight.Stream "door">'
        with pytest.raises(inflight.InvalidArgumentError, match="priority: got 9, want -8 to 7"):
            predictor.stream(priority=9)
        with pytest.raises(inflight.InvalidArgumentError, match="nothing waits with"):
            predictor.stream(block_timeout=1.0)
        with inflight.Predictor(slow_model(), runtime=slow_runtime) as another:
            with pytest.raises(inflight.InvalidArgumentError, match="of another predictor"):
                another.submit(frame, stream=door)


@needs_plugin
def test_a_stream_that_blocks_counts_one_refusal(frame) -> None:
    with inflight.Predictor(slow_model(), runtime=device_that_takes(200), in_flight_limit=1) as predictor:
        stream = predictor.stream(policy="block", block_timeout=0.0001)
        refused = 0
        for _ in range(4):
            try:
                predictor.submit(frame, stream=stream)
            except inflight.OverloadedError:
                refused += 1
        predictor.drain()
        assert stream.has_place()
        books = stream.statistics()
        assert refused >= 1 and books.rejected == refused and books.submitted == 4


@needs_plugin
def test_what_would_be_late_is_refused_at_once(slow_runtime, frame) -> None:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=500, refuse_late=True) as predictor:
        door = predictor.stream("door")
        for _ in range(3):
            predictor.submit(frame, stream=door).wait()  # measures
        with pytest.raises(inflight.OverloadedError, match="would finish after its deadline"):
            for _ in range(500):  # 2.5 s of work
                predictor.submit(frame, stream=door, deadline=time.monotonic() + 0.1)
        assert predictor.statistics().late == 1 and door.statistics().late == 1
        assert door.statistics().rejected == 1


@needs_plugin
def test_the_limit_may_be_automatic(slow_runtime, frame) -> None:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit="auto", width="elastic",
                            overload="block", keep_finished=False) as predictor:  # fmt: skip
        assert predictor.statistics().limit_reason == "measuring"
        door = predictor.stream("door", policy="block")
        reasons = set()
        for i in range(300):
            predictor.submit(frame, stream=door if i % 2 else None)
            reasons.add(predictor.statistics().limit_reason)
        predictor.drain()
        assert "knee" in reasons
        books = predictor.statistics()
        assert 1 <= books.in_flight_limit <= 2 and books.completed == 300
        assert door.statistics().in_flight_limit == books.in_flight_limit
    for wrong in ("most", 0, -1, 1.5):
        with pytest.raises(inflight.InvalidArgumentError, match="in_flight_limit: got"):
            inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=wrong)
