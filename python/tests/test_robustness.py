# SPDX-License-Identifier: Apache-2.0
"""Ends in mid-flight, forks, interrupts: each in a process of its own, which must neither hang nor crash nor leak."""

from __future__ import annotations

import os
import sys

import pytest
from conftest import PLUGINS, Program, forks, needs_plugin

pytestmark = needs_plugin


@pytest.mark.parametrize("where", ["global", "local", "cycle", "thread", "daemon"])
def test_the_interpreter_ends_in_mid_flight(program: Program, where: str) -> None:
    program(
        """
        def flying():
            predictor = slow_predictor(in_flight_limit=100)
            predictions = [predictor.submit(frame) for _ in range(100)]
            predictions[3].on_ready(lambda p: None)
            outputs = [p.output(0) for p in predictions]
            return predictor, predictions, outputs

        where = sys.argv[1] if len(sys.argv) > 1 else WHERE
        if where == "global":
            kept = flying()
        elif where == "local":
            flying()
        elif where == "cycle":
            class Knot: pass
            knot = Knot(); knot.me = knot; knot.kept = flying()
        else:
            def work():
                kept = flying()
                for one in kept[1]:
                    try:
                        one.wait()
                    except inflight.Error:
                        pass
            threading.Thread(target=work, daemon=where == "daemon").start()
            time.sleep(0.05)
        """.replace("WHERE", repr(where)),
        may_leak=where == "daemon",  # what the frame of such a thread holds is never given back
    )


def test_it_ends_with_everything_in_flight(program: Program) -> None:
    program(
        """
        engine = inflight.Engine(threads=2)
        var = inflight.Var()
        for _ in range(100):
            engine.push(lambda: time.sleep(0.001), writes=[var])
        source = inflight.open_source("synthetic", fps=1000)
        next(source)
        queue = inflight.CompletionQueue()
        predictor = slow_predictor(in_flight_limit=50)
        predictions = [predictor.submit(next(source).image[0, :4, 0], tag=i) for i in range(50)]
        for p in predictions:
            queue.add(p, p.tag)
            p.on_ready(lambda p: None)
        view = inflight.NDArray(np.zeros(8), copy=False).numpy()
        """
    )


def test_it_ends_with_a_loop_in_mid_flight(program: Program) -> None:
    program(
        """
        predictor = slow_predictor(in_flight_limit=100)
        async def one():
            await predictor.submit(frame)
        async def main():
            tasks = [asyncio.create_task(one()) for _ in range(50)]
            await asyncio.sleep(0.01)
            raise SystemExit(7)
        asyncio.run(main())
        """,
        code=7,
    )


def test_it_ends_by_an_exception_while_a_callback_runs(program: Program) -> None:
    program(
        """
        predictor = slow_predictor()
        started = threading.Event()
        def slowly(p):
            started.set()
            time.sleep(0.2)
        predictor.submit(frame).on_ready(slowly)
        started.wait()
        raise ValueError("on purpose")
        """,
        code=1,
    )


def test_after_the_end_nothing_can_be_used(program: Program) -> None:
    done = program(
        """
        import atexit
        predictor = slow_predictor()
        class Late:
            def __del__(self):
                try:
                    predictor.submit(frame)
                    print("took it")
                except inflight.ShuttingDownError as e:
                    print("refused:", e)
        late = Late()
        """
    )
    assert "took it" not in done.stdout


@forks
@pytest.mark.parametrize("end", ["exit", "_exit", "exception"])
def test_fork_after_import(program: Program, end: str) -> None:
    done = program(
        """
        predictor = slow_predictor(in_flight_limit=100)
        predictions = [predictor.submit(frame) for _ in range(20)]
        queue = inflight.CompletionQueue()
        for p in predictions:
            queue.add(p, 1)
        engine = inflight.Engine()
        engine.push(lambda: None)
        source = inflight.open_source("synthetic")
        array = inflight.NDArray(np.zeros(4), copy=False)
        predictions[0].on_ready(lambda p: None)
        child = os.fork()
        if child == 0:
            for use in (lambda: predictor.submit(frame), lambda: predictor.wait_any(), lambda: predictions[5].wait(),
                        lambda: predictions[5].cancel(), lambda: queue.take(), lambda: engine.push(print),
                        lambda: next(source), lambda: inflight.NDArray(frame), lambda: inflight.Predictor(slow_model()),
                        lambda: inflight.Runtime(), lambda: inflight.Engine(), lambda: inflight.default_model(),
                        lambda: predictor.statistics(), lambda: inflight.CompletionQueue(),
                        lambda: inflight.wait_all(predictions), lambda: predictor.take_finished(),
                        lambda: inflight.open_source("synthetic"), lambda: array.numpy(),
                        lambda: predictor.shutdown(), lambda: predictions[5].on_ready(print)):
                try:
                    use()
                    print("no error from", use.__code__.co_consts, use.__code__.co_names, flush=True)
                except inflight.ShuttingDownError as refused:
                    assert "fork" in str(refused), refused
            predictor.close(); source.close(); engine.close() if hasattr(engine, "close") else None
            assert predictions[5].can_read() in (True, False)
            print("child is fine", flush=True)
            del predictions, queue, array
            gc.collect()
            if END == "_exit":
                os._exit(0)
            if END == "exception":
                raise ValueError("on purpose")
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code == (1 if END == "exception" else 0), code
        inflight.wait_all(predictions)
        print("parent is fine")
        """.replace("END", repr(end))
    )
    assert "no error" not in done.stdout, done.stdout
    assert "child is fine" in done.stdout and "parent is fine" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "wanted"), [pytest.param("fork", "refused", marks=forks), ("spawn", "worked")])
def test_multiprocessing(program: Program, kind: str, wanted: str) -> None:
    program(
        """
        import multiprocessing
        def child(answers):
            try:
                inflight.default_model()
                answers.put("worked")
            except inflight.ShuttingDownError:
                answers.put("refused")
        if __name__ == "__main__":
            predictor = slow_predictor()
            predictor.submit(frame)
            context = multiprocessing.get_context(KIND)
            answers = context.Queue()
            process = context.Process(target=child, args=(answers,))
            process.start()
            assert answers.get(timeout=60) == WANTED
            process.join(60)
            assert process.exitcode == 0, process.exitcode
        """.replace("KIND", repr(kind)).replace("WANTED", repr(wanted))
    )


WAITS = {
    "prediction": "predictions[-1].wait()",
    "array": "predictions[-1].output(0).wait()",
    "wait_any": "inflight.wait_any(predictions[-1:])",
    "wait_all": "inflight.wait_all(predictions)",
    "drain": "predictor.drain()",
    "queue": "inflight.CompletionQueue().wait()",
    "engine": "engine.drain()",
    "source": "list(inflight.open_source('synthetic', fps=0.001))",
    "block": "[blocking.submit(frame) for _ in range(3)]",
    "asyncio": "asyncio.run(waits())",
    "finished": "asyncio.run(iterates())",
    "frames": "asyncio.run(looks())",
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_keyboard_interrupt_ends_every_wait(program: Program, wait: str) -> None:
    program(
        """
        os.environ["INFLIGHT_TEST_NULL_MS"] = "3000"
        predictor = slow_predictor(in_flight_limit=10)
        predictions = [predictor.submit(frame) for _ in range(3)]
        blocking = inflight.Predictor(slow_model(), runtime=inflight.Runtime("null", plugin_folders=[PLUGINS]),
                                      in_flight_limit=1, overload="block")
        engine = inflight.Engine()
        token = []
        engine.push_async(token.append)
        async def waits():
            await predictions[-1]
        async def iterates():
            async for p in predictor.finished():
                pass
        async def looks():
            async for f in inflight.open_source("synthetic", fps=0.001):
                pass
        def interrupt():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        began = time.monotonic()
        try:
            WAIT
            print("it did not wait")
        except KeyboardInterrupt:
            took = time.monotonic() - began
            assert took < 2.5, took
            print("interrupted")
        token[0].complete()
        # Everything still works.
        assert predictions[-1].outcome == ("cancelled" if NAME == "asyncio" else "pending")
        assert predictor.statistics().in_flight >= 2
        for p in predictions:
            p.cancel()
        """.replace("WAIT", WAITS[wait])
        .replace("PLUGINS", repr(PLUGINS))
        .replace("NAME", repr(wait))
    )


def test_a_keyboard_interrupt_at_any_point_of_the_loop(program: Program) -> None:
    program(
        """
        predictor = inflight.Predictor(inflight.default_model(), in_flight_limit=4)
        image = np.zeros((1, 3, 48, 64), np.float32)
        stop = threading.Event()
        def interrupts():
            # Where a turn takes longer than the time between two interrupts, that time grows until one is done.
            between, seen = 0.002, 0
            while not stop.wait(between):
                os.kill(os.getpid(), signal.SIGINT)
                between, seen = 0.002 if turns > seen else min(2 * between, 0.5), turns
        # At most one for each time that the loop is entered, so that none comes where nothing expects it.
        armed = False
        def interrupt(*_):
            global armed
            if armed:
                armed = False
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, interrupt)
        thread = threading.Thread(target=interrupts)
        interrupted = turns = 0
        thread.start()
        end = time.monotonic() + 3
        while True:
            try:
                armed = True
                while time.monotonic() < end or interrupted <= 50 or turns <= 50:
                    try:
                        p = predictor.submit(image)
                    except inflight.OverloadedError:
                        pass
                    p.wait()
                    p.output(0).numpy().sum()
                    predictor.take_finished()
                    turns += 1
                stop.set()
                thread.join()
                break
            except KeyboardInterrupt:
                interrupted += 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert interrupted > 50 and turns > 50, (interrupted, turns)
        predictor.drain()
        books = predictor.statistics()
        assert books.submitted == books.completed + books.rejected + books.failed, books
        """
    )


def test_sub_interpreters_are_refused(program: Program) -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("_xxsubinterpreters has another name")
    done = program(
        """
        import _xxsubinterpreters as interpreters
        other = interpreters.create()
        try:
            interpreters.run_string(other, "import sys; sys.path[:] = %r\\nimport inflight" % sys.path)
            print("imported")
        except Exception as refused:
            print("refused", refused)
        """
    )
    assert "refused" in done.stdout and "imported" not in done.stdout


def test_a_loop_frees_what_it_makes(program: Program) -> None:
    program(
        """
        from memory import least_growth
        predictor = inflight.Predictor(inflight.default_model(480, 640), in_flight_limit=4)
        image = np.zeros((480, 640, 3), np.uint8)
        def loop(n):
            for i in range(n):
                p = predictor.submit(image, copy=(None, True, False)[i % 3])
                queue.add(p, i)
                p.wait()
                p.output(0).numpy(); np.from_dlpack(p.output(0)); repr(p); p.times; p.status()
                predictor.take_finished(); queue.take()
                try:
                    predictor.submit(None)
                except inflight.Error:
                    pass
        queue = inflight.CompletionQueue()
        grown = least_growth(lambda: loop(400))
        assert grown < 400_000 or os.environ.get("INFLIGHT_TEST_SANITIZE"), grown
        """,
        timeout=120,
    )
