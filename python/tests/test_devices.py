# SPDX-License-Identifier: Apache-2.0
"""One predictor on several devices."""

from __future__ import annotations

import math
import re

import inflight
import numpy as np
import pytest

from conftest import PLUGINS, needs_plugin, slow_model


def open_slow(devices: str | list[inflight.Device | str]) -> inflight.Runtime:
    return inflight.Runtime(devices, plugin_folders=[PLUGINS])


@pytest.fixture
def frame() -> np.ndarray:
    frame = np.zeros(4, np.uint8)
    frame.flags.writeable = False
    return frame


@pytest.mark.parametrize("devices", ["null,null:1", ["null:0", "null:1"], ("null", inflight.Device("null:1"))])
def test_several_are_named_in_a_text_or_a_sequence(devices, frame) -> None:
    with inflight.Predictor(slow_model(), device=devices, in_flight_limit=16) as predictor:
        assert predictor.device_description == "null, null:1"
        inflight.wait_all([predictor.submit(frame) for _ in range(8)])
        predictor.drain()
        books = predictor.device_statistics()
        assert [str(device.device) for device in books] == ["null", "null:1"]
        assert [device.slots for device in books] == [4, 4] and predictor.slots == 8
        assert sum(device.completed for device in books) == 8
        assert [(device.failed, device.lost) for device in books] == [(0, None), (0, None)]
        assert repr(books[1]).startswith("<inflight.DeviceStatistics null:1 slots=4 completed=")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(inflight.InvalidArgumentError, match="got cpu twice, want each device once"):
        inflight.Runtime(["cpu", inflight.Device("cpu")])
    with pytest.raises(inflight.InvalidArgumentError, match="got no device, want 1 to 16"):
        inflight.Predictor(slow_model(), device=[])
    with pytest.raises(inflight.InvalidArgumentError, match="want NAME or NAME:INDEX"):
        inflight.Runtime("null,")
    with pytest.raises(inflight.NoSuchDeviceError, match="tpu"):
        inflight.Runtime("null,tpu")
    with pytest.raises(TypeError, match="a sequence of these"):
        inflight.Runtime([7])  # type: ignore[list-item]
    assert [str(device) for device in inflight.Runtime("null:2,null").devices] == ["null:2", "null"]


@needs_plugin
def test_one_lost_device_leaves_the_other(monkeypatch, frame) -> None:
    monkeypatch.setenv("INFLIGHT_TEST_NULL_LOST_AT", "3")
    with inflight.Predictor(slow_model(), runtime=open_slow("null:0,null:1"), overload="block") as predictor:
        predictions = [predictor.submit(frame) for _ in range(30)]
        predictor.drain()
        failed = [prediction for prediction in predictions if prediction.outcome == "failed"]
        assert len(failed) == 1 and failed[0].slot == 1, "the one that it held"
        with pytest.raises(inflight.DeviceError, match="null:1 fell off the bus"):
            failed[0].wait()
        books = predictor.device_statistics()
        assert [device.lost for device in books] == [None, "null:1 fell off the bus"]
        assert (books[0].completed, books[0].failed, books[1].completed, books[1].failed) == (27, 0, 2, 1)
        whole = predictor.statistics()
        assert (whole.completed, whole.failed, whole.submitted) == (29, 1, 30)


@needs_plugin
def test_after_the_last_one_submit_raises_the_cause(monkeypatch, frame) -> None:
    monkeypatch.setenv("INFLIGHT_TEST_NULL_LOST_AT", "1")
    with inflight.Predictor(slow_model(), runtime=open_slow(["null:1", "null:2"])) as predictor:
        causes = []  # whichever of the two is the first to take a frame
        for _ in range(2):
            with pytest.raises(inflight.DeviceError) as failed:
                predictor.submit(frame).wait()
            causes += re.findall("null:[12] fell off the bus", str(failed.value))
        assert sorted(causes) == ["null:1 fell off the bus", "null:2 fell off the bus"]
        with pytest.raises(inflight.DeviceError, match=causes[-1]):
            predictor.submit(frame)
        assert predictor.retry_after() == math.inf
        books = predictor.statistics()
        assert (books.failed, books.rejected, books.in_flight) == (2, 1, 0)
