# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a device that takes its time, and programs in processes of their own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import inflight
import numpy as np
import pytest

PLUGINS = os.environ.get("INFLIGHT_TEST_PLUGINS", "")
SANITIZED = bool(os.environ.get("INFLIGHT_TEST_SANITIZE", ""))
SHARED = pathlib.Path(os.environ.get("INFLIGHT_TEST_SHARED", "/nonexistent"))
MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"

# The runtime of g++ 12's AddressSanitizer does not release its allocator's locks in the child of a fork: a child whose
# parent had other threads waits for ever for the first lock that one of them held.
forks = pytest.mark.skipif(SANITIZED or not hasattr(os, "fork"), reason="a sanitizer's runtime does not survive a fork")

needs_plugin = pytest.mark.skipif(not PLUGINS, reason="the slow device is not built: run these tests with ./dev test")


def slow_model() -> inflight.Model:
    """u8[4] to f32[2]; what the device makes of it is not looked at."""
    return inflight.Model.opaque(
        "slow", [inflight.TensorSpec("in", "u8", [4])], [inflight.TensorSpec("out", "f32", [2])]
    )


@pytest.fixture(scope="session")
def slow_runtime() -> inflight.Runtime:
    """A device on which predictions take 5 ms each, one after the other."""
    if not PLUGINS:
        pytest.skip("the slow device is not built: run these tests with ./dev test")
    return inflight.Runtime("null", plugin_folders=[PLUGINS])


def device_that_takes(milliseconds: int) -> inflight.Runtime:
    """The same, for tests that submit several frames during one prediction, however slow the machine."""
    os.environ["INFLIGHT_TEST_NULL_MS"] = str(milliseconds)
    try:
        return inflight.Runtime("null", plugin_folders=[PLUGINS])
    finally:
        del os.environ["INFLIGHT_TEST_NULL_MS"]


@pytest.fixture
def slow(slow_runtime: inflight.Runtime) -> Iterator[inflight.Predictor]:
    with inflight.Predictor(slow_model(), runtime=slow_runtime, in_flight_limit=2000, finished_limit=4000) as made:
        yield made


@pytest.fixture(scope="session")
def frame() -> np.ndarray:
    return np.zeros(4, np.uint8)


@pytest.fixture
def shapes() -> Iterator[inflight.Predictor]:
    """The classifier that comes with the package, on u8[480,640,3]."""
    with inflight.Predictor(inflight.default_model(480, 640)) as made:
        yield made


Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def program(tmp_path: pathlib.Path) -> Program:
    """Runs a program in a process of its own, which must end by itself; it can import the modules of this folder."""
    python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(pathlib.Path(__file__).parent)]))

    def run(
        source: str, *, code: int = 0, timeout: float = 60, may_leak: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "program.py"
        file.write_text(PRELUDE + textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", str(file)],
            capture_output=True,
            text=True,
            timeout=timeout * (4 if SANITIZED else 1),
            env={**os.environ, "PYTHONPATH": python_path, **environment},
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        # nanobind says at the end what was never destroyed.
        assert may_leak or "leaked" not in done.stderr, done.stderr
        return done

    return run


PRELUDE = """\
import asyncio, gc, os, signal, sys, threading, time
import numpy as np
import inflight

def slow_model():
    return inflight.Model.opaque(
        "slow", [inflight.TensorSpec("in", "u8", [4])], [inflight.TensorSpec("out", "f32", [2])])

def slow_predictor(**options):
    runtime = inflight.Runtime("null", plugin_folders=[os.environ["INFLIGHT_TEST_PLUGINS"]])
    return inflight.Predictor(slow_model(), runtime=runtime, **options)

frame = np.zeros(4, np.uint8)
"""
