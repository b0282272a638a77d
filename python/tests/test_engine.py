# SPDX-License-Identifier: Apache-2.0
"""Closures in Python in the order of what they read and write."""

from __future__ import annotations

import gc
import sys
import threading
import time

import inflight
import pytest


@pytest.fixture(params=[False, True], ids=["threaded", "naive"])
def engine(request):
    with inflight.Engine(naive=request.param) as made:
        yield made


def test_writes_come_in_their_order(engine) -> None:
    var = inflight.Var()
    seen: list[int] = []
    for i in range(100):
        engine.push(lambda i=i: seen.append(i), writes=[var])
    engine.drain()
    assert seen == list(range(100)) and var.status() is None and engine.pending() == 0


def test_a_failure_is_that_of_what_reads_it(engine) -> None:
    a, b = inflight.Var(), inflight.Var()
    ends: list[object] = []
    ran: list[int] = []
    engine.push(lambda: 1 / 0, writes=[a], on_finish=ends.append)
    engine.push(lambda: ran.append(1), reads=[a], writes=[b], on_finish=ends.append)
    engine.push(lambda: ran.append(2), writes=[a], on_finish=ends.append)
    engine.drain()
    assert ran == [2]
    assert isinstance(ends[0], inflight.CallbackError) and "ZeroDivisionError: division by zero" in str(ends[0])
    assert isinstance(b.status(), inflight.CallbackError) and a.status() is None
    assert ends[2] is None


def test_a_failure_of_ours_keeps_its_kind(engine) -> None:
    var = inflight.Var()

    def fails() -> None:
        raise inflight.UnsupportedError("not this")

    engine.push(fails, writes=[var])
    engine.drain()
    assert isinstance(var.status(), inflight.UnsupportedError) and "not this" in str(var.status())


def test_asynchronous_operations() -> None:
    with inflight.Engine() as engine:
        var = inflight.Var()
        seen: list[str] = []
        tokens: list[inflight.OpToken] = []
        engine.push_async(tokens.append, writes=[var])
        engine.push(lambda: seen.append("after"), reads=[var])
        while not tokens:
            time.sleep(0.001)
        assert seen == []
        tokens[0].complete()
        engine.drain()
        assert seen == ["after"]
        with pytest.raises(inflight.InvalidArgumentError, match="already"):
            tokens[0].complete()
        engine.push_async(lambda token: token.complete(ValueError("no")), writes=[var])
        engine.drain()
        assert "ValueError: no" in str(var.status())
        engine.push_async(lambda token: None, writes=[var])  # dropped
        engine.drain()
        assert isinstance(var.status(), inflight.InternalError)
        engine.push_async(lambda token: 1 / 0, writes=[var])
        engine.drain()
        assert "ZeroDivisionError" in str(var.status())


def test_it_runs_beside_the_main_thread() -> None:
    with inflight.Engine(threads=2) as engine:
        gate = threading.Event()
        engine.push(lambda: gate.wait(30))
        engine.push(gate.set)
        engine.drain(30)


def test_bad_use() -> None:
    with pytest.raises(inflight.InvalidArgumentError, match="threads"):
        inflight.Engine(threads=-1)
    with pytest.raises(inflight.InvalidArgumentError, match="pending_limit"):
        inflight.Engine(pending_limit=0)
    engine = inflight.Engine(pending_limit=1)
    gate = threading.Event()
    with pytest.raises(TypeError, match="fn: found int"):
        engine.push(3)
    with pytest.raises(TypeError, match="reads: found int"):
        engine.push(gate.wait, reads=[3])
    engine.push(gate.wait)
    with pytest.raises(inflight.OverloadedError):
        engine.push(gate.wait)
    with pytest.raises(inflight.DeadlineExceededError):
        engine.drain(0.01)
    gate.set()
    engine.drain()
    failed: list[BaseException] = []

    def drains() -> None:
        try:
            engine.drain()
        except inflight.Error as refused:
            failed.append(refused)

    engine.push(drains)
    engine.drain()
    assert "operation" in str(failed[0])
    engine.shutdown()
    with pytest.raises(inflight.ShuttingDownError):
        engine.push(gate.set)


def test_closures_are_let_go() -> None:
    marker = object()
    before = sys.getrefcount(marker)
    engine = inflight.Engine()
    for _ in range(100):
        engine.push(lambda m=marker: None, on_finish=lambda e, m=marker: None)
    engine.shutdown("cancel")
    del engine
    gc.collect()
    assert sys.getrefcount(marker) == before


def test_the_last_handle_may_go_inside_an_operation() -> None:
    holder = [inflight.Engine()]
    done = threading.Event()

    def last() -> None:
        holder.clear()
        done.set()

    holder[0].push(last)
    assert done.wait(30)


def test_an_engine_that_ends_while_its_thread_still_wants_the_interpreter() -> None:
    """Its last share goes at the end of a call, on a thread that has the GIL."""
    for _ in range(200):
        with inflight.Engine(spin=0.0) as engine:
            done = threading.Event()
            engine.push_async(lambda token, done=done: (token.complete(), done.set(), [None for _ in range(2000)]))
            engine.drain()


def test_closing_an_engine_while_others_push() -> None:
    for _ in range(20):
        engine = inflight.Engine(threads=2, pending_limit=100_000)
        stop = threading.Event()

        def pushes(engine=engine, stop=stop) -> None:
            while not stop.is_set():
                try:
                    engine.push(lambda: None)
                except (inflight.ShuttingDownError, inflight.OverloadedError):
                    return

        threads = [threading.Thread(target=pushes) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.005)
        engine.close()
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
