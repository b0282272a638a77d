# SPDX-License-Identifier: Apache-2.0
"""One system of `./dev bench python`, in the interpreter that it is installed for: worker.py SYSTEM CLASSIFIER.

For each line "WHAT SECONDS" on its standard input it prints the seconds that each call took, as a JSON list; for a rate, one
number. What is measured is checked first. The first line that it prints is the list of what it can do.
"""

import json
import sys
import time

import numpy as np

SHAPE = (3, 640, 480)
FRAME = np.random.default_rng(1).random((1, 3, 48, 64), np.float32)


def repeat(seconds, call, done=lambda result: None):
    """What the calls took; `done`, which is not counted, ends what each began."""
    took = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        result = call()
        took.append(time.perf_counter() - began)
        done(result)
    return took


def each(seconds, call, number=1000):
    """Of calls that are too short to be timed one by one: means of many."""
    return [one / number for one in repeat(seconds, lambda: [call() for _ in range(number)])]


def check(got, want, within=1e-3):
    np.testing.assert_allclose(np.asarray(got), want, within, within)


class MxCalls:
    """What ours and MXNet 1.9.1 have in common: `self.mx` is the module of either."""

    def x_plus_1(self, seconds):
        x = self.mx.nd.array(np.arange(np.prod(SHAPE)).reshape(SHAPE))
        check((x + 1).asnumpy(), x.asnumpy() + 1)
        return repeat(seconds, lambda: (x + 1).wait_to_read())

    def small_operator(self, seconds):
        return self.additions(seconds, 1)

    def operators_in_a_row(self, seconds):
        return self.additions(seconds, 20)

    def additions(self, seconds, number):
        """Each waits for the one before it; the caller waits for the last."""
        x, one = self.mx.nd.zeros((10, 10)), self.mx.nd.ones((10, 10))

        def call():
            y = x
            for _ in range(number):
                y = y + one
            y.wait_to_read()
            return y

        check(call().asnumpy(), np.full((10, 10), number))
        return repeat(seconds, call)

    def bind_and_forward(self, seconds):
        x = self.mx.nd.ones(SHAPE)

        def call():
            return (self.mx.sym.Variable("x") + 1).bind(self.mx.cpu(), {"x": x}).forward()[0]

        check(call().asnumpy(), np.full(SHAPE, 2))
        return repeat(seconds, call, lambda result: result.wait_to_read())


class Inflight(MxCalls):
    def __init__(self, path):
        import inflight
        import inflight.mx as mx

        self.mx = mx
        model = inflight.Model.load(path)
        self.predictors = {n: inflight.Predictor(model, in_flight_limit=n, precision="f32", keep_finished=False) for n in (1, 8)}
        self.scores = self.predict().output(0).numpy()

    def predict(self):
        prediction = self.predictors[8].submit(FRAME)
        prediction.wait()
        return prediction

    def submission(self, seconds):
        return repeat(seconds, lambda: self.predictors[8].submit(FRAME), lambda prediction: prediction.wait())

    def look(self, seconds):
        return each(seconds, self.predict().can_read)

    def look_at_mx_array(self, seconds):
        x = self.mx.nd.ones(SHAPE)
        x.wait_to_read()
        return each(seconds, x.can_read)

    def submit_and_wait(self, seconds):
        return repeat(seconds, self.predict)

    def rate(self, seconds, active):
        predictor = self.predictors[active]
        flying = []
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            flying.append(predictor.submit(FRAME))
            if len(flying) == active:
                flying.pop(0).wait()
                count += 1
        return count / (time.perf_counter() - began)

    def rate_1(self, seconds):
        return self.rate(seconds, 1)

    def rate_8(self, seconds):
        return self.rate(seconds, 8)


class Mxnet(MxCalls):
    def __init__(self, path):
        import mxnet as mx

        self.mx = mx
        self.scores = None


class Numpy:
    def __init__(self, path):
        self.scores = None

    def x_plus_1(self, seconds):
        x = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
        return repeat(seconds, lambda: x + 1)


class Openvino:
    """AsyncInferQueue, told to favour throughput, and to compute with f32, as all here do."""

    def __init__(self, path):
        import openvino as ov

        compiled = ov.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"})
        self.queues = {n: ov.AsyncInferQueue(compiled, n) for n in (1, 8)}
        self.request = compiled.create_infer_request()
        self.scores = np.array(self.request.infer([FRAME])[0])

    def submission(self, seconds):
        return repeat(seconds, lambda: self.request.start_async([FRAME]), lambda _: self.request.wait())

    def look(self, seconds):
        self.request.start_async([FRAME])
        self.request.wait()
        return each(seconds, lambda: self.request.wait_for(0))

    def submit_and_wait(self, seconds):
        def call():
            self.request.start_async([FRAME])
            self.request.wait()

        return repeat(seconds, call)

    def rate(self, seconds, active):
        queue = self.queues[active]
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            queue.start_async([FRAME])
            count += 1
        queue.wait_all()
        return count / (time.perf_counter() - began)

    def rate_1(self, seconds):
        return self.rate(seconds, 1)

    def rate_8(self, seconds):
        return self.rate(seconds, 8)


class Onnxruntime:
    """run_async; a semaphore keeps the number in flight."""

    def __init__(self, path):
        import threading

        import onnxruntime

        self.threading = threading
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.scores = self.session.run(None, {self.name: FRAME})[0]

    def start(self, done):
        def finished(results, user_data, error):
            user_data()

        self.session.run_async(None, {self.name: FRAME}, finished, done)

    def submission(self, seconds):
        def call():
            event = self.threading.Event()
            self.start(event.set)
            return event

        return repeat(seconds, call, lambda event: event.wait())

    def submit_and_wait(self, seconds):
        def call():
            event = self.threading.Event()
            self.start(event.set)
            event.wait()

        return repeat(seconds, call)

    def rate(self, seconds, active):
        places = self.threading.Semaphore(active)
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            places.acquire()
            self.start(places.release)
            count += 1
        for _ in range(active):
            places.acquire()
        return count / (time.perf_counter() - began)

    def rate_1(self, seconds):
        return self.rate(seconds, 1)

    def rate_8(self, seconds):
        return self.rate(seconds, 8)


WHATS = ("submission", "look", "look_at_mx_array", "submit_and_wait", "rate_1", "rate_8", "small_operator", "operators_in_a_row",
         "x_plus_1", "bind_and_forward")  # fmt: skip


def main():
    system = {"inflight": Inflight, "mxnet": Mxnet, "numpy": Numpy, "openvino": Openvino, "onnxruntime": Onnxruntime}[sys.argv[1]](sys.argv[2])
    scores = None if system.scores is None else np.asarray(system.scores).reshape(-1).tolist()
    print(json.dumps({"whats": [what for what in WHATS if hasattr(system, what)], "scores": scores}), flush=True)
    for line in sys.stdin:
        what, seconds = line.split()
        print(json.dumps(getattr(system, what)(float(seconds))), flush=True)


if __name__ == "__main__":
    main()
