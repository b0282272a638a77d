# SPDX-License-Identifier: Apache-2.0
"""The program from the MXNet forum that started this project, as it was asked there: does NDArray have a can_read()?

A camera makes 60 frames a second. Each is submitted the moment it arrives, at most so many predictions are active, and
the main loop never waits: it takes those that can be read. But for `import inflight.mx as mx` it is the sketch with its
gaps filled in:

* `last_frame` is set where a frame is made, and times are of a clock that does not wrap at a second;
* the sketch refused when `len(active_predictions) > limit`, which let one more in than the limit says: this is `>=`;
* the sketch made a fully connected layer and then overwrote it with `x + 1`. `--network written` is `x + 1`, as it ran;
  `--network meant` is the layer: 1,024 units on the rows of f32[3,640,480], 1.26 GB of weights;
* options, and what a call costs: `--duration S --fps F --limit N --network written|meant --context cpu|gpu --json FILE`.
"""

from __future__ import annotations

import argparse
import array
import gc
import json
import math
import time
from typing import Any

import inflight.mx as mx

SHAPE = (3, 640, 480)
UNITS = 1024


class Times:
    """How often a call took how long, in steps of 1 %. Its memory does not grow: a list of all times would, and to fetch
    600 KB from the kernel takes some milliseconds of a turn on a virtual machine.
    """

    def __init__(self) -> None:
        self.counts = array.array("Q", bytes(8 * 2800))  # to 1,000 seconds
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        self.counts[min(len(self.counts) - 1, int(100 * math.log(max(1.0, seconds * 1e9))))] += 1
        self.count += 1
        self.longest = max(self.longest, seconds)

    def quantile_us(self, share: float) -> float:
        left = int(share * self.count)
        for step, count in enumerate(self.counts):
            left -= count
            if left < 0:
                return round(min(self.longest * 1e6, math.exp((step + 1) / 100) / 1e3), 3)
        return round(self.longest * 1e6, 3)


class Camera:
    """Makes a frame when it is due."""

    def __init__(self, fps: float) -> None:
        self.interval = 1 / fps
        self.last_frame = time.monotonic()

    def get_frame(self) -> mx.NDArray | None:
        now = time.monotonic()
        if now - self.last_frame < self.interval:
            return None
        # In step with the rate; what came while nobody looked is gone, as with a camera.
        self.last_frame = max(self.last_frame + self.interval, now - self.interval)
        return mx.nd.random.uniform(0, 1, SHAPE)


class FrameClassifier:
    def __init__(self, active_prediction_limit: int, network: str, call_times: Times) -> None:
        self.active_prediction_limit = active_prediction_limit
        self.active_predictions: list[mx.NDArray] = []
        self.network = network
        self.call_times = call_times
        self.weights: dict[str, mx.NDArray] = {}
        if network == "meant":
            self.weights["y_weight"] = mx.nd.random.uniform(-0.5, 0.5, (UNITS, SHAPE[1] * SHAPE[2]))
            self.weights["y_bias"] = mx.nd.full((UNITS,), 0.1)
            mx.nd.waitall()

    def get_finished_results(self) -> list[mx.NDArray]:
        finished: list[mx.NDArray] = []
        waiting: list[mx.NDArray] = []
        for prediction in self.active_predictions:
            (finished if self.can_read(prediction) else waiting).append(prediction)
        self.active_predictions = waiting
        return finished

    def can_read(self, prediction: mx.NDArray) -> bool:
        began = time.perf_counter()
        answer = prediction.can_read()
        self.call_times.add(time.perf_counter() - began)
        return answer

    def enqueue_frame(self, frame: mx.NDArray) -> None:
        if len(self.active_predictions) >= self.active_prediction_limit:
            raise Exception("Too many requests")
        # Built and bound anew for each frame, as in the sketch: the program behind it is compiled once.
        x = mx.sym.Variable("x")
        y = mx.sym.FullyConnected(x, num_hidden=UNITS, name="y") if self.network == "meant" else x + 1
        executor = y.bind(mx.current_context(), {"x": frame, **self.weights})
        executor.forward()
        self.active_predictions.append(executor.outputs[0])


class Report:
    """What the loop counts and measures."""

    def __init__(self) -> None:
        self.submitted = self.completed = self.refused = 0
        self.call_times = Times()
        self.loop_cpu_seconds = 0.0

    def call(self, function: Any, *args: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            self.call_times.add(time.perf_counter() - began)

    def as_json(self, classifier: FrameClassifier) -> dict[str, Any]:
        times = self.call_times
        return {
            "network": classifier.network,
            "limit": classifier.active_prediction_limit,
            "submitted": self.submitted,
            "completed": self.completed,
            "refused": self.refused,
            "calls": times.count,
            "call_us": {name: times.quantile_us(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1))},
            "loop_cpu_us_max": round(self.loop_cpu_seconds * 1e6, 3),
        }


def use(results: list[mx.NDArray], report: Report) -> None:
    for result in results:
        report.completed += 1
        corner = result.reshape((-1,))[0]  # shares memory
        print(f"result {report.completed}: {corner.asscalar():.6f}")


def warm_up(classifier: FrameClassifier) -> None:
    """The first frame of all: its program is compiled, so the camera starts after it."""
    classifier.enqueue_frame(mx.nd.random.uniform(0, 1, SHAPE))
    classifier.active_predictions.pop().wait_to_read()


def turn(camera: Camera, classifier: FrameClassifier, report: Report) -> None:
    frame = camera.get_frame()
    if frame is not None:
        report.submitted += 1
        try:
            report.call(classifier.enqueue_frame, frame)
        except Exception as refused:
            if str(refused) != "Too many requests":
                raise
            report.refused += 1
            print(refused)
    use(report.call(classifier.get_finished_results), report)


def run(arguments: argparse.Namespace) -> None:
    report = Report()
    classifier = FrameClassifier(arguments.limit, arguments.network, report.call_times)
    warm_up(classifier)
    # What is there by now stays. The garbage collector need not look at it again in the middle of a turn.
    gc.collect()
    gc.freeze()
    camera = Camera(arguments.fps)
    end = time.monotonic() + arguments.duration
    while time.monotonic() < end:
        began = time.thread_time()
        turn(camera, classifier, report)
        report.loop_cpu_seconds = max(report.loop_cpu_seconds, time.thread_time() - began)
        time.sleep(0.0001)
    while classifier.active_predictions:  # what was admitted is completed
        use(report.call(classifier.get_finished_results), report)
        time.sleep(0.0001)
    told = report.as_json(classifier)
    print(json.dumps(told))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(told, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="The forum's program: predictions that nobody waits for.")
    parser.add_argument("--duration", type=float, default=10, metavar="S", help="seconds (10)")
    parser.add_argument("--fps", type=float, default=60, metavar="F", help="frames per second (60)")
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="predictions active at once (8)")
    parser.add_argument("--network", choices=("written", "meant"), default="written")
    parser.add_argument("--context", choices=("cpu", "gpu"), default="cpu", help="where frames are and predictions run (cpu)")
    parser.add_argument("--json", metavar="FILE", help="write counts and times to FILE")
    arguments = parser.parse_args()
    for name in ("duration", "fps", "limit"):
        if not 0 < getattr(arguments, name) < 1e6:
            parser.error(f"--{name}: got {getattr(arguments, name)}, want a number above 0 and below 1000000")

    try:
        context = mx.gpu() if arguments.context == "gpu" else mx.cpu()
    except mx.MXNetError as refused:
        parser.exit(4, f"forum_async_predictions: {refused}\n")
    with context:
        run(arguments)


if __name__ == "__main__":
    main()
