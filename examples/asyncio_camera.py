# SPDX-License-Identifier: Apache-2.0
"""A camera, a predictor and a web page in one asyncio loop, without a thread and without a stall.

    ./dev py examples/asyncio_camera.py [--source synthetic] [--fps 60] [--limit 8] [--port 8080] [--duration S]

Frames come 60 times a second. Each is submitted when it comes; one that finds every place taken is counted and
let go. The page at http://localhost:8080 shows the newest answer, and /answers streams one line of JSON for each.
With --duration it ends by itself, and says how long the loop was ever held up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import inflight
from aiohttp import web

PAGE = """<!doctype html><title>inflight</title><h1 id=answer>...</h1><pre id=more></pre><script>
const look = async () => {
  const answer = await (await fetch("/answer")).json();
  document.getElementById("answer").textContent = answer.shape;
  document.getElementById("more").textContent = JSON.stringify(answer, null, 2);
  setTimeout(look, 100);
};
look();
</script>"""


class Camera:
    """Submits frames as they come and keeps the newest answer."""

    def __init__(self, source: inflight.Source, predictor: inflight.Predictor) -> None:
        self.source = source
        self.predictor = predictor
        self.answer: dict[str, object] = {"shape": "nothing yet"}
        self.submitted = self.refused = self.completed = 0
        self.held_up_max = 0.0
        self.ended = False
        self._changed = asyncio.Condition()

    async def submit_frames(self) -> None:
        async for frame in self.source:
            try:
                # A frame of a source goes in as it is: no copy. Its number comes back as the tag.
                self.predictor.submit(frame, tag=frame.index)
                self.submitted += 1
            except inflight.OverloadedError:
                self.refused += 1
        # What is in flight still ends; the iteration below ends after that.
        await asyncio.to_thread(self.predictor.shutdown)

    async def take_answers(self) -> None:
        async for prediction in self.predictor.finished():
            if prediction.status() is None:
                scores = prediction.output(0).numpy()[0]
                finished, due = prediction.times.finished, prediction.times.due
                self.completed += 1
                self.answer = {
                    "frame": prediction.tag,
                    "shape": inflight.SHAPE_NAMES[int(scores.argmax())],
                    "score": round(float(scores.max()), 4),
                    "latency_ms": round(((finished or 0.0) - (due or 0.0)) * 1e3, 3),
                }
                async with self._changed:
                    self._changed.notify_all()
        self.ended = True
        async with self._changed:
            self._changed.notify_all()

    async def answers(self) -> AsyncIterator[dict[str, object]]:
        """Each new answer; some are left out where the reader is slow."""
        while not self.ended:
            async with self._changed:
                await self._changed.wait()
            yield self.answer

    async def watch_the_loop(self) -> None:
        """How late a sleep of this loop ever ends: what its other tasks have to wait for it."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.held_up_max = max(self.held_up_max, time.monotonic() - began - 0.005)


def page(camera: Camera) -> web.Application:
    async def index(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(camera.answer)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            async for one in camera.answers():
                await response.write(json.dumps(one).encode() + b"\n")
        return response

    application = web.Application()
    application.add_routes([web.get("/", index), web.get("/answer", answer), web.get("/answers", stream)])
    return application


async def main() -> None:
    parser = argparse.ArgumentParser(description="A camera, a predictor and a web page in one asyncio loop.")
    parser.add_argument("--source", default="synthetic", help="synthetic, a video, a folder or /dev/video0")
    parser.add_argument("--fps", type=float, default=None, help="frames a second; without, the source's own")
    parser.add_argument("--limit", type=int, default=8, help="predictions in flight, at most")
    parser.add_argument("--port", type=int, default=8080, help="of the web page; 0: any that is free")
    parser.add_argument("--duration", type=float, default=None, help="seconds; without, until the source ends")
    options = parser.parse_args()

    with inflight.open_source(options.source, fps=options.fps, duration=options.duration) as source:
        model = inflight.default_model(source.height, source.width)
        with inflight.Predictor(model, in_flight_limit=options.limit) as predictor:
            camera = Camera(source, predictor)
            runner = web.AppRunner(page(camera))
            await runner.setup()
            site = web.TCPSite(runner, "localhost", options.port)
            await site.start()
            address = runner.addresses[0]
            print(f"listening on http://localhost:{address[1]}", flush=True)
            watching = asyncio.create_task(camera.watch_the_loop())
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(camera.submit_frames())
                    tasks.create_task(camera.take_answers())
            finally:
                watching.cancel()
                await runner.cleanup()
    print(
        json.dumps(
            {
                "submitted": camera.submitted,
                "completed": camera.completed,
                "refused": camera.refused,
                "held_up_max_ms": round(camera.held_up_max * 1e3, 3),
            }
        )
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
