# SPDX-License-Identifier: Apache-2.0
"""Compares `inflight run` with OpenVINO's own Python inference on the same frames of a real video.

usage: compare_openvino.py INFLIGHT DATA_FOLDER
Needs openvino, numpy and av (build/venv has them). Exits with 77, saying so, where the data is absent.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import av
import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

FRAMES = 20
DIFFERENCE_MAX = 1e-4
MEAN, SCALE = 127.0, 128.0


def decode(video):
    """The first FRAMES frames as u8[H,W,3] RGB, by a decoder that is not ours."""
    with av.open(str(video)) as container:
        frames = container.decode(video=0)
        return [next(frames).to_ndarray(format="rgb24") for _ in range(FRAMES)]


def reference(model_path, frames):
    """Outputs by name for each frame, one synchronous inference after the other."""
    core = ov.Core()
    model = core.read_model(str(model_path))
    height, width, _ = frames[0].shape
    steps = PrePostProcessor(model)
    image = steps.input()
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape([1, height, width, 3])
    image.tensor().set_color_format(ColorFormat.RGB)
    image.model().set_layout(ov.Layout("NCHW"))
    image.preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR).mean(MEAN).scale(SCALE)
    compiled = core.compile_model(steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = []
    for frame in frames:
        outputs = compiled(frame[None])
        results.append({port.get_any_name(): np.array(outputs[port]) for port in compiled.outputs})
    return results


def ours(inflight, model_path, video):
    """Lines of --results by frame number."""
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder) / "results.jsonl"
        command = [inflight, "run", model_path, "--source", video, "--fps", "0", "--policy", "block"]
        command += ["--precision", "f32", "--mean", str(MEAN), "--scale", str(SCALE), "--frames", str(FRAMES)]
        command += ["--results", results]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in results.read_text().splitlines()]
    return {line["frame"]: line for line in lines}


def main():
    inflight, data = sys.argv[1], pathlib.Path(sys.argv[2])
    model, video = data / "face_rfb_320.onnx", data / "person.mp4"
    if not (model.exists() and video.exists()):
        print(f"skipped: {model.name} and {video.name} are not in {data}")
        return 77
    lines = ours(inflight, model, video)
    assert sorted(lines) == list(range(FRAMES)), f"frames: {sorted(lines)}"
    worst = 0.0
    for k, outputs in enumerate(reference(model, decode(video))):
        assert lines[k]["outcome"] == "completed", lines[k]
        assert sorted(lines[k]["outputs"]) == sorted(outputs), f"{sorted(lines[k]['outputs'])} {sorted(outputs)}"
        for name, wanted in outputs.items():
            got = lines[k]["outputs"][name]
            assert tuple(got["shape"]) == wanted.shape, (name, got["shape"], wanted.shape)
            difference = np.abs(np.array(got["values"], np.float32).reshape(wanted.shape) - wanted).max()
            worst = max(worst, float(difference))
    print(f"{FRAMES} frames, largest absolute difference {worst:.3g}, at most {DIFFERENCE_MAX:g} wanted")
    return 0 if worst <= DIFFERENCE_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
