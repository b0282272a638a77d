# SPDX-License-Identifier: Apache-2.0
"""The program's own sources, paced, in threads and in asyncio."""

from __future__ import annotations

import asyncio
import pathlib
import time

import inflight
import numpy as np
import pytest
from conftest import SHARED


def test_synthetic() -> None:
    with inflight.open_source("synthetic", fps=0, seed=3) as source:
        assert (source.height, source.width, source.fps, source.live) == (480, 640, 60, False)
        assert "synthetic" in source.description and source.skipped == 0 and source.notes == []
        frames = [frame for frame, _ in zip(source, range(40))]
    assert [f.index for f in frames] == list(range(40))
    assert all(f.image.shape == (480, 640, 3) and f.image.dtype == np.uint8 for f in frames)
    assert not frames[0].image.flags.writeable
    assert all(0 <= (f.label or 0) < len(inflight.SHAPE_NAMES) for f in frames)
    assert frames[0].damage is None and frames[0].file is None
    with inflight.open_source("synthetic", fps=0, seed=3) as again:
        assert np.array_equal(next(again).image, frames[0].image)
    with inflight.open_source("synthetic", fps=0, seed=4) as other:
        assert not np.array_equal(next(other).image, frames[0].image)


def test_frames_come_when_they_are_due() -> None:
    with inflight.open_source("synthetic", fps=100, duration=0.5) as source:
        late = []
        dues = []
        for frame in source:
            late.append(time.monotonic() - frame.due)
            dues.append(frame.due)
    assert len(dues) == 50
    assert min(late) >= 0
    assert np.allclose(np.diff(dues), 0.01, atol=1e-6)


def test_a_late_consumer_gets_every_frame() -> None:
    with inflight.open_source("synthetic", fps=200, duration=0.2) as source:
        first = next(source)
        time.sleep(0.15)
        rest = list(source)
    assert [first.index, *(f.index for f in rest)] == list(range(40))


def test_a_predictor_takes_frames_without_a_copy(shapes) -> None:
    with inflight.open_source("synthetic", fps=0) as source:
        frame = next(source)
        prediction = shapes.submit(frame)
        prediction.wait()
        assert prediction.times.due == pytest.approx(frame.due, abs=1e-6)
        by_image = shapes.submit(frame.image)
        by_image.wait()
        assert by_image.output(0).numpy().tolist() == prediction.output(0).numpy().tolist()
        shared = inflight.NDArray(frame.image)
        assert shared.numpy().__array_interface__["data"] == frame.image.__array_interface__["data"]


@pytest.mark.parametrize(
    ("source", "options", "kind", "message"),
    [
        ("absent.mp4", {}, FileNotFoundError, "absent.mp4"),
        (None, {}, TypeError, "source: found None"),
        ("synthetic", {"fps": -1}, ValueError, "-1"),
        ("synthetic", {"fps": float("nan")}, ValueError, "nan"),
        ("synthetic", {"duration": -1.0}, ValueError, "duration"),
    ],
)
def test_bad_sources(source, options, kind, message) -> None:
    with pytest.raises(kind, match=message) as caught:
        inflight.open_source(source, **options)
    assert isinstance(caught.value, inflight.Error)


def test_a_file_that_is_no_media(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("nothing to see")
    with pytest.raises(inflight.Error, match="text.mp4"):
        list(inflight.open_source(path, fps=0))


def test_a_closed_source() -> None:
    source = inflight.open_source("synthetic", fps=0)
    source.close()
    source.close()
    assert source.closed
    with pytest.raises(inflight.ShuttingDownError):
        next(source)


async def count(source: inflight.Source) -> list[int]:
    return [frame.index async for frame in source]


def test_asynchronous_iteration() -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with inflight.open_source("synthetic", fps=100, duration=0.3) as source:
            assert await count(source) == list(range(30))
        ticking.cancel()
        assert ticks > 1, "the loop went on meanwhile"
        with inflight.open_source("synthetic", fps=0) as source:
            seen = 0
            async for frame in source:
                assert frame.index == seen
                seen += 1
                if seen == 100:
                    break

    asyncio.run(main())


def test_closing_a_source_ends_who_waits_for_it() -> None:
    async def main() -> None:
        source = inflight.open_source("synthetic", fps=5)
        task = asyncio.create_task(count(source))
        await asyncio.sleep(0.3)
        source.close()
        found = await asyncio.wait_for(task, 10)
        assert found == list(range(len(found)))

    asyncio.run(main())


def test_a_video() -> None:
    path = SHARED / "data" / "person.mp4"
    if not path.exists():
        pytest.skip("shared data are not here")
    import av

    with av.open(str(path)) as container:
        pictures = [f.to_ndarray(format="rgb24") for f, _ in zip(container.decode(video=0), range(5))]
    with inflight.open_source(path, fps=0) as source:
        for picture, frame in zip(pictures, source):
            assert frame.image.shape == picture.shape
            assert np.abs(frame.image.astype(int) - picture).mean() < 2
            assert frame.pts is None or frame.pts >= 0


def test_a_picture() -> None:
    path = SHARED / "data" / "faces.jpg"
    if not path.exists():
        pytest.skip("shared data are not here")
    frames = list(inflight.open_source(path))
    assert len(frames) == 1 and frames[0].image.ndim == 3
