# SPDX-License-Identifier: Apache-2.0
"""Measures shapes.onnx with OpenVINO, with the preprocessing that the program puts in front of it.

    cmake --build build/release --target dump_synthetic
    build/venv/bin/python models/evaluate_shapes.py --dump build/release/src/media/dump_synthetic

The seeds 1 to 10 were not trained on (train_shapes.py starts at 1000).
"""

import argparse
import pathlib
import subprocess
import sys

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

HEIGHT, WIDTH = 480, 640
MEAN, SCALE = 127.5, 127.5


def compile_model(path: str) -> ov.CompiledModel:
    core = ov.Core()
    steps = PrePostProcessor(core.read_model(path))
    image = steps.input("image")
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape([1, HEIGHT, WIDTH, 3])
    image.tensor().set_color_format(ColorFormat.RGB)
    image.model().set_layout(ov.Layout("NCHW"))
    image.preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR).mean(MEAN).scale(SCALE)
    return core.compile_model(steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the default classifier on seeds it has not seen.")
    parser.add_argument("--dump", required=True, help="the built dump_synthetic")
    parser.add_argument("--model", default=str(pathlib.Path(__file__).parent / "shapes.onnx"))
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1 to this")
    parser.add_argument("--frames", type=int, default=3000, help="frames of each seed, from the first on")
    args = parser.parse_args()
    request = compile_model(args.model).create_infer_request()
    right = 0
    confusion = np.zeros((6, 6), np.int64)  # [label, predicted]
    for seed in range(1, args.seeds + 1):
        command = [args.dump, str(seed), "0", str(args.frames), "1"]
        tool = subprocess.Popen(command, stdout=subprocess.PIPE)
        before = right
        for _ in range(args.frames):
            record = tool.stdout.read(HEIGHT * WIDTH * 3 + 1)
            frame = np.frombuffer(record, np.uint8, offset=1).reshape(1, HEIGHT, WIDTH, 3)
            predicted = int(np.argmax(request.infer([frame])[0]))
            confusion[record[0], predicted] += 1
            right += predicted == record[0]
        if tool.wait() != 0:
            sys.exit(f"{args.dump}: exit status {tool.returncode}")
        print(f"seed {seed}: {100 * (right - before) / args.frames:.3f}%", flush=True)
    print(f"all: {100 * right / (args.seeds * args.frames):.3f}% of {args.seeds * args.frames} frames")
    print(confusion)


if __name__ == "__main__":
    main()
