# SPDX-License-Identifier: Apache-2.0
"""Trains shapes.onnx, the default classifier, on frames of the synthetic source.

Needs torch==2.11.0, numpy==2.5.2 and onnx==1.23.1 (Python 3.12; with these versions the file in the tree was made) in
an environment of its own, since they are no dependencies of the project, and the tool that writes the frames:

    cmake --build build/release --target dump_synthetic
    python models/train_shapes.py --dump build/release/src/media/dump_synthetic --out models/shapes.onnx

Three minutes with a GPU and 16 cores; it runs without a GPU too. Two runs on different machines give weights that
differ in the last digits and models that are equally good. evaluate_shapes.py then measures the file as the program
uses it.
"""

import argparse
import concurrent.futures
import functools
import subprocess
import sys
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

LABELS = ["circle", "square", "triangle", "cross", "star", "ring"]  # kShapeNames of src/media/synthetic.h
HEIGHT, WIDTH = 480, 640  # of a frame
MODEL_HEIGHT, MODEL_WIDTH = 48, 64  # of the model's input
MEAN, SCALE = 127.5, 127.5  # input = (pixel - MEAN) / SCALE
CHANNELS = (16, 24, 48, 64)
TRAIN_SEED_FIRST = 1000  # training seeds count up from here; evaluation uses seeds below
STEP = 17  # frames between those learnt from: two or so of each shape, far apart


def read_frames(dump: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of one seed, resized; i16[count,3,48,64] holding four times the value, and labels i64[count]."""
    frame_bytes = HEIGHT * WIDTH * 3
    tool = subprocess.Popen([dump, str(seed), str(seed % STEP), str(count), str(STEP)], stdout=subprocess.PIPE)
    frames = np.empty((count, 3, MODEL_HEIGHT, MODEL_WIDTH), np.int16)
    labels = np.empty(count, np.int64)
    for i in range(count):
        record = tool.stdout.read(frame_bytes + 1)
        if len(record) != frame_bytes + 1:
            sys.exit(f"{dump}: ended after {i} frames of {count}")
        labels[i] = record[0]
        frames[i] = resize_times_4(np.frombuffer(record, np.uint8, offset=1).reshape(HEIGHT, WIDTH, 3))
    if tool.wait() != 0:
        sys.exit(f"{dump}: exit status {tool.returncode}")
    return frames, labels


def read_seeds(dump: str, seeds: range, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames and labels of many seeds, one after the other, on all cores."""
    with concurrent.futures.ProcessPoolExecutor() as pool:
        read = list(pool.map(functools.partial(read_frames, dump, count), seeds))
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*read))


def resize_times_4(frame: np.ndarray) -> np.ndarray:
    """Four times the linear resize (half-pixel centres, no antialiasing) of u8[480,640,3]; i16[3,48,64].

    At a tenth of the size, target pixel i has its centre at 10 i + 4.5: midway between two source pixels, each way.
    """
    rows = frame[4::10].astype(np.int16) + frame[5::10]
    return (rows[:, 4::10] + rows[:, 5::10]).transpose(2, 0, 1)


def check_resize(dump: str) -> None:
    """Stops unless resize_times_4 equals what the program does at run time."""
    raw = subprocess.run([dump, "1", "0", "1", "1"], stdout=subprocess.PIPE, check=True).stdout[1:]
    frame = np.frombuffer(raw, np.uint8).reshape(HEIGHT, WIDTH, 3)
    image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float()
    want = F.interpolate(image, (MODEL_HEIGHT, MODEL_WIDTH), mode="bilinear", align_corners=False, antialias=False)
    got = torch.from_numpy(resize_times_4(frame) / 4.0).float()
    assert torch.allclose(want[0], got, atol=1e-3), "resize_times_4 differs from bilinear interpolation"


class Net(nn.Module):
    """Four convolutions with small steps down between them; then the strongest response anywhere decides."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *CHANNELS)
        self.convs = nn.ModuleList(
            # The first takes every other pixel: it costs most, being the largest.
            nn.Conv2d(a, b, 5 if a == 3 else 3, stride=2 if a == 3 else 1, padding=2 if a == 3 else 1, bias=False)
            for a, b in zip(widths, widths[1:])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in CHANNELS)
        self.head = nn.Linear(CHANNELS[-1], len(LABELS))

    def pools_after(self, i: int) -> bool:
        return 0 < i < len(self.convs) - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.relu(norm(conv(x)))
            if self.pools_after(i):
                x = F.max_pool2d(x, 2)
        return self.head(x.amax(dim=(2, 3)))


def augment(x: torch.Tensor) -> torch.Tensor:
    """What leaves the label alone: mirroring, swapped colours, brightness and contrast, a little noise."""
    if torch.rand(()) < 0.5:
        x = x.flip(2)
    if torch.rand(()) < 0.5:
        x = x.flip(3)
    x = x[:, torch.randperm(3)]
    def random(scale: float, channels: int) -> torch.Tensor:
        return scale * torch.randn(x.shape[0], channels, 1, 1, device=x.device)

    x = x * (1 + random(0.15, 1)) + random(0.1, 3)
    return (x + random(0.02, 1) * torch.randn_like(x)).clamp(-1, 1)


def to_input(frames: torch.Tensor) -> torch.Tensor:
    return (frames.float() / 4 - MEAN) / SCALE


def train(net: Net, frames: torch.Tensor, labels: torch.Tensor, epochs: int, batch: int) -> None:
    steps = len(labels) // batch
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        started = time.monotonic()
        right = 0
        order = torch.randperm(len(labels), device=labels.device)
        for chosen in order[: steps * batch].split(batch):
            scores = net(augment(to_input(frames[chosen])))
            loss = F.cross_entropy(scores, labels[chosen], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            right += (scores.argmax(1) == labels[chosen]).sum()
        print(f"epoch {epoch}: {int(right) / (steps * batch):.5f} right, {time.monotonic() - started:.0f} s", flush=True)


def accuracy(net: Net, frames: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        parts = zip(frames.split(1000), labels.split(1000))
        return sum(int((net(to_input(f)).argmax(1) == l).sum()) for f, l in parts) / len(labels)


def conv_attributes(conv: nn.Conv2d) -> dict:
    return {"kernel_shape": conv.kernel_size, "strides": conv.stride, "pads": conv.padding * 2}


def save(net: Net, path: str) -> None:
    """Writes the net with its norms folded into the convolutions, softmax, and the labels as metadata."""
    nodes, weights = [], []

    def weight(name: str, value: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float32), name))
        return name

    x = "image"
    for i, (conv, norm) in enumerate(zip(net.convs, net.norms)):
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        w = weight(f"conv{i}.weight", conv.weight * gain[:, None, None, None])
        b = weight(f"conv{i}.bias", norm.bias - norm.running_mean * gain)
        nodes.append(helper.make_node("Conv", [x, w, b], [f"conv{i}"], **conv_attributes(conv)))
        nodes.append(helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"]))
        x = f"relu{i}"
        if net.pools_after(i):
            nodes.append(helper.make_node("MaxPool", [x], [f"pool{i}"], kernel_shape=[2, 2], strides=[2, 2]))
            x = f"pool{i}"
    nodes.append(helper.make_node("GlobalMaxPool", [x], ["strongest"]))
    nodes.append(helper.make_node("Flatten", ["strongest"], ["features"]))
    w, b = weight("head.weight", net.head.weight), weight("head.bias", net.head.bias)
    nodes.append(helper.make_node("Gemm", ["features", w, b], ["logits"], transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, MODEL_HEIGHT, MODEL_WIDTH])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, len(LABELS)])
    graph = helper.make_graph(nodes, "shapes", [image], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"labels": ",".join(LABELS), "mean": str(MEAN), "scale": str(SCALE), "color": "rgb"})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the default classifier.")
    parser.add_argument("--dump", required=True, help="the built dump_synthetic")
    parser.add_argument("--out", required=True, help="the .onnx file to write")
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to learn from")
    parser.add_argument("--frames", type=int, default=200, help="frames of each seed")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    torch.manual_seed(0)
    check_resize(args.dump)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seeds = range(TRAIN_SEED_FIRST, TRAIN_SEED_FIRST + args.seeds)
    frames, labels = read_seeds(args.dump, seeds, args.frames)
    unseen_frames, unseen_labels = read_seeds(args.dump, range(1, 21), args.frames * 5)
    print(f"{len(labels)} frames to learn from, {len(unseen_labels)} to check", flush=True)
    net = Net().to(device)
    train(net, frames.to(device), labels.to(device), args.epochs, args.batch)
    net.eval()
    print(f"unseen seeds: {accuracy(net, unseen_frames.to(device), unseen_labels.to(device)):.5f} right")
    save(net.cpu(), args.out)


if __name__ == "__main__":
    main()
