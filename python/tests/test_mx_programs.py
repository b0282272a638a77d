# SPDX-License-Identifier: Apache-2.0
"""inflight.mx as a whole: how it ends, what it costs, its types, and the answers of MXNet itself."""

from __future__ import annotations

import gzip
import inspect
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import inflight
import inflight.mx as mx
import numpy as np
import pytest
from conftest import SANITIZED, Program, forks

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_exits_in_mid_flight(program: Program) -> None:
    done = program(
        """
        import inflight.mx as mx
        x = mx.nd.random.uniform(0, 1, (500, 500))
        many = [mx.nd.dot(x, x) + number for number in range(200)]
        executor = (mx.sym.var("x") * 2).bind(mx.cpu(), {"x": x})
        executor.forward()
        class Late:
            def __del__(self):
                try:
                    mx.nd.ones((2, 2)) + 1
                except inflight.Error:
                    pass
        late = Late()
        late.me = late
        print("ends")
        """
    )
    assert done.stdout == "ends\n"


def test_exits_from_a_thread_that_works(program: Program) -> None:
    program(
        """
        import inflight.mx as mx
        def work():
            x = mx.nd.ones((100, 100))
            try:
                while True:
                    (x + 1).wait_to_read()
            except inflight.Error:
                pass
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
        sys.exit(0)
        """,
        may_leak=True,  # what a thread that is held back has
    )


@forks
def test_fork(program: Program) -> None:
    done = program(
        """
        import inflight.mx as mx
        x = mx.nd.ones((300, 300))
        mx.nd.dot(x, x).wait_to_read()  # libraries register exit functions when they first compute, under glibc's lock
        pending = [mx.nd.dot(x, x) for _ in range(20)]
        symbol = mx.sym.var("x") + 1
        executor = symbol.bind(mx.cpu(), {"x": x})
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (lambda: x + 1, lambda: x.asnumpy(), lambda: x.can_read(), lambda: executor.forward(), lambda: mx.nd.zeros((2,)),
                         lambda: mx.nd.waitall(), lambda: x[0], lambda: x.dtype, lambda: executor.outputs, lambda: mx.random.seed(3)):
                try:
                    call()
                except inflight.ShuttingDownError:
                    refused += 1
                except BaseException as other:
                    print("child:", type(other), other, flush=True)
            print(refused, flush=True)
            del pending, executor
            sys.exit(0)  # the whole way down
        assert os.waitpid(child, 0)[1] == 0
        assert pending[-1].asnumpy()[0, 0] == 300
        """
    )
    assert "child:" not in done.stdout, done.stdout
    assert int(done.stdout.split()[0]) >= 9


@pytest.mark.parametrize(
    "body",
    ["slow().wait_to_read()", "slow().asnumpy()", "[slow() for _ in range(3)]; mx.nd.waitall()", "repr(slow())", "forum()"],
)
def test_keyboard_interrupt(program: Program, body: str) -> None:
    done = program(
        f"""
        import inflight.mx as mx
        x = mx.nd.random.uniform(0, 1, (1200, 1200))
        def slow():
            y = x
            for _ in range(300):
                y = mx.nd.dot(y, x) * 1e-3
            return y
        def forum():
            while True:
                y = (mx.sym.var("x") + 1).bind(mx.cpu(), {{"x": x}}).forward()[0]
                y.can_read()
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            {body}
            print("it was quick")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "interrupted\n"


def test_binding_anew_holds_no_memory(program: Program) -> None:
    count = 1_000 if SANITIZED else 30_000
    done = program(
        f"""
        import inflight.mx as mx
        from memory import least_growth
        x, weight, bias = mx.nd.ones((3, 8)), mx.nd.ones((4, 8)), mx.nd.ones((4,))
        def bind():
            net = mx.sym.softmax(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc"))
            return net.bind(mx.cpu(), {{"data": x, "fc_weight": weight, "fc_bias": bias}}).forward()[0]
        def bind_often():
            for number in range({count}):
                last = bind()
                if number % 100 == 0:
                    last.wait_to_read()
            mx.nd.waitall()
        print(least_growth(bind_often))
        """,
        timeout=240,
    )
    assert SANITIZED or int(done.stdout) < 400_000, done.stdout


def test_types(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "uses.py"
    file.write_text(
        """
import inflight.mx as mx

async def main() -> None:
    x = mx.nd.random.uniform(0, 1, (3, 4))
    reveal_type(x)
    reveal_type(x + 1)
    reveal_type(await x)
    reveal_type(x[0])
    reveal_type(x.asnumpy())
    reveal_type(x.sum(axis=1))
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=10)
    executor = mx.sym.Variable("data").bind(mx.cpu(), {"data": x})
    reveal_type(executor.forward(data=x))
    mx.nd.FullyConnected(x, num_hidden=3, number=4)
    mx.nd.nothing_such(x)
"""
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "PYTHONMALLOC")}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file), str(ROOT / "examples" / "forum_async_predictions.py")],
        capture_output=True, text=True, env={**environment, "MYPYPATH": os.environ.get("PYTHONPATH", "")},
    )  # fmt: skip
    mistakes = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(mistakes) == 1 and '"number"' in mistakes[0], done.stdout + done.stderr
    revealed = [line for line in done.stdout.splitlines() if "Revealed" in line]
    assert len(revealed) == 7 and revealed[0].endswith('NDArray"') and "list[" in revealed[-1], done.stdout


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for module in (mx, mx.nd, mx.sym, mx.random, mx.context, mx.base, mx.name, mx.attribute, mx.executor):
        assert module.__doc__
        for name, thing in vars(module).items():
            if name.startswith("_") or not getattr(thing, "__module__", "").startswith("inflight"):
                continue
            if inspect.isclass(thing):
                silent += [
                    f"{name}.{method}"
                    for method, value in vars(thing).items()
                    if not method.startswith("_") and callable(value) and not value.__doc__
                ]
            if (inspect.isclass(thing) or callable(thing)) and not thing.__doc__:
                silent.append(f"{module.__name__}.{name}")
    assert silent == []


def test_names_of_mxnet_that_are_not_here() -> None:
    for module in ("gluon", "autograd", "mod", "np", "io", "optimizer", "kv", "viz", "image", "onnx"):
        with pytest.raises(inflight.UnsupportedError, match="use"):
            getattr(mx, module)
        assert not hasattr(mx, module)
    assert issubclass(mx.base.MissingError, mx.MXNetError) and mx.MXNetError is inflight.Error
    assert mx.num_gpus() == mx.context.num_gpus() >= 0
    with mx.cpu() as device:
        assert mx.current_context() == device
    assert mx.ndarray is mx.nd and mx.symbol is mx.sym


def uniform(seed: int, count: int, low: float, high: float) -> np.ndarray:
    """As uniform() of tests/mx_oracle/cases.py."""
    state = seed * 2654435761 % 2**32
    values = np.empty(count)
    for place in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values[place] = low + (high - low) * ((state >> 8) / 2**24)
    return values


def number(value: float | str) -> float:
    return float(value)


def typed(text: str) -> object:
    """An attribute as a Python programmer gives it: "(3, 3)" as a tuple, "True" as a bool."""
    try:
        return eval(text, {"__builtins__": {}}, {"nan": math.nan, "inf": math.inf})
    except Exception:  # noqa: BLE001
        return text


def test_what_mxnet_answers() -> None:
    """Every third call of the sweep, through the functions of mx.nd; src/mx tries all of them."""
    tried = 0
    wrong = []
    lines = gzip.open(ROOT / "tests" / "mx_oracle" / "oracle.jsonl.gz", "rt").read().splitlines()
    for line in lines[::9] if SANITIZED else lines[::3]:
        test = json.loads(line)
        public = not test["op"].startswith("_") and hasattr(mx.nd, test["op"])
        if "broken" in test or "refused" in test or not public:
            continue
        if test["op"] == "BatchNorm" and test["inputs"][1]["shape"] != [test["inputs"][0]["shape"][1]] and not test["attrs"]:
            continue  # MXNet reads the first of more elements than there are channels; we refuse
        inputs = []
        for one in test["inputs"]:
            values = uniform(one["seed"], math.prod(one["shape"]), one["low"], one["high"])
            inputs.append(mx.nd.array(np.floor(values) if one["whole"] else values, dtype="float64").astype(one["dtype"]).reshape(one["shape"]))
        attributes = {name: typed(text) for name, text in test["attrs"].items() if name != "num_args"}
        tried += 1
        try:
            got = getattr(mx.nd, test["op"])(*inputs, **attributes)
            results = got if isinstance(got, list) else [got]
            assert len(results) == len(test["outputs"])
            for result, want in zip(results, test["outputs"]):
                assert result.shape == tuple(want["shape"]) and result.dtype == np.dtype(want["dtype"]).type, result
                within = 2e-3 if want["dtype"] == "float16" else 1e-4
                wanted = np.array([number(value) for value in want["values"]]).reshape(want["shape"])
                np.testing.assert_allclose(result.asnumpy().astype(np.float64), wanted, within, within)
        except (AssertionError, inflight.Error) as raised:
            wrong.append(f"{test['op']} {test['attrs']}: {type(raised).__name__} {str(raised)[:300]}")
    assert wrong == []
    assert tried > (50 if SANITIZED else 200)
