# SPDX-License-Identifier: Apache-2.0
"""The program from outside: bad usage and bad input, their messages and exit codes; what `inflight info` says.

usage: as cli_test_support.py says
"""

import os
import sys
import unittest
from pathlib import Path

from cli_test_support import MODELS, Case, onnx_model, onnx_node, ppm


class Refusals(Case):
    def test_bad_usage_is_2(self):
        for text, args in [
            ("--limit: got 0, want auto or 1 to 65536", ["--limit", "0"]),
            ("--limit: got -1, want auto or 1 to 65536", ["--limit", "-1"]),
            ("--limit: got 65537, want auto or 1 to 65536", ["--limit", "65537"]),
            ("--limit: got many, want auto or 1 to 65536", ["--limit", "many"]),
            ("--fps: got -1, want 0 ", ["--fps", "-1"]),
            ("--fps: got -1, want 0 ", ["--fps=-1"]),
            ("--fps: got nan, want 0 ", ["--fps", "nan"]),
            ("--fps: got 2000000, want 0 ", ["--fps", "2000000"]),
            ("--frames: got 0, want 1 to ", ["--frames", "0"]),
            ("--duration: got 0, want seconds", ["--duration", "0"]),
            ("--duration: got -2, want seconds", ["--duration", "-2"]),
            ("--refuse-late: needs --deadline-ms", ["--refuse-late"]),
            ("--policy: got newest, want reject, block, drop-oldest or keep-latest", ["--policy", "newest"]),
            ("--policy: got drop-newest, want reject, block, drop-oldest or keep-latest", ["--policy", "drop-newest"]),
            ("--width: got broad, want elastic, wide or narrow", ["--width", "broad"]),
            ("--precision: got f64, want auto, f32, bf16 or f16", ["--precision", "f64"]),
            ("--color: got gray, want rgb or bgr", ["--color", "gray"]),
            ("--mean: got 1,2, want one number or three", ["--mean", "1,2"]),
            ("--scale: got 0, want one number or three, none of them 0", ["--scale", "0"]),
            ("--seed: got -1, want 0 to 18446744073709551615", ["--seed", "-1"]),
            ("--seed: only the synthetic source", ["--seed", "1", "--source", "x.mp4"]),
            ("--top: only for --results", ["--top", "3"]),
            ("--source: got nothing", ["--source", ""]),
            ("--json: got nothing", ["--json", ""]),
            ("--deadline-ms: got 0, want milliseconds, 0.001 to", ["--deadline-ms", "0"]),
            ("--deadline-ms: got soon, want milliseconds", ["--deadline-ms", "soon"]),
            ("--device: got cpu twice, want each device once", ["--device", "cpu,null,cpu"]),
            ("--streams: got 0, want 1 to 256", ["--streams", "0"]),
            ("--streams: got 257, want 1 to 256", ["--streams", "257"]),
            ("--streams: standard input can be read only once", ["--streams", "2", "--source", "-"]),
            ("--stream: no such option", ["--stream", "2"]),
            ("one argument too many", ["a.onnx", "b.onnx"]),
            ("--limit: wants a value", ["--limit"]),
        ]:
            with self.subTest(args=args):
                self.assert_refused(2, text, "run", *args)
        self.assert_refused(2, "want a subcommand")
        self.assert_refused(2, "fly: no such subcommand", "fly")
        self.assert_refused(2, "--fast: no such option", "--fast")
        self.assert_refused(2, "--limit: no such option", "info", "--limit", "3")

    def test_bad_model_is_3(self):
        cut = (MODELS / "shapes.onnx").read_bytes()[:20000]
        for path in (self.folder / "missing.onnx", self.file("empty.onnx", b""), self.file("cut.onnx", cut),
                     self.file("text.onnx", b"not a model at all\n"), self.folder, ""):
            for command in ("run", "info"):
                with self.subTest(path=path, command=command):
                    self.assert_refused(3, str(path), command, path)

    def test_model_without_images_is_3(self):
        vector = onnx_model([onnx_node("Relu", ["x"], ["y"])], [("x", "f32", [1, 4])], [("y", "f32", [1, 4])])
        self.assert_refused(3, "f32[1,4]", "run", self.file("vector.onnx", vector))
        # An image and something else, which a source of frames does not have.
        nodes = [onnx_node("ReduceMean", ["x"], ["m"], keepdims=0), onnx_node("Add", ["m", "z"], ["y"])]
        both = onnx_model(nodes, [("x", "f32", [1, 3, 8, 8]), ("z", "f32", [1])], [("y", "f32", [1])])
        self.assert_refused(3, '"z" f32[1]', "run", self.file("both.onnx", both))

    def test_model_that_takes_frames(self):
        relu = onnx_model([onnx_node("Identity", ["x"], ["y"])], [("x", "u8", [8, 6, 3])], [("y", "u8", [8, 6, 3])])
        model = self.file("frames.onnx", relu)
        source = self.file("a.ppm", ppm(6, 8, (1, 2, 3)))
        results = self.folder / "r.jsonl"
        statistics, _ = self.run_json(model, "--source", source, "--results", results)
        self.assertEqual(statistics["completed"], 1)
        (line,) = self.read_results(results)
        self.assertEqual(line["outputs"]["y"], {"dtype": "u8", "shape": [8, 6, 3], "values": [1, 2, 3] * 48})
        self.assertNotIn("top", line)

    def test_bad_source_is_3(self):
        for name, data in (("empty.mp4", b""), ("text.mp4", b"no video\n" * 100)):
            with self.subTest(name=name):
                self.assert_refused(3, name, "run", "--source", self.file(name, data))
        self.assert_refused(3, "missing.mp4", "run", "--source", self.folder / "missing.mp4")
        (self.folder / "none").mkdir()
        self.assert_refused(3, "none", "run", "--source", self.folder / "none")

    def test_missing_device_is_4(self):
        self.assert_refused(4, "tpu", "run", "--device", "tpu")
        self.assert_refused(4, "cuda:x", "run", "--device", "cuda:x")
        self.assert_refused(4, "tpu", "info", "--device", "tpu")
        self.assert_refused(4, "tpu", "run", "--device", "null,tpu")
        self.assert_refused(4, "16 null devices", "run", "--device", "null,null:16")
        self.assert_refused(2, "one device", "info", "--device", "null:0,null:1")
        self.assert_refused(4, "/dev/video4711", "run", "--source", "/dev/video4711")

    def test_unwritable_output_is_3_before_the_run(self):
        for option in ("--json", "--results"):
            with self.subTest(option=option):
                path = self.folder / "no" / "file"
                self.assert_refused(3, f'{option}: cannot write "{path}": No such file', "run", option, path)
                self.assert_refused(3, f'{option}: cannot write "{self.folder}": ', "run", option, self.folder)

    def test_what_was_in_a_file_survives_a_run_that_cannot_start(self):
        kept, made = self.file("kept.json", b"old"), self.folder / "made.json"
        for path in (kept, made):
            self.assert_refused(3, "missing", "run", self.folder / "missing", "--json", path)
        self.assertEqual(Path(kept).read_bytes(), b"old")
        self.assertFalse(made.exists())

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk_fails_the_run(self):
        for option in ("--json", "--results"):
            with self.subTest(option=option):
                done = self.run_program("run", "--frames", 5, option, "/dev/full")
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr, f'inflight: {option}: cannot write "/dev/full": No space left on device\n')
                self.assertIn("5 completed", done.stdout)

    def test_help_and_version(self):
        for args in (["--help"], ["run", "--help"], ["info", "--help"], ["--version"]):
            done = self.run_program(*args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertNotEqual(done.stdout, "")


class Info(Case):
    def test_default_model(self):
        done = self.run_program("info")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for text in ('"image" f32[1,3,48,64]', '"scores" f32[1,6]', "Convolution", "labels", "circle", "per slot"):
            self.assertIn(text, done.stdout)

    def test_dynamic_model_says_what_it_needs(self):
        model = onnx_model([onnx_node("Relu", ["x"], ["y"])], [("x", "f32", [1, 3, "h", "w"])],
                           [("y", "f32", [1, 3, "h", "w"])])
        done = self.run_program("info", self.file("m.onnx", model))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('"x" f32[1,3,?,?]', done.stdout)
        self.assertIn("input_shapes", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
