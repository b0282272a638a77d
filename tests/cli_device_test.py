# SPDX-License-Identifier: Apache-2.0
"""What the program says of a device: the operators that it covers, and how it tunes.

The device is tests/plugins/tunes.cc, found beside a link to the library. usage: as cli_test_support.py says
"""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

from cli_test_support import PROGRAM, TIMEOUT_S, Case, onnx_model, onnx_node

BUILD = Path(PROGRAM).parents[2]
PLUGIN = BUILD / "tests/plugins/libinflight_backend_tunes.so"
CUDA = BUILD / "inflight/libinflight_backend_cuda.so"


class DeviceCase(Case):
    def setUp(self):
        super().setUp()
        if not PLUGIN.exists():
            self.skipTest(f"no {PLUGIN}")
        libraries = self.folder / "libraries"
        libraries.mkdir()
        for library in BUILD.glob("libinflight.so*"):
            (libraries / library.name).symlink_to(library)
        (libraries / PLUGIN.name).symlink_to(PLUGIN)
        self.environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}

    def run_program(self, *args):
        return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=TIMEOUT_S,
                              stdin=subprocess.DEVNULL, env=self.environment)

    def model(self, *operators):
        nodes = [onnx_node(op, [f"v{i}"], [f"v{i + 1}"]) for i, op in enumerate(operators)]
        shape = [1, 3, 8, 8]
        return self.file("m.onnx", onnx_model(nodes, [("v0", "f32", shape)], [(f"v{len(nodes)}", "f32", shape)]))


class Coverage(DeviceCase):
    def test_a_model_that_is_covered(self):
        done = self.run_program("info", self.model("Relu", "Relu"), "--device", "tunes")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^covered +2 Relu \(opset1\)$")
        self.assertRegex(done.stdout, r"(?m)^device +tunes$")
        self.assertRegex(done.stdout, r"(?m)^tuning +fast, 25% faster, in 1.0 s$")

    def test_a_model_with_missing_operators_is_3(self):
        path = self.folder / "info.json"
        for device in ("tunes:0", "tunes:1"):
            with self.subTest(device=device):
                done = self.run_program("info", self.model("Relu", "Exp", "Exp"), "--device", device, "--json", path)
                self.assertEqual(done.returncode, 3)
                self.assertEqual(done.stderr, f'inflight: device "{device}" cannot compute 2 of 3 operators: '
                                              'Exp "some node": only Relu is known\n')
                self.assertIn('2 Exp (opset1), the first "some node": only Relu is known', done.stdout)
                found = json.loads(path.read_text())
                self.assertEqual(found["covered"], False)
                self.assertEqual([(o["type"], o["count"], o["missing"]) for o in found["operators"]],
                                 [("Exp", 2, 2), ("Relu", 1, 0)])
                self.assertEqual(found["operators"][0]["why"], "only Relu is known")
                self.assertEqual(found["device_missing"] is None, device == "tunes:0")

    def test_without_the_device(self):
        done = self.run_program("info", self.model("Relu"), "--device", "tunes:1")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r'(?m)^device +none here: device "tunes:1": there is one such device$')
        self.assertRegex(done.stdout, r"(?m)^covered +1 Relu")

    def test_without_a_model_all_operators_are_listed(self):
        path = self.folder / "info.json"
        done = self.run_program("info", "--device", "tunes:1", "--json", path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()], ["device", "covered"])
        self.assertEqual(json.loads(path.read_text())["operators"],
                         [{"type": "Relu", "versions": "opset1", "count": 0, "missing": 0}])

    def test_the_cpu_says_what_it_covers(self):
        path = self.folder / "info.json"
        done = self.run_program("info", "--device", "cpu", "--json", path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^covered +\d+ Convolution \(opset1\)$")
        found = json.loads(path.read_text())
        self.assertEqual((found["covered"], found["device_missing"]), (True, None))
        self.assertEqual([port["name"] for port in found["inputs"] + found["outputs"]], ["image", "scores"])
        # A device that is not named is asked too, but says nothing where nothing is missing.
        self.assertNotIn("\ncovered", self.run_program("info").stdout)

    def test_open_shapes_are_asked_for_first(self):
        shape = [1, 3, "h", "w"]
        model = self.file("open.onnx", onnx_model([onnx_node("Exp", ["x"], ["y"])], [("x", "f32", shape)],
                                                  [("y", "f32", shape)]))
        path = self.folder / "info.json"
        for device in ("tunes:0", "tunes:1"):
            done = self.run_program("info", model, "--device", device, "--json", path)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r"(?m)^needs ")
            self.assertIsNone(json.loads(path.read_text())["covered"])
        done = self.run_program("info", model, "--device", "tunes:1", "--input-shape", "1,3,8,8")
        self.assertEqual(done.returncode, 3)

    def test_json_never_overwrites_the_model(self):
        model = self.model("Relu")
        self.assert_refused(2, "--json", "info", model, "--json", model)

    @unittest.skipUnless(CUDA.exists(), "the CUDA backend is not built")
    def test_cuda_tells_with_or_without_a_gpu(self):
        self.environment.pop("LD_LIBRARY_PATH")  # where the program itself looks
        done = self.run_program("info", "--device", "cuda")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^covered +Convolution \(opset1\)$")
        done = self.run_program("info", self.model("Relu"), "--device", "cuda")
        if "none here" in done.stdout:
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^covered +1 Relu \(opset1\)$")


class Tuning(DeviceCase):
    def statistics(self, *args):
        path = self.folder / "run.json"
        done = self.run_program("run", "--device", "tunes", "--frames", 3, "--json", path, *args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return self.read_json(path), done.stdout

    def test_statistics_say_what_came_of_it(self):
        found, text = self.statistics("--tune", "full")
        self.assertEqual(found["tuning"], {"level": "full", "seconds": 1.0, "gain": 0.25, "cached": False})
        self.assertRegex(text, r"(?m)^tuning +full, 25% faster, in 1.0 s$")
        self.assertEqual(self.statistics("--tune", "off")[0]["tuning"]["level"], "off")

    def test_the_cpu_takes_the_option_and_ignores_it(self):
        path = self.folder / "run.json"
        for level in ("off", "fast", "full"):
            done = self.run_program("run", "--frames", 1, "--tune", level, "--json", path)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIsNone(self.read_json(path)["tuning"])
        for command in ("run", "bench"):
            self.assert_refused(2, "--tune: got max, want off, fast or full", command, "--tune", "max")

    def test_bench_says_it_too(self):
        path = self.folder / "bench.json"
        done = self.run_program("bench", "--device", "tunes", "--tune", "full", "--duration", "0.05", "--in-flight", 1,
                                "--loads", 50, "--json", path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        (found,) = json.loads(path.read_text())["tuning"]
        self.assertEqual((found["level"], found["gain"], found["system"]), ("full", 0.25, "inflight elastic"))

    def test_a_terminal_shows_a_bar_and_then_nothing(self):
        shown = self.shown_on_terminal("run", "--device", "tunes", "--frames", "3", stream="stderr", env=self.environment)
        pieces = shown.split("\r\x1b[K")
        self.assertGreaterEqual(len(pieces), 4, shown)
        self.assertEqual((pieces[0], pieces[-1]), ("", ""), shown)
        for piece in pieces[1:-1]:
            self.assertRegex(piece, r"^\[#*\.*\] tuned \d+ of 40 steps, 25% faster$")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
