# SPDX-License-Identifier: Apache-2.0
"""The program from outside: statistics and results of `inflight run`, and its end by a signal.

usage: as cli_test_support.py says
"""

import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

from cli_test_support import END_S, PROGRAM, SANITIZERS, TIMEOUT_S, Case, onnx_model, onnx_node, png, ppm


class Runs(Case):
    def test_synthetic_frames_are_told_apart(self):
        statistics, done = self.run_json("--frames", 120, "--fps", 60, "--policy", "block")
        self.assertEqual(statistics["submitted"], 120)
        self.assertEqual(statistics["completed"], 120)
        self.assertGreaterEqual(statistics["accuracy"], 0.99)
        self.assertLessEqual(statistics["in_flight_max"], 8)
        # The last frame is due after 119 sixtieths of a second.
        self.assertGreaterEqual(statistics["duration_s"], 119 / 60)
        for name in ("latency_us", "submit_us"):
            quantiles = [statistics[name][q] for q in ("p50", "p90", "p99", "p999", "max")]
            self.assertEqual(quantiles, sorted(quantiles))
            self.assertGreater(quantiles[0], 0)
        for name, kind in (("fps", float), ("device", str), ("submitted", int), ("in_flight_max", int)):
            self.assertIs(type(statistics[name]), kind)
        self.assertIn("120 submitted: 120 completed, 0 failed, 0 rejected", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_duration_times_rate_is_how_many(self):
        for fps, duration, frames in ((200, 0.5, 100), (30, 0.51, 16), (29.97, 1, 30)):
            with self.subTest(fps=fps):
                statistics, _ = self.run_json("--fps", fps, "--duration", duration, "--device", "null")
                self.assertEqual(statistics["submitted"], frames)

    def test_overload_is_refused_and_the_limit_is_exact(self):
        for limit in (1, 3):
            results = self.folder / "r.jsonl"
            statistics, _ = self.run_json(self.slow(), "--fps", 5000, "--duration", 0.3, "--limit", limit,
                                          "--results", results)
            self.assertEqual(statistics["submitted"], 1500)
            self.assertGreater(statistics["rejected"], 0)
            self.assertLessEqual(statistics["in_flight_max"], limit)
            lines = self.read_results(results)
            self.assertEqual(sorted(line["frame"] for line in lines), list(range(1500)))
            refused = [line for line in lines if line["outcome"] == "rejected"]
            self.assertEqual(len(refused), statistics["rejected"])
            self.assertTrue(all("in flight" in line["error"] for line in refused))

    def test_what_has_not_started_by_its_deadline_expires(self):
        results = self.folder / "r.jsonl"
        statistics, done = self.run_json(self.slow(), "--fps", 20000, "--frames", 1500, "--limit", 1500,
                                         "--deadline-ms", 50, "--results", results)
        self.assertEqual((statistics["submitted"], statistics["deadline_ms"]), (1500, 50))
        self.assertGreater(statistics["expired"], 0)
        lines = self.read_results(results)
        self.assertEqual(sum(line["outcome"] == "expired" for line in lines), statistics["expired"])
        self.assertIn(" expired", done.stdout)
        # Nothing takes so long that a minute is not enough.
        statistics, _ = self.run_json("--frames", 30, "--policy", "block", "--deadline-ms", 60000)
        self.assertEqual((statistics["completed"], statistics["expired"]), (30, 0))
        # A frame that waits for a place too long is refused, and the run goes on.
        statistics, _ = self.run_json(self.slow(), "--fps", 100000, "--frames", 500, "--limit", 1, "--policy",
                                      "block", "--deadline-ms", 0.5)
        self.assertEqual(statistics["submitted"], 500)
        self.assertGreater(statistics["rejected"], 0)

    def test_what_would_be_late_is_refused_at_once(self):
        results = self.folder / "r.jsonl"
        arguments = (self.slow(), "--fps", 5000, "--frames", 1500, "--limit", 1500, "--deadline-ms", 100, "--results", results)
        expiring, _ = self.run_json(*arguments)
        self.assertEqual(expiring["late"], 0)
        refusing, _ = self.run_json(*arguments, "--refuse-late")
        self.assertGreater(refusing["late"], 0)
        self.assertLessEqual(refusing["late"], refusing["rejected"])
        self.assertIn("deadline", "".join(line["error"] for line in self.read_results(results) if "error" in line))

    def test_block_loses_nothing(self):
        statistics, _ = self.run_json("--fps", 5000, "--frames", 300, "--limit", 2, "--policy", "block")
        self.assertEqual(statistics["completed"], 300)
        self.assertLessEqual(statistics["in_flight_max"], 2)

    def test_block_loses_nothing_of_sources_side_by_side(self):
        # Each stream has its share of the places, which is less than what is free.
        for fps, policy in ((5000, "block"), (0, "block"), (0, "reject")):
            statistics, _ = self.run_json("--fps", fps, "--policy", policy, "--streams", 5, "--frames", 200, "--limit", 8)
            self.assertEqual((statistics["completed"], statistics["rejected"]), (1000, 0), (fps, policy))

    def test_sources_side_by_side_are_streams(self):
        path = self.folder / "r.jsonl"
        statistics, done = self.run_json("--source", "synthetic", "--source", "synthetic", "--device", "null",
                                         "--fps", "100", "--frames", "50", "--results", path)  # fmt: skip
        streams = statistics["streams"]
        self.assertEqual([stream["submitted"] for stream in streams], [50, 50])
        for key in ("submitted", "completed", "rejected", "dropped", "expired", "cancelled", "failed"):
            self.assertEqual(sum(stream[key] for stream in streams), statistics[key], key)
        self.assertEqual([stream["source"][-6:] for stream in streams], ["seed 1", "seed 2"])
        self.assertGreater(statistics["age_us"]["p50"], 0)
        lines = self.read_results(path)
        self.assertEqual(sorted((line["stream"], line["frame"]) for line in lines),
                         [(stream, frame) for stream in range(2) for frame in range(50)])  # fmt: skip
        self.assertIn("stream 1", done.stdout)
        self.assertNotIn("streams", self.run_json("--device", "null", "--frames", "3")[0])

    def test_several_devices_share_one_queue(self):
        statistics, done = self.run_json("--device", "null:0,null:1,null:2", "--fps", 0, "--frames", 3000)
        devices = statistics["devices"]
        self.assertEqual([device["device"] for device in devices], ["null", "null:1", "null:2"])
        self.assertEqual(statistics["device"], "null, null:1, null:2")
        self.assertEqual(sum(device["completed"] for device in devices), statistics["completed"])
        self.assertEqual(statistics["completed"], 3000)
        self.assertEqual(sum(device["slots"] for device in devices), statistics["slots"])
        self.assertEqual({(device["failed"], device["lost"]) for device in devices}, {(0, None)})
        self.assertIn("device 2   ", done.stdout)
        self.assertNotIn("devices", self.run_json("--device", "null:1", "--frames", "3")[0])

    def test_devices_of_two_kinds_share_one_queue(self):
        statistics, _ = self.run_json("--device", "cpu,null", "--fps", 0, "--frames", 500)
        self.assertEqual(statistics["completed"], 500)
        self.assertEqual([device["device"] for device in statistics["devices"]], ["cpu", "null"])
        self.assertGreater(min(device["completed"] for device in statistics["devices"]), 0)
        self.assertNotIn("accuracy", statistics)  # what the null device says is no answer

    def test_copies_of_a_source_get_the_same(self):
        statistics, _ = self.run_json("--streams", "20", "--fps", "60", "--policy", "keep-latest", "--duration", "2")
        completed = [stream["completed"] for stream in statistics["streams"]]
        self.assertEqual(statistics["submitted"], 20 * 120)
        self.assertEqual(statistics["rejected"], 0)
        self.assertGreaterEqual(min(completed), 0.8 * max(completed))

    def test_drop_oldest_refuses_nothing(self):
        statistics, _ = self.run_json(self.slow(), "--fps", "20000", "--policy", "drop-oldest", "--frames", "1000")
        self.assertEqual(statistics["rejected"], 0)
        self.assertGreater(statistics["dropped"], 0)
        self.assertLessEqual(statistics["in_flight_max"], 8)

    def test_unpaced_is_never_refused(self):
        for policy in ("reject", "block"):
            statistics, _ = self.run_json("--fps", 0, "--frames", 300, "--limit", 4, "--policy", policy)
            self.assertEqual(statistics["completed"], 300)
            self.assertGreaterEqual(statistics["accuracy"], 0.99)
            self.assertLessEqual(statistics["in_flight_max"], 4)
        statistics, _ = self.run_json("--fps", 0, "--duration", 0.3)
        self.assertGreater(statistics["completed"], 0)
        self.assertEqual(statistics["rejected"], 0)

    def test_automatic_limit_is_told_with_its_reason(self):
        statistics, done = self.run_json("--fps", 0, "--frames", 2000, "--limit", "auto", "--policy", "block")
        self.assertEqual(statistics["completed"], 2000)
        self.assertEqual(statistics["rejected"], 0)
        self.assertIn(statistics["limit_reason"], ("measuring", "knee"))
        self.assertGreaterEqual(statistics["limit"], 1)
        statistics, _ = self.run_json("--frames", 5, "--limit", 3)
        self.assertEqual((statistics["limit"], statistics["limit_reason"]), (3, "fixed"))

    def test_width_is_as_asked_for(self):
        for width in ("wide", "narrow"):
            statistics, _ = self.run_json("--width", width, "--frames", 5)
            self.assertEqual(statistics["width"][width], 5)

    def test_results_have_a_line_a_frame(self):
        results = self.folder / "r.jsonl"
        statistics, _ = self.run_json("--frames", 40, "--fps", 0, "--results", results, "--top", 3, "--seed", 7)
        lines = self.read_results(results)
        self.assertEqual(sorted(line["frame"] for line in lines), list(range(40)))
        right = 0
        for line in lines:
            self.assertEqual(line["outcome"], "completed")
            self.assertGreater(line["latency_us"], 0)
            self.assertGreaterEqual(line["due_us"], 0)
            self.assertIn(line["width"], ("wide", "narrow"))
            self.assertEqual(len(line["top"]), 3)
            scores = line["outputs"]["scores"]
            self.assertEqual((scores["dtype"], scores["shape"]), ("f32", [1, 6]))
            best = line["top"][0]
            self.assertEqual(best["score"], max(scores["values"]))
            self.assertEqual(scores["values"].index(best["score"]), best["class"])
            self.assertAlmostEqual(sum(scores["values"]), 1, places=4)
            right += best["label"] == line["label"]
        self.assertEqual(right / 40, statistics["accuracy"])

    def test_results_do_not_change_the_answers(self):
        """The same seed gives the same scores, whatever runs beside it."""
        scores = []
        for limit in (1, 8):
            results = self.folder / f"{limit}.jsonl"
            self.run_json("--frames", 20, "--fps", 0, "--results", results, "--limit", limit, "--precision", "f32")
            lines = sorted(self.read_results(results), key=lambda line: line["frame"])
            scores.append([line["outputs"]["scores"]["values"] for line in lines])
        for a, b in zip(*scores):
            self.assertTrue(all(math.isclose(x, y, abs_tol=1e-5) for x, y in zip(a, b)))

    def test_numbers_that_json_lacks(self):
        """(pixel - 0) / 0-ish: a model whose outputs are infinite and not numbers at all."""
        nodes = [onnx_node("Sub", ["x", "x"], ["zero"]), onnx_node("Div", ["x", "zero"], ["y"])]
        model = onnx_model(nodes, [("x", "f32", [1, 3, 1, 2])], [("y", "f32", [1, 3, 1, 2])])
        source = self.file("a.ppm", b"P6 2 1 255\n" + bytes([0, 0, 0, 9, 9, 9]))
        results = self.folder / "r.jsonl"
        self.run_json(self.file("div.onnx", model), "--source", source, "--precision", "f32", "--results", results)
        (line,) = self.read_results(results)
        values = line["outputs"]["y"]["values"]
        self.assertTrue(all(v in ("nan", "inf", "-inf") or isinstance(v, (int, float)) for v in values), values)
        self.assertIn("nan", values)

    def test_large_outputs_are_summed_up(self):
        model = onnx_model([onnx_node("Identity", ["x"], ["y"])], [("x", "f32", [1, 3, "h", "w"])],
                           [("y", "f32", [1, 3, "h", "w"])])
        results = self.folder / "r.jsonl"
        self.run_json(self.file("id.onnx", model), "--frames", 3, "--results", results)
        for line in self.read_results(results):
            output = line["outputs"]["y"]
            self.assertEqual(output["shape"], [1, 3, 480, 640])
            self.assertEqual(output["count"], 3 * 480 * 640)
            self.assertTrue(0 <= output["min"] <= output["mean"] <= output["max"] <= 255)
            self.assertNotIn("values", output)

    def test_directory_of_pictures(self):
        for i in range(7):
            self.file(f"pictures/{i}.ppm", ppm(64, 48, (i, 100, 200)))
        for i in range(7, 10):
            self.file(f"pictures/{i}.png", png(64, 48, (i, 100, 200)))
        self.file("pictures/notes.txt", b"not a picture")
        results = self.folder / "r.jsonl"
        statistics, done = self.run_json("--source", self.folder / "pictures", "--results", results, notes=1)
        self.assertIn("passed over, as no pictures: notes.txt", done.stderr)
        self.assertEqual(statistics["completed"], 10)
        self.assertNotIn("accuracy", statistics)
        lines = self.read_results(results)
        self.assertEqual(sorted(line["frame"] for line in lines), list(range(10)))
        self.assertTrue(all("label" not in line for line in lines))
        statistics, _ = self.run_json("--source", self.folder / "pictures", "--frames", 4, "--fps", 100, notes=1)
        self.assertEqual(statistics["submitted"], 4)

    def test_damaged_picture_is_one_failed_outcome(self):
        for i in range(5):
            self.file(f"pictures/{i}.png", png(64, 48, (i, 100, 200)) if i != 3 else b"\x89PNG\r\n\x1a\nbroken")
        statistics, done = self.run_json("--source", self.folder / "pictures", code=1, damaged=1)
        self.assertEqual((statistics["completed"], statistics["failed"]), (4, 1))
        self.assertIn("3.png", done.stderr)
        self.assertIn("4 completed", done.stdout)
        self.assertIn("error", statistics)

    @unittest.skipIf(SANITIZERS, "a sanitizer keeps freed memory for a while")
    def test_memory_does_not_grow_with_frames(self):
        process = subprocess.Popen([PROGRAM, "run", "--fps", "500", "--duration", "7", "--device", "null", "--limit",
                                    "1"], stdout=subprocess.PIPE)
        self.addCleanup(process.kill)

        def resident():
            return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        process.stdout.readline()  # after the first second
        samples = [resident()]
        for _ in range(4):
            time.sleep(1)  # 500 frames
            samples.append(resident())
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 0)
        # In some second the pool of pictures, 921,600 bytes each, may still find that it needs one more.
        self.assertLess(min(after - before for before, after in itertools.pairwise(samples)), 200_000)


class Signals(Case):
    def start(self, *args):
        """Starts `run` and returns once frames are being predicted: the first line each second says so."""
        process = subprocess.Popen([PROGRAM, "run", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        process.stdout.readline()
        return process

    def test_signals_end_a_run_with_its_books_closed(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for args in (["--fps", 60, "--duration", 600], ["--fps", 0, "--duration", 600, "--policy", "block"],
                         ["--fps", 0.01, "--frames", 10]):
                with self.subTest(number=number, args=args):
                    path, results = self.folder / "run.json", self.folder / "r.jsonl"
                    process = self.start(*args, "--json", path, "--results", results)
                    sent = time.monotonic()
                    process.send_signal(number)
                    out, err = process.communicate(timeout=TIMEOUT_S)
                    self.assertEqual((process.returncode, err), (128 + number, ""))
                    self.assertLess(time.monotonic() - sent, END_S)
                    statistics = self.read_json(path)
                    self.assertGreater(statistics["completed"], 0)
                    self.assertEqual(len(self.read_results(results)), statistics["submitted"])
                    self.assertIn("submitted", out)

    def test_terminal_line_is_taken_away(self):
        shown = self.shown_on_terminal("run", "--duration", "0.5", stream="stdout")
        pieces = shown.split("\r\x1b[K")
        self.assertGreaterEqual(len(pieces), 3, shown)
        self.assertEqual(pieces[0], "")
        self.assertTrue(all(" in flight " in piece and "\n" not in piece for piece in pieces[1:-1]), shown)
        self.assertTrue(pieces[-1].startswith("model "), shown)

    @unittest.skipUnless(shutil.which("ffmpeg"), "no ffmpeg to make a video with")
    def test_signal_while_the_source_is_stuck(self):
        """Most of a video from a pipe whose writer then falls silent."""
        video = subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-frames:v",
                                "200", "-f", "mpegts", "-"], check=True, capture_output=True).stdout
        pipe, path = self.folder / "pipe.ts", self.folder / "run.json"
        os.mkfifo(pipe)
        process = subprocess.Popen([PROGRAM, "run", "--source", str(pipe), "--fps", "100", "--json", str(path)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        with open(pipe, "wb", buffering=0) as writer:
            sender = threading.Thread(target=writer.write, args=(video[:len(video) * 9 // 10],))
            sender.start()
            for _ in range(3):
                process.stdout.readline()
            sender.join(TIMEOUT_S)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=TIMEOUT_S)
        self.assertLess(time.monotonic() - sent, END_S)
        self.assertEqual((process.returncode, err), (130, ""))
        self.assertGreater(self.read_json(path)["completed"], 0)

    def test_signal_while_the_source_has_nothing(self):
        os.mkfifo(self.folder / "pipe.ppm")
        # A pipe nobody writes to: opening it blocks, and there is nothing to save yet.
        process = subprocess.Popen([PROGRAM, "run", "--source", str(self.folder / "pipe.ppm")],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.wait_until_caught(process, signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual((process.returncode, err), (130, b""))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
