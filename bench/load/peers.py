# SPDX-License-Identifier: Apache-2.0
"""The systems of `bench load` that are called from Python: a process each, with the words of worker.cc.

usage: peers.py onnxruntime-all|onnxruntime-each|mxnet MODEL PRECISION LIMIT [TITLE]

A frame waits in a queue for one of the system's threads, which call it one after the other. Latency counts from the
planned arrival until the call has returned, as for the systems in C++.
"""

import json
import math
import os
import queue
import sys
import threading
import time

import numpy as np

WARM_UP_S = 0.3
DETAIL_FRAMES, DETAIL_BINS = 150, 50  # as in src/load/report.h
COMPLETED, REJECTED, FAILED = "completed", "rejected", "failed"


def example_input(shape):
    return (np.arange(np.prod(shape)) * 7919 % 1000 / 1000).astype(np.float32).reshape(shape)


def onnxruntime_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model_input = session.get_inputs()[0]
    feed = {model_input.name: example_input(model_input.shape)}
    return lambda: session.run(None, feed)[0]


def onnxruntime_all(path, threads):
    """One session that uses all threads for each call."""
    return "onnxruntime one session", [onnxruntime_session(path, threads)]


def onnxruntime_each(path, threads):
    """A session with one thread for each processor."""
    return "onnxruntime a session a thread", [onnxruntime_session(path, 1) for _ in range(threads)]


def mxnet(path, threads):
    """The network as MXNet's own importer reads it; its engine uses all threads for each operator."""
    import mxnet as mx
    import onnx
    from mxnet.contrib.onnx.onnx2mx.import_onnx import GraphProto

    model = onnx.load(path)
    (image,) = model.graph.input
    shape = [d.dim_value for d in image.type.tensor_type.shape.dim]
    # It wants each weight to be an input as well, as files of its time had it.
    for weight in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    symbol, arguments, states = GraphProto().from_onnx(model.graph, opset_version=model.opset_import[0].version)
    arguments[image.name] = mx.nd.array(example_input(shape))
    executor = symbol.bind(mx.cpu(), arguments, aux_states=states, grad_req="null")
    return "mxnet", [lambda: executor.forward(is_train=False)[0].asnumpy()]


class System:
    """Calls, each with a thread of its own that takes frames from one queue."""

    def __init__(self, calls, limit):
        self.limit = limit
        self.frames = queue.SimpleQueue()
        self.ends = queue.SimpleQueue()
        self.flying = 0
        for call in calls:
            threading.Thread(target=self.work, args=(call,), daemon=True).start()

    def work(self, call):
        while True:
            index = self.frames.get()
            started = time.monotonic_ns()
            try:
                call()
                outcome = COMPLETED
            except Exception:
                outcome = FAILED
            self.ends.put((index, outcome, started, time.monotonic_ns()))

    def start(self, index):
        if self.flying >= self.limit:
            return False
        self.flying += 1
        self.frames.put(index)
        return True

    def take(self, block):
        """What has ended since the last call; at least one end, if told to block."""
        ends = []
        while self.flying and (block and not ends or not self.ends.empty()):
            ends.append(self.ends.get())
            self.flying -= 1
        return ends


class Run:
    def __init__(self, system, in_flight=0):
        self.system, self.in_flight = system, in_flight
        self.samples = []  # [due, started or None, finished, outcome], ns from the start
        self.submits = []
        self.late = 0
        self.start = time.monotonic_ns() + 20_000_000

    def hand_over(self, due):
        called = time.monotonic_ns()
        admitted = self.system.start(len(self.samples))
        returned = time.monotonic_ns()
        self.samples.append([due, None, returned - self.start, None if admitted else REJECTED])
        self.submits.append(returned - called)
        self.late = max(self.late, called - self.start - due)

    def settle(self, block=False):
        for index, outcome, started, finished in self.system.take(block):
            self.samples[index][1:] = [started - self.start, finished - self.start, outcome]

    def open(self, due_ns, length):
        for due in due_ns:
            while (left := self.start + due - time.monotonic_ns()) > 0:
                time.sleep(left / 1e9)
            self.hand_over(due)
            self.settle()
        return self.end(length)

    def closed(self, length):
        self.start = time.monotonic_ns()
        while (now := time.monotonic_ns() - self.start) < length:
            if self.system.flying < self.in_flight:
                self.hand_over(now)
            else:
                self.settle(block=True)
        return self.end(length)

    def end(self, length):
        while self.system.flying:
            self.settle(block=True)
        self.wall = max(time.monotonic_ns() - self.start, length)
        self.length = length
        return self

    def row(self, plan, load):
        latencies = sorted((finished - due) / 1e6 for due, _, finished, outcome in self.samples if outcome == COMPLETED)
        planned = len(self.samples)

        def quantile(values, count, fraction):
            """The nearest rank; a frame that is missing among `values` has a latency without end."""
            index = max(math.ceil(fraction * count), 1) - 1
            return round(values[index], 3) if index < len(values) else None

        outcomes = {word: sum(s[3] == word for s in self.samples) for word in (FAILED, REJECTED)}
        in_time = sum(s[3] == COMPLETED and s[2] <= self.length for s in self.samples)
        completed_per_s = in_time / (self.length / 1e9) if self.in_flight else len(latencies) / (self.wall / 1e9)
        row = {"plan": plan, "load": load}
        if self.in_flight:
            row["in_flight"] = self.in_flight
        return {
            **row,
            "rate": round(completed_per_s if self.in_flight else planned / (self.length / 1e9), 3),
            "completed_per_s": round(completed_per_s, 3),
            **{f"{name}_ms": quantile(latencies, planned, f) for name, f in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1))},
            "planned": planned,
            "completed": len(latencies),
            "missed": planned - len(latencies),
            **outcomes,
            "dropped": 0,
            "expired": 0,
            "cancelled": 0,
            "wide": 0,
            "submit_p99_us": quantile(sorted(ns / 1e3 for ns in self.submits), planned, 0.99) or 0,
            "late_max_ms": round(self.late / 1e6, 3),
        }

    def detail(self):
        first = max(0, min(len(self.samples) // 4, len(self.samples) - DETAIL_FRAMES))

        def ms(ns):
            return None if ns is None else round(ns / 1e6, 3)

        frames = [[ms(s[0]), ms(s[1]), ms(s[2]), -1, "", s[3], 0] for s in self.samples[first : first + DETAIL_FRAMES]]
        outcomes = {}
        for due, _, _, outcome in self.samples:
            bins = outcomes.setdefault(outcome, [0] * DETAIL_BINS)
            bins[min(due * DETAIL_BINS // self.length, DETAIL_BINS - 1)] += 1
        return {"frames": frames, "bin_ms": round(self.length / 1e6 / DETAIL_BINS, 3), "outcomes": outcomes}


def read_plan(path):
    lines = (line.split("#")[0].split() for line in open(path))
    return [round(float(words[0]) * 1e9) for words in lines if words]


def main():
    kind, path, precision, limit, *title = sys.argv[1:]
    if precision != "f32":
        raise SystemExit(f"{kind}: got {precision}, want f32")
    threads = len(os.sched_getaffinity(0))
    name, calls = {"onnxruntime-all": onnxruntime_all, "onnxruntime-each": onnxruntime_each, "mxnet": mxnet}[kind](path, threads)
    scores = [call() for call in calls][0]
    subject = {"model": title[0] if title else path, "precision": precision, "system": name, "threads": threads}
    print(json.dumps({"system": name, "threads": threads, "scores": np.asarray(scores).reshape(-1).tolist()}), flush=True)
    system = System(calls, int(limit))
    for line in sys.stdin:
        words = line.split()
        Run(system, 1).closed(int(WARM_UP_S * 1e9))
        if words[0] == "closed":
            run = Run(system, int(words[1])).closed(int(float(words[2]) * 1e9))
            row = run.row("closed", None)
        else:
            run = Run(system).open(read_plan(words[4]), int(float(words[3]) * 1e9))
            row = run.row(words[1], float(words[2]))
        print(json.dumps({"row": {**subject, **row}, "detail": run.detail()}), flush=True)


if __name__ == "__main__":
    main()
