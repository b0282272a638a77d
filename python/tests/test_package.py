# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: its types, its docstrings, its libraries, its example, and what its calls cost."""

from __future__ import annotations

import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

import inflight
import numpy as np
import pytest
from conftest import SANITIZED, SHARED

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def environment() -> dict[str, str]:
    """Without a sanitizer's runtime, for programs that do not load the extension."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "PYTHONMALLOC")}
    return {**kept, "MYPYPATH": os.environ.get("PYTHONPATH", "")}


def test_types_of_the_examples_and_of_the_package(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "uses.py"
    program.write_text(
        """
import asyncio
import numpy as np
import inflight

async def main(predictor: inflight.Predictor) -> None:
    prediction: inflight.Prediction = await predictor.submit(np.zeros(3), tag=3, deadline=1.0)
    array: inflight.NDArray = await prediction.output("scores")
    reveal_type(array.numpy())
    reveal_type(prediction.outcome)
    async for finished in predictor.finished():
        reveal_type(finished)
    async for frame in inflight.open_source("synthetic"):
        reveal_type(frame.image)
    try:
        predictor.submit(None)
    except inflight.OverloadedError as full:
        reveal_type(full.retry_after)

inflight.Predictor(inflight.Model.load("a"), width="broad")
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *map(str, EXAMPLES), str(program)],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    lines = done.stdout.splitlines()
    errors = [line for line in lines if ": error:" in line]
    assert len(errors) == 1 and 'Argument "width"' in errors[0], done.stdout + done.stderr
    revealed = [re.findall('"([^"]+)"', line)[0].split(".")[-1] for line in lines if "Revealed" in line]
    assert "Prediction" in revealed and "float" in revealed, done.stdout
    assert any("unsignedinteger" in line or "uint8" in line for line in lines)
    assert any("Literal['pending']" in line for line in lines)


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for name, thing in vars(inflight).items():
        if name.startswith("_") or inspect.ismodule(thing) or not getattr(thing, "__module__", "").startswith("inflight"):
            continue
        if not thing.__doc__:
            silent.append(name)
        if inspect.isclass(thing):
            silent += [
                f"{name}.{method}"
                for method, value in vars(thing).items()
                if not method.startswith("_") and callable(value) and not value.__doc__
            ]
    assert silent == []


def test_one_copy_of_each_library() -> None:
    import openvino

    openvino.Core()
    inflight.Predictor(inflight.default_model()).close()
    mapped = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if line.count(" ") > 5 and ".so" in line}
    for library in ("libopenvino.so", "libinflight.so", "libtbb.so", "_inflight.cpython"):
        found = {os.path.realpath(path) for path in mapped if os.path.basename(path).startswith(library)}
        assert len(found) == 1, found


def test_pins_agree() -> None:
    pins = dict(line.split()[1:3] for line in (ROOT / "dependencies.txt").read_text().splitlines() if line.startswith("pypi"))
    asked = re.findall(r'"([a-z-]+)==([0-9.]+)"', (ROOT / "pyproject.toml").read_text())
    assert {name for name, _ in asked} == {"openvino", "nanobind", "scikit-build-core", "numpy"}
    for name, version in asked:
        assert pins[name] == version


def test_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[0]
    if not (SHARED / "data" / "face_rfb_320.onnx").exists():
        pytest.skip("shared data are not here")
    monkeypatch.chdir(SHARED / "data")
    used: list[np.ndarray] = []
    names: dict[str, object] = {"frame": np.zeros((432, 768, 3), np.uint8), "use": used.append}
    exec(block, names)
    predictor = names["predictor"]
    assert isinstance(predictor, inflight.Predictor)
    predictor.drain()
    assert len(used) + len(predictor.take_finished()) == 1


@pytest.mark.skipif(SANITIZED, reason="the example's other extensions are built without a sanitizer")
def test_the_camera_beside_a_page() -> None:
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "asyncio_camera.py"), "--duration", "4", "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    address = program.stdout.readline().split()[-1]
    with urllib.request.urlopen(address, timeout=10) as page:
        assert b"inflight" in page.read()
    with urllib.request.urlopen(address + "/answers", timeout=10) as stream:
        answers = [json.loads(stream.readline()) for _ in range(20)]
    assert all(answer["shape"] in inflight.SHAPE_NAMES for answer in answers)
    assert answers[-1]["frame"] > answers[0]["frame"]
    with urllib.request.urlopen(address + "/answer", timeout=10) as one:
        assert json.load(one)["latency_ms"] > 0
    told = json.loads(program.communicate(timeout=60)[0].splitlines()[-1])
    assert program.returncode == 0
    assert told["submitted"] + told["refused"] == 240 and told["completed"] == told["submitted"]
