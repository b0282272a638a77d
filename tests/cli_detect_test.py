# SPDX-License-Identifier: Apache-2.0
"""Results that can be looked at: boxes, their drawing and --output, from outside the program.

usage: as cli_test_support.py says
Runs in build/venv: PyAV reads what the program writes, OpenVINO says what it should have seen.
"""

import os
import sys
import unittest
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from cli_test_support import DATA, Case, png

HEIGHT, WIDTH = 64, 96
FACES = ["--mean", "127", "--scale", "128"]


def save_constant_model(path, outputs, height=HEIGHT, width=WIDTH, metadata=None):
    """A model that takes a picture f32[1,3,height,width] and gives these arrays, whatever it sees."""
    image = ops.parameter([1, 3, height, width], np.float32, name="image")
    nothing = ops.reduce_mean(ops.multiply(image, np.float32(0)), np.array([0, 1, 2, 3]), keep_dims=False)
    results = []
    for name, values in outputs.items():
        result = ops.result(ops.add(ops.constant(values.astype(np.float32)), nothing))
        result.output(0).get_tensor().set_names({name})
        result.input_value(0).get_tensor().set_names({name})
        results.append(result)
    model = ov.Model(results, [image], "constant")
    ov.save_model(model, str(path), compress_to_fp16=False)
    return str(path)


def write_video(path, times_s, height=HEIGHT, width=WIDTH):
    """A lossless video with these times; frame k is grey 20 + 10 * k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for k, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 + 10 * k, np.uint8), "rgb24")
            frame = frame.reformat(format="bgr0")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def read_video(path):
    """Times in seconds, pictures u8[H,W,3], and the duration in seconds where the file says it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
        duration = stream.duration * stream.time_base if stream.duration else None
        if duration is None and container.duration:
            duration = container.duration / 1e6
    return [t for t, _ in frames], [p for _, p in frames], duration and float(duration)


def overlap(a, b):
    """Intersection over union of two boxes x, y, width, height."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def box_of(entry):
    return [entry[key] for key in ("x", "y", "width", "height")]


def faces_by_openvino(picture, score_min, iou_max):
    """Independent of the program: OpenVINO's resize and inference, and a decoder written for this model."""
    height, width = picture.shape[:2]
    core = ov.Core()
    model = core.read_model(str(DATA / "face_rfb_320.onnx"))
    builder = ov.preprocess.PrePostProcessor(model)
    tensor = builder.input().tensor()
    tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape([1, height, width, 3])
    builder.input().model().set_layout(ov.Layout("NCHW"))
    steps = builder.input().preprocess()
    steps.convert_element_type(ov.Type.f32).resize(ov.preprocess.ResizeAlgorithm.RESIZE_LINEAR).mean(127.0).scale(128.0)
    compiled = core.compile_model(builder.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(picture[None])
    scores, corners = result["scores"][0][:, 1], result["boxes"][0]
    candidates = []
    for score, (x1, y1, x2, y2) in zip(scores, corners):
        if score >= score_min:
            candidates.append((score, [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]))
    kept = []
    for score, box in sorted(candidates, key=lambda c: -c[0]):
        if all(overlap(box, other) <= iou_max for _, other in kept):
            kept.append((score, box))
    clipped = []
    for score, (x, y, w, h) in kept:
        right, bottom = min(x + w, width), min(y + h, height)
        clipped.append((score, [max(x, 0), max(y, 0), right - max(x, 0), bottom - max(y, 0)]))
    return clipped


class Detect(Case):
    def yolo(self, rows, name="output0", labels=None):
        """A YOLOv8 whose candidates are these (cx, cy, w, h, score of class 0, of class 1), and nothing else."""
        cells = HEIGHT // 8 * WIDTH // 8 + HEIGHT // 16 * WIDTH // 16 + HEIGHT // 32 * WIDTH // 32
        values = np.zeros((1, 6, cells), np.float32)
        values[0, 0, :], values[0, 1, :], values[0, 2:4, :] = 50, 30, 4
        for k, row in enumerate(rows):
            values[0, :, k] = row
        return save_constant_model(self.folder / f"{name}.xml", {name: values})

    def shared(self, name):
        path = DATA / name
        if not path.exists():
            self.skipTest(f"{path} is not there")
        return str(path)

    # ---- Boxes

    def test_faces_are_those_of_openvino(self):
        model, picture = self.shared("face_rfb_320.onnx"), self.shared("faces.jpg")
        with av.open(picture) as container:
            by_av = next(container.decode(video=0)).to_ndarray(format="rgb24")
        # The picture as the program sees it: with no box on it.
        plain = self.folder / "plain.png"
        self.run_json(model, *FACES, "--source", picture, "--score", "1", "--output", plain)
        _, (by_program,), _ = read_video(plain)
        self.assertLess(np.abs(by_program.astype(int) - by_av.astype(int)).mean(), 0.5)
        for score, iou in ((0.25, 0.45), (0.7, 0.3)):
            results = self.folder / "r.jsonl"
            self.run_json(model, *FACES, "--source", picture, "--precision", "f32", "--results", results,
                          "--score", score, "--iou", iou)
            got = self.read_results(results)[0]["boxes"]
            # Decoders of JPEG differ by a little, which decides between candidates with nearly the same score.
            for pixels, least in ((by_program, 0.99), (by_av, 0.9)):
                want = faces_by_openvino(pixels, score, iou)
                self.assertGreaterEqual(len(want), 9)
                self.assertEqual(len(got), len(want))
                for box, (score_wanted, box_wanted) in zip(got, want):
                    self.assertEqual(box["class"], 1)
                    self.assertAlmostEqual(box["score"], float(score_wanted), delta=0.01)
                    self.assertGreaterEqual(overlap(box_of(box), box_wanted), least)

    def test_boxes_are_in_pixels_of_the_frame(self):
        model = self.yolo([(48, 32, 24, 16, 0.9, 0.1), (48, 33, 24, 16, 0.8, 0.1), (0, 0, 20, 20, 0.1, 0.5)])
        picture = self.file("p.png", png(WIDTH * 3, HEIGHT * 2, (0, 0, 0)))
        labels = self.file("names.txt", b"\xef\xbb\xbfred car\r\nbus\r\n")
        results = self.folder / "r.jsonl"
        statistics, done = self.run_json(model, "--source", picture, "--results", results, "--labels", labels)
        self.assertEqual(self.read_results(results)[0]["boxes"], [
            {"class": 0, "label": "red car", "score": 0.9, "x": 108, "y": 48, "width": 72, "height": 32},
            {"class": 1, "label": "bus", "score": 0.5, "x": 0, "y": 0, "width": 30, "height": 20}])
        self.assertIn("detection, head yolov8 (guessed), 2 names", done.stdout)
        self.assertEqual(statistics["task"], "detection, head yolov8 (guessed), 2 names")
        for option, count in ((["--score", "0.6"], 1), (["--iou", "1"], 3), (["--score", "0"], 3)):
            self.run_json(model, "--source", picture, "--results", results, *option)
            self.assertGreaterEqual(len(self.read_results(results)[0]["boxes"]), count)
        self.run_json(model, "--source", picture, "--results", results, "--score", "0.95")
        self.assertEqual(self.read_results(results)[0]["boxes"], [])

    # A picture 96 wide and 128 high in an input of 96x64: halved, at x 24 to 72; or its middle 64 rows.
    def test_boxes_come_back_through_the_fit(self):
        model = self.yolo([(48, 32, 24, 16, 0.9, 0.1)])
        picture = self.file("p.png", png(96, 128, (0, 0, 0)))
        results = self.folder / "r.jsonl"
        for fit, wanted in (("stretch", [36, 48, 24, 32]), ("letterbox", [24, 48, 48, 32]), ("crop", [36, 56, 24, 16])):
            self.run_json(model, "--source", picture, "--results", results, "--fit", fit)
            self.assertEqual([box_of(box) for box in self.read_results(results)[0]["boxes"]], [wanted])

    def test_head_is_as_told(self):
        rows = np.array([[[48, 32, 60, 40, 0.9, 1], [4, 4, 8, 8, 0.8, 0]]])
        model = save_constant_model(self.folder / "rows.xml", {"dets": rows})
        results = self.folder / "r.jsonl"
        _, done = self.run_json(model, "--frames", "1", "--results", results)
        self.assertIn("head yolov10 (guessed)", done.stdout)
        _, done = self.run_json(model, "--frames", "1", "--results", results, "--task", "detect", "--head", "yolov10")
        self.assertIn("detection, head yolov10\n", done.stdout)
        self.assert_refused(3, 'do not fit the head ssd: "dets" f32[1,2,6]', "run", model, "--results", results,
                            "--head", "ssd")
        self.assert_refused(2, "--iou: the head yolov10 leaves no overlaps", "run", model, "--results", results,
                            "--iou", "0.5")

    def test_outputs_of_no_detector_are_named(self):
        model = save_constant_model(self.folder / "x.xml", {"features": np.zeros((1, 7, 5, 3))})
        out = self.folder / "o.mp4"
        self.assert_refused(3, '"features" f32[1,7,5,3]', "run", model, "--task", "detect", "--output", out)
        self.assert_refused(3, '"features" f32[1,7,5,3]', "run", model, "--task", "classify", "--output", out)
        self.assert_refused(3, '"features" f32[1,7,5,3]', "run", model, "--output", out)
        self.assertFalse(out.exists())
        # Without anything that needs the meaning, it runs.
        self.run_json(model, "--frames", "1", "--results", self.folder / "r.jsonl")

    # ---- Bad usage, bad input

    def test_bad_usage_is_2(self):
        out = ["--output", self.folder / "o.mp4"]
        for text, args in [
            ("--task: got find, want detect or classify", ["--task", "find", *out]),
            ("--head: got yolo, want yolov5, ", ["--head", "yolo", *out]),
            ("--score: got 1.5, want 0 to 1", ["--score", "1.5", *out]),
            ("--score: got nan, want 0 to 1", ["--score", "nan", *out]),
            ("--iou: got -1, want 0 to 1", ["--iou", "-1", *out]),
            ("--labels: got nothing", ["--labels", "", *out]),
            ("--output: got nothing", ["--output", ""]),
            ("--task: only for --results and --output", ["--task", "detect"]),
            ("--head: only for --results and --output", ["--head", "ssd"]),
            ("--labels: only for --results and --output", ["--labels", "x"]),
            ("--score: only for --results and --output", ["--score", "0.5"]),
            ("--iou: only for --results and --output", ["--iou", "0.5"]),
            ("--score: only for --task detect", ["--task", "classify", "--score", "0.5", *out]),
            ("--score: only for detectors", ["--score", "0.5", *out]),
            ("want a video (.mp4", ["--output", self.folder / "o.xyz"]),
            ("want a video (.mp4", ["--output", self.folder / "o"]),
            ("want a video (.mp4", ["--output", self.folder / "o.mp3"]),
            ("is one file for both", ["--output", self.folder / "a.mkv", "--json",
                                                         self.folder / "a.mkv"]),
        ]:
            with self.subTest(args=args):
                self.assert_refused(2, text, "run", *args)
        self.assertEqual(sorted(os.listdir(self.folder)), [])

    def test_bad_input_is_3(self):
        out = ["--output", self.folder / "o.mp4"]
        self.assert_refused(3, "No such file", "run", "--output", self.folder / "none" / "o.mp4")
        self.assert_refused(3, "No such file", "run", "--output", f"{self.folder}/none/folder/")
        self.assert_refused(3, 'cannot read "', "run", "--labels", self.folder / "none.txt", *out)
        self.assert_refused(3, "is not UTF-8", "run", "--labels", self.file("l.txt", b"\xff\xfe"), *out)
        self.assert_refused(3, "holds no names", "run", "--labels", self.file("l.txt", b"\n"), *out)
        self.assertFalse((self.folder / "o.mp4").exists())

    def test_output_is_no_input(self):
        video = write_video(self.folder / "v.mkv", [0, 0.1])
        before = Path(video).read_bytes()
        self.assert_refused(2, "belongs to the source", "run", "--source", video, "--output", video)
        link = self.folder / "link.mkv"
        link.symlink_to(video)
        self.assert_refused(2, "belongs to the source", "run", "--source", video, "--output", link)
        self.assertEqual(Path(video).read_bytes(), before)
        pictures = self.folder / "pictures"
        self.file("pictures/a.png", png(WIDTH, HEIGHT, (0, 0, 0)))
        self.assert_refused(2, "belongs to the source", "run", "--source", pictures, "--output", f"{pictures}/")

    def test_what_was_there_survives_a_run_that_cannot_start(self):
        path = self.file("old.mp4", b"old")
        self.assert_refused(3, "none.onnx", "run", self.folder / "none.onnx", "--output", path)
        self.assertEqual(Path(path).read_bytes(), b"old")

    # ---- The output

    def test_every_frame_once_at_its_time_in_every_container(self):
        times = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        video = write_video(self.folder / "v.mkv", times)
        for ending in ("mp4", "mkv", "avi", "webm", "mov", "ts", "m2ts", "flv", "m4v", "gif"):
            with self.subTest(ending=ending):
                out = self.folder / f"o.{ending}"
                statistics, done = self.run_json("--source", video, "--fps", "0", "--policy", "block", "--output", out,
                                                 "--top", "1")
                self.assertEqual(statistics["output"], {"path": str(out), "frames": 10, "dropped": 0})
                self.assertIn("10 frames written", done.stdout)
                got, pictures, duration = read_video(out)
                self.assertEqual(len(got), 10)
                for time_s, wanted in zip(got, times):
                    # A transport stream's clock does not begin at 0.
                    self.assertAlmostEqual(time_s - got[0], wanted, delta=0.011)
                if ending in ("mp4", "mkv", "avi", "mov", "webm"):
                    self.assertAlmostEqual(duration, 1.0, delta=0.02)
                for k, picture in enumerate(pictures):
                    self.assertEqual(picture.shape, (HEIGHT, WIDTH, 3))
                    # The lower right corner is free of text.
                    self.assertAlmostEqual(float(picture[-16:, -16:].mean()), 20 + 10 * k, delta=6)

    def test_uneven_times_are_kept(self):
        times = [0, 0.1, 0.2, 0.3, 0.4, 1.5, 2.5]
        video = write_video(self.folder / "v.mkv", times)
        out = self.folder / "o.mp4"
        self.run_json("--source", video, "--fps", "0", "--policy", "block", "--output", out)
        got, _, _ = read_video(out)
        for time_s, wanted in zip(got, times, strict=True):
            self.assertAlmostEqual(time_s, wanted, delta=0.002)

    def test_odd_sizes(self):
        for height, width in ((63, 95), (64, 95), (63, 96), (1, 1), (17, 3), (719, 1279)):
            with self.subTest(height=height, width=width):
                picture = self.file("p.png", png(width, height, (200, 100, 50)))
                for ending in ("mp4", "webm", "avi"):
                    out = self.folder / f"o.{ending}"
                    done = self.run_program("run", "--source", picture, "--output", out, "--top", "1")
                    self.assertEqual(done.returncode, 0, done.stderr)
                    _, pictures, _ = read_video(out)
                    self.assertEqual(pictures[0].shape, (height + height % 2, width + width % 2, 3))
                    if height > 60:
                        for y, x in ((-1, -1), (-1, -30), (-8, -1)):
                            np.testing.assert_allclose(pictures[0][y, x], (200, 100, 50), atol=8)

    def test_boxes_are_drawn_where_they_are(self):
        model = self.yolo([(48, 32, 24, 16, 0.9, 0.1)])
        picture = self.file("p.png", png(WIDTH * 2, HEIGHT * 2, (10, 10, 10)))
        out = self.folder / "o.png"
        self.run_json(model, "--source", picture, "--output", out)
        _, (drawn,), _ = read_video(out)
        self.assertEqual(drawn.shape, (HEIGHT * 2, WIDTH * 2, 3))
        coloured = np.abs(drawn.astype(int) - 10).max(axis=2) > 60
        # The box is x 72 to 120, y 48 to 80; its text stands above it.
        self.assertTrue(coloured[48, 72:120].all())
        self.assertTrue(coloured[79, 72:120].all())
        self.assertTrue(coloured[48:80, 72].all())
        self.assertTrue(coloured[48:80, 119].all())
        self.assertFalse(coloured[52:76, 76:116].any())
        self.assertFalse(coloured[81:].any())
        self.assertTrue(coloured[30:48, 72:120].any())

    def test_folder_of_pictures(self):
        for name in ("a.png", "b.png"):
            self.file(f"in/{name}", png(WIDTH, HEIGHT, (30, 60, 90)))
        self.file("in/c.ppm", b"P6 96 64 255\n" + bytes((30, 60, 90)) * (96 * 64))
        out = self.folder / "out"
        statistics, _ = self.run_json("--source", self.folder / "in", "--fps", "0", "--policy", "block", "--output",
                                      f"{out}/", "--top", "1")
        self.assertEqual(statistics["output"]["frames"], 3)
        self.assertEqual(sorted(os.listdir(out)), ["a.png", "b.png", "c.ppm.png"])
        for name in os.listdir(out):
            _, (drawn,), _ = read_video(out / name)
            np.testing.assert_array_equal(drawn[-1, -1], (30, 60, 90))
        # A folder that is there needs no slash; frames without a file have their numbers.
        video = write_video(self.folder / "v.mkv", [0, 0.1])
        numbered = self.folder / "numbered"
        numbered.mkdir()
        self.run_json("--source", video, "--fps", "0", "--policy", "block", "--output", numbered)
        self.assertEqual(sorted(os.listdir(numbered)), ["frame_00000000.png", "frame_00000001.png"])

    def test_one_picture_is_for_one_frame(self):
        picture = self.file("p.png", png(WIDTH, HEIGHT, (30, 60, 90)))
        for ending in ("png", "jpg", "jpeg", "bmp"):
            out = self.folder / f"o.{ending}"
            self.run_json("--source", picture, "--output", out, "--top", "1")
            _, (drawn,), _ = read_video(out)
            np.testing.assert_allclose(drawn[-1, -1], (30, 60, 90), atol=6)
        video = write_video(self.folder / "v.mkv", [0, 0.1])
        done = self.run_program("run", "--source", video, "--fps", "0", "--output", self.folder / "o.png")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is one picture, and the source has more", done.stderr)

    def test_frames_without_results_are_written_as_they_are(self):
        out = self.folder / "o.mp4"
        statistics, _ = self.run_json(self.slow(), "--fps", "5000", "--frames", "300", "--limit", "1", "--output", out)
        self.assertGreater(statistics["rejected"], 0)
        self.assertEqual(statistics["output"]["frames"] + statistics["output"]["dropped"], 300)
        times, _, _ = read_video(out)
        self.assertEqual(len(times), statistics["output"]["frames"])
        self.assertEqual(times, sorted(times))

    def test_a_slow_encoder_drops_and_holds_nothing_up(self):
        # Far more than any encoder does. If the run waited for it, no frame would be left out.
        out = self.folder / "o.mkv"
        statistics, done = self.run_json("--fps", "2000", "--duration", "2", "--output", out)
        self.assertEqual(statistics["submitted"], 4000)
        self.assertEqual(statistics["output"]["frames"] + statistics["output"]["dropped"], 4000)
        self.assertIn("left out because encoding was behind", done.stdout)
        self.assertGreater(statistics["output"]["dropped"], 0)

    def test_full_disk_fails_the_run(self):
        for ending in ("mkv", "png", "avi"):
            path = self.folder / f"full.{ending}"
            path.symlink_to("/dev/full")
            frames = "1" if ending == "png" else "30"
            done = self.run_program("run", "--frames", frames, "--output", path)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("No space left on device", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_a_pipe(self):
        path = self.folder / "pipe.mp4"
        path.symlink_to("/dev/stdout")
        self.assert_refused(3, "is a pipe or the like", "run", "--frames", "1", "--output", path)

    def test_a_real_video_keeps_its_length(self):
        model, video = self.shared("face_rfb_320.onnx"), self.shared("person.mp4")
        out = self.folder / "o.mp4"
        frames = 60
        statistics, _ = self.run_json(model, *FACES, "--source", video, "--task", "detect", "--fps", "0", "--policy",
                                      "block", "--frames", frames, "--output", out)
        self.assertEqual(statistics["output"], {"path": str(out), "frames": frames, "dropped": 0})
        times, pictures, duration = read_video(out)
        np.testing.assert_allclose(times, [k / 10 for k in range(frames)], atol=0.001)
        self.assertAlmostEqual(duration, frames / 10, delta=0.01)
        self.assertEqual(pictures[0].shape, (432, 768, 3))
        with av.open(video) as container:
            source = next(container.decode(video=0)).to_ndarray(format="rgb24")
        error = np.abs(pictures[0].astype(int) - source.astype(int))
        self.assertLess(error.mean(), 4)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
