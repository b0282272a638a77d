# SPDX-License-Identifier: Apache-2.0
"""The PyTorch side of `./dev bench gpu`, in a Python that has torch and torchvision. It prints one line of JSON a row.

usage: gpu_torch.py versions                              what is installed, and on which card it runs
       gpu_torch.py export MODEL FOLDER                   MODEL.onnx, its input and its output in f32
       gpu_torch.py measure MODEL SYSTEM BATCH FOLDER SECONDS
       gpu_torch.py serve MODEL SYSTEM FOLDER PLAN...     a server that waits for batches, on each plan in turn
"""

import gc
import importlib
import json
import pathlib
import sys
import time

import batching
import detector
import torch
import torchvision

SYSTEMS = ("torch_eager", "torch_eager_graph", "torch_compile_graph", "torch_autotune_graph")
IN_FLIGHT = {1: (1, 2, 4, 8, 16), 8: (1, 2)}  # by batch
ERROR_MAX = 5e-2  # of f16 to f32; the detector's is 3e-2 in each system here
# The server: what it batches, how long it waits for that, and how many batches it runs at once.
BATCHES = (1, 2, 4, 8)
WAIT_S = 500e-6
INSTANCES = 2


def say(row):
    print(json.dumps(row), flush=True)


def model_of(name):
    torch.manual_seed(0)
    model = detector.Detector() if name == "detector" else getattr(torchvision.models, name)()
    # Random weights with the statistics of trained ones: activations then neither vanish nor overflow in f16.
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 1.5)
                module.running_mean.uniform_(-0.2, 0.2)
        if name.startswith("vit"):  # torchvision begins with a classifier of zeros
            torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model.eval()


def input_of(name, batch=1):
    size = detector.SIZE if name == "detector" else 224
    torch.manual_seed(1)
    return torch.rand((batch, 3, size, size))


def allow_export_without_onnx():
    """The exporter imports onnx only for functions that no model here has."""
    try:
        importlib.import_module("onnx")
        return
    except ImportError:
        pass
    for name in ("torch.onnx._internal.torchscript_exporter.onnx_proto_utils", "torch.onnx._internal.onnx_proto_utils"):
        try:
            importlib.import_module(name)._add_onnxscript_fn = lambda model, _: model
        except ImportError:
            continue


def export(name, folder):
    allow_export_without_onnx()
    torch.backends.mha.set_fastpath_enabled(False)
    model = model_of(name)
    x = input_of(name)
    with torch.inference_mode():
        y = model(x)
    with torch.no_grad():
        torch.onnx.export(model, (x,), str(folder / f"{name}.onnx"), opset_version=17, dynamo=False,
                          input_names=["x"], output_names=["y"])
    (folder / f"{name}.input").write_bytes(x.numpy().tobytes())
    (folder / f"{name}.want").write_bytes(y.numpy().tobytes())  # the last: what is there is whole


def percentile(values, at):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(at * len(values)))] * 1e6, 1) if values else None


class Slot:
    """One stream with its input, and what one prediction (or one batch) does there. With `host`, its input and output
    are in pinned memory of the host, and what it does begins and ends with their copies."""

    def __init__(self, function, x, graphed, host):
        self.stream = torch.cuda.Stream()
        self.event = torch.cuda.Event()
        self.x = x.clone(memory_format=torch.preserve_format)
        self.host_x = x.to("cpu", torch.float32).contiguous().pin_memory() if host else None
        self.staged = torch.empty(self.host_x.shape, device="cuda") if host else None
        self.function = function
        self.graph = None
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.y = function(self.x)
            self.host_y = torch.empty(self.y.shape, dtype=self.y.dtype).pin_memory() if host else None
        self.stream.synchronize()
        if graphed:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.step()

    def step(self):
        if self.host_x is not None:
            self.staged.copy_(self.host_x, non_blocking=True)
            self.x.copy_(self.staged)
        self.y = self.function(self.x)
        if self.host_y is not None:
            self.host_y.copy_(self.y, non_blocking=True)

    def launch(self):
        with torch.cuda.stream(self.stream):
            if self.graph is not None:
                self.graph.replay()
            else:
                self.step()
            self.event.record(self.stream)

    def done(self):
        return self.event.query()

    def result(self):
        """Runs once, and waits for what it gave."""
        self.launch()
        self.event.synchronize()
        return (self.host_y if self.host_y is not None else self.y).float().cpu()


def flood(slots, seconds):
    """Keeps all slots busy, from this thread, which looks at each in turn: predictions a second, and each latency."""
    busy = [False] * len(slots)
    began = [0.0] * len(slots)
    latencies = []
    start = time.perf_counter()
    while True:
        over = time.perf_counter() - start > seconds
        for k, slot in enumerate(slots):
            if busy[k] and slot.done():
                busy[k] = False
                latencies.append(time.perf_counter() - began[k])
            if not busy[k] and not over:
                began[k] = time.perf_counter()
                slot.launch()
                busy[k] = True
        if over and not any(busy):
            return len(latencies) / (time.perf_counter() - start), latencies


def function_of(model, system):
    torch._dynamo.reset()
    if system == "torch_compile_graph":
        return torch.compile(model, dynamic=False)
    if system == "torch_autotune_graph":
        return torch.compile(model, dynamic=False, mode="max-autotune-no-cudagraphs")
    return model


def on_device(tensor_or_model):
    return tensor_or_model.half().cuda().to(memory_format=torch.channels_last)


def check(name, system, got, want):
    """Every row of a batch holds what one prediction of f32 gave."""
    error = float((got.flatten(1) - want.flatten()).abs().max() / want.abs().max())
    say({"check": name, "system": system, "precision": "f16", "batch": len(got), "error": error})
    if not error <= ERROR_MAX:
        raise SystemExit(f"gpu_torch.py: {name}, {system}: error {error:.1e}, want at most {ERROR_MAX}; nothing was timed")


def wanted(name, folder):
    return torch.frombuffer(bytearray((folder / f"{name}.want").read_bytes()), dtype=torch.float32)


def measure(name, system, batch, folder, seconds):
    torch.backends.cudnn.benchmark = True
    want = wanted(name, folder)
    card = torch.cuda.get_device_name()
    with torch.inference_mode():
        model = on_device(model_of(name))
        x = on_device(input_of(name).expand(batch, -1, -1, -1))
        started = time.perf_counter()
        function = function_of(model, system)
        y = function(x)
        torch.cuda.synchronize()
        load_s = time.perf_counter() - started
        check(name, system, y.float().cpu(), want)
        x.copy_(on_device(input_of(name, batch)))  # images that differ, for the time
        for host in (False, True):
            slots = []
            for in_flight in IN_FLIGHT[batch]:
                while len(slots) < in_flight:
                    slots.append(Slot(function, x, system != "torch_eager", host))
                flood(slots, min(0.3, seconds))
                rate, latencies = flood(slots, seconds)
                say({"model": name, "system": system, "precision": "f16", "where": "host" if host else "device",
                     "in_flight": in_flight, "batch": batch, "rate": round(rate * batch, 1),
                     "p50_us": percentile(latencies, 0.5), "p99_us": percentile(latencies, 0.99),
                     "load_s": round(load_s, 2), "device": card})  # fmt: skip


def server_instances(name, system, want):
    """For each batch at once, a slot for each size. A frame is in the memory of its batch when it arrives, so that the
    server copies nothing on the host."""
    model = on_device(model_of(name))
    instances = [{} for _ in range(INSTANCES)]
    for batch in BATCHES:
        x = on_device(input_of(name).expand(batch, -1, -1, -1))
        function = function_of(model, system)
        for instance in instances:
            instance[batch] = Slot(function, x, True, True)
        check(name, system, instances[0][batch].result(), want)
    return instances


def serve(name, system, folder, plans):
    torch.backends.cudnn.benchmark = True
    card = torch.cuda.get_device_name()
    with torch.inference_mode():
        started = time.perf_counter()
        instances = server_instances(name, system, wanted(name, folder))
        load_s = time.perf_counter() - started
        flood([instance[BATCHES[-1]] for instance in instances], 0.3)
        gc.collect()
        gc.disable()  # a collection in the middle of a plan would be the server's tail
        for plan in plans:
            due = batching.read_plan(plan)
            served = batching.serve(due, instances, BATCHES[-1], WAIT_S, time.perf_counter)
            say({"plan": str(plan), "system": "torch_batching_server", "over": system, "frames": len(due),
                 "completed": len(served.latencies), "p50_us": percentile(served.latencies, 0.5),
                 "p99_us": percentile(served.latencies, 0.99), "max_us": percentile(served.latencies, 1),
                 "batch_mean": round(len(due) / len(served.batches), 2), "late_max_us": round(served.late_max * 1e6, 1),
                 "completed_per_s": round(len(due) / served.wall, 1), "load_s": round(load_s, 2), "device": card})  # fmt: skip


def versions():
    cudnn = torch.backends.cudnn.version()
    say({"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": cudnn and f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}",
         "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None})  # fmt: skip


def main(words):
    if words == ["versions"]:
        versions()
    elif len(words) == 3 and words[0] == "export":
        export(words[1], pathlib.Path(words[2]))
    elif len(words) == 6 and words[0] == "measure" and words[2] in SYSTEMS:
        measure(words[1], words[2], int(words[3]), pathlib.Path(words[4]), float(words[5]))
    elif len(words) > 4 and words[0] == "serve" and words[2] in SYSTEMS:
        serve(words[1], words[2], pathlib.Path(words[3]), words[4:])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
