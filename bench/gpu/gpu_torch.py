# SPDX-License-Identifier: Apache-2.0
"""The PyTorch side of `./dev bench gpu`, in a Python that has torch and torchvision.

usage: gpu_torch.py export MODEL FOLDER            MODEL.onnx, its input and its output in f32
       gpu_torch.py measure MODEL SYSTEM FOLDER    one line of JSON for each row
"""

import importlib
import json
import pathlib
import sys
import time

import torch
import torchvision

SHAPE = (1, 3, 224, 224)
SYSTEMS = ("torch_eager", "torch_eager_graph", "torch_compile_graph", "torch_autotune_graph")
IN_FLIGHT = (1, 2, 4, 8, 16)


def model_of(name):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)().eval()
    # Random weights with the statistics of trained ones: activations then neither vanish nor overflow in f16.
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 1.5)
                module.running_mean.uniform_(-0.2, 0.2)
        if name.startswith("vit"):  # torchvision begins with a classifier of zeros
            torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


def input_of(batch=1):
    torch.manual_seed(1)
    return torch.rand((batch, *SHAPE[1:]))


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
    x = input_of()
    with torch.inference_mode():
        y = model(x)
    (folder / f"{name}.input").write_bytes(x.numpy().tobytes())
    (folder / f"{name}.want").write_bytes(y.numpy().tobytes())
    with torch.no_grad():
        torch.onnx.export(model, (x,), str(folder / f"{name}.onnx"), opset_version=17, dynamo=False,
                          input_names=["x"], output_names=["y"])


def percentile(values, at):
    values = sorted(values)
    return values[min(len(values) - 1, int(at * len(values)))] * 1e6 if values else 0


class Slot:
    """One stream with its input, and what one prediction does there."""

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


def flood(slots, seconds):
    busy = [False] * len(slots)
    began = [0.0] * len(slots)
    latencies = []
    start = time.perf_counter()
    while True:
        over = time.perf_counter() - start > seconds
        for k, slot in enumerate(slots):
            if busy[k] and slot.event.query():
                busy[k] = False
                latencies.append(time.perf_counter() - began[k])
            if not busy[k] and not over:
                began[k] = time.perf_counter()
                slot.launch()
                busy[k] = True
        if over and not any(busy):
            return len(latencies) / (time.perf_counter() - start), latencies


def measure(name, system, folder, seconds=2.0):
    torch.backends.cudnn.benchmark = True
    want = torch.frombuffer(bytearray((folder / f"{name}.want").read_bytes()), dtype=torch.float32)
    with torch.inference_mode():
        model = model_of(name).half().cuda().to(memory_format=torch.channels_last)
        for batch in (1, 8):
            x = input_of(batch).half().cuda().to(memory_format=torch.channels_last)
            started = time.perf_counter()
            torch._dynamo.reset()
            function = model
            if system == "torch_compile_graph":
                function = torch.compile(model, dynamic=False)
            if system == "torch_autotune_graph":
                function = torch.compile(model, dynamic=False, mode="max-autotune-no-cudagraphs")
            y = function(x)
            torch.cuda.synchronize()
            load_s = time.perf_counter() - started
            if batch == 1:
                error = float((y.flatten().float().cpu() - want).abs().max() / want.abs().max())
                print(json.dumps({"check": name, "system": system, "error": error}), flush=True)
            for host in (False, True):
                slots = []
                for in_flight in IN_FLIGHT if batch == 1 else (1, 2):
                    while len(slots) < in_flight:
                        slots.append(Slot(function, x, system != "torch_eager", host))
                    flood(slots, 0.3)
                    rate, latencies = flood(slots, seconds)
                    row = {"model": name, "system": system, "precision": "f16", "where": "host" if host else "device",
                           "in_flight": in_flight, "batch": batch, "rate": round(rate * batch, 1),
                           "p50_us": round(percentile(latencies, 0.5), 1), "p99_us": round(percentile(latencies, 0.99), 1),
                           "load_s": round(load_s, 2)}
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    what, model_name = sys.argv[1:3]
    if what == "export":
        export(model_name, pathlib.Path(sys.argv[3]))
    else:
        measure(model_name, sys.argv[3], pathlib.Path(sys.argv[4]))
