# SPDX-License-Identifier: Apache-2.0
"""One family of exceptions, each also of the built-in kind that C++'s table names."""

from __future__ import annotations

import builtins
import os
import pathlib
import shutil

import inflight
import pytest
from conftest import MODELS
from inflight import _inflight, errors


def test_each_code_has_a_class_of_the_built_in_kind_in_the_table() -> None:
    table = _inflight._builtin_exceptions()
    assert set(table) == set(errors._BY_CODE)
    assert len(table) == 16
    for code, name in table.items():
        kind = errors._BY_CODE[code]
        assert issubclass(kind, inflight.Error)
        assert issubclass(kind, getattr(builtins, name)), code
        assert kind.code == code
        assert str(kind("said so")) == "said so"
        assert getattr(inflight, kind.__name__) is kind


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="absent.onnx") as caught:
        inflight.Model.load("absent.onnx")
    assert isinstance(caught.value, inflight.NotFoundError)


def test_names_that_are_not_utf_8(tmp_path: pathlib.Path) -> None:
    path = os.path.join(tmp_path, os.fsdecode(b"\xff.onnx"))
    shutil.copy(MODELS / "shapes.onnx", path)
    for given in (path, pathlib.Path(path)):
        model = inflight.Model.load(given)
        assert model.name == os.fsdecode(b"\xff") and os.fsdecode(b"\xff") in repr(model)
    with pytest.raises(FileNotFoundError, match="no such file"):
        inflight.Model.load(path + "x")
    with pytest.raises(inflight.Error):
        inflight.open_source(path + "x")
    with pytest.raises(ValueError, match="null"):
        inflight.Model.load("a\0b")


def test_a_file_that_is_no_model(tmp_path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x07nothing")
    with pytest.raises(inflight.InvalidModelError, match="cut.onnx"):
        inflight.Model.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_flight_limit": 0}, "in_flight_limit.*0"),
        ({"finished_limit": 0}, "finished_limit.*0"),
        ({"weight": 0.0}, "weight"),
        ({"watch_share": 2.0}, "watch_share"),
        ({"overload": "drop"}, 'overload: got "drop", want "reject", "block", "drop-oldest" or "keep-latest"'),
        ({"delivery": "last"}, 'delivery: got "last", want "as-completed", "in-order" or "newest-only"'),
        ({"delivery": "in-order", "keep_finished": False}, "delivery: got in-order without keep_finished"),
        ({"block_timeout": 1.0}, "block_timeout"),
        ({"overload": "block", "block_timeout": -1.0}, "block_timeout"),
        ({"precision": "f8"}, "f8"),
        ({"width": "broad"}, "broad"),
        ({"tune": "max"}, "tune: got max, want off, fast or full"),
        ({"device": 3}, "device: found int"),
        ({"device": "CPU"}, "CPU"),
        ({"threads": -1}, "threads"),
    ],
)
def test_options_out_of_bounds(options, message) -> None:
    with pytest.raises(inflight.InvalidArgumentError, match=message):
        inflight.Predictor(inflight.default_model(), **options)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(LookupError) as caught:
        inflight.Runtime("warp")
    assert isinstance(caught.value, inflight.NoSuchDeviceError)


def test_a_closed_predictor(shapes) -> None:
    shapes.close()
    shapes.close()
    assert shapes.closed
    with pytest.raises(inflight.ShuttingDownError, match="closed"):
        shapes.submit(b"")
    with pytest.raises(RuntimeError):
        shapes.statistics()
