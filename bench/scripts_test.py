# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that only run `inflight`, for a second each: what they measure is what their tables are made of.

usage: scripts_test.py BUILD_FOLDER MODEL
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE / "load")]
import environment
import load
import report

BUILD, MODEL = sys.argv[1:3]


class ScriptsTest(unittest.TestCase):
    def measure(self, name, *words):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            command = [sys.executable, HERE / name / f"{name}.py", BUILD, *words, "--seconds", "1", "--json", path]
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(path.read_text())
        self.assertEqual(result["benchmark"], name)
        return result

    def test_the_main_job(self):
        result = self.measure("main_job", "--repetitions", "1")
        self.assertEqual([row["completed"] + row["rejected"] for row in result["rows"]], [row["submitted"] for row in result["rows"]])
        self.assertTrue(all(row["accuracy"] > 0.9 and row["peak_mb"] > 1 for row in result["rows"]), result)
        self.assertIn("5,000 fps, reject", report.main_job(result))

    def test_cameras(self):
        result = self.measure("cameras")
        flooded, shared, few = result["rows"]
        self.assertEqual((flooded["cameras"], shared["cameras"], few["cameras"]), (60, 60, 4))
        self.assertAlmostEqual(shared["fps"], 0.8 * flooded["completed_per_s"] / 60, delta=0.01)
        self.assertIn("keep-latest", report.cameras(result))

    def test_deadlines(self):
        result = self.measure("deadlines", "--model", MODEL, "--rounds", "1")
        all_admitted, late_refused = result["rows"]
        self.assertEqual(all_admitted["planned"], late_refused["planned"], "they are on the same plan")
        self.assertAlmostEqual(all_admitted["rate"], 2 * result["capacity"], delta=0.1 * result["capacity"])
        self.assertIn("refuse late", report.deadlines(result))

    def test_an_overload(self):
        result = self.measure("overload", "--model", MODEL, "--rate", "100000")
        peak, over = result["rows"]
        self.assertGreater(over["missed"], 0)
        self.assertGreater(peak["completed_per_s"], 0)
        self.assertTrue(result["memory"])

    def test_pages_of_latency_under_load_are_merged(self):
        def row(plan, p99, **what):
            return {"model": "m", "precision": "f32", "system": "s", "plan": plan, "p99_ms": p99, **what}

        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("old.html", "new.html", "all.html", "all.json")]
            places = argparse.Namespace(page=environment.ROOT / "src/load/page.html")
            for path, commit, rows in (
                (paths[0], "a1", [row("closed", 1, in_flight=1), row("poisson", 2, load=0.5), row("bursts:16@2", 3, load=0.1)]),
                (paths[1], "b2", [row("poisson", 5, load=0.5), row("poisson", 6, load=0.9), row("bursts:16@2", 7, load=0.2)]),
            ):
                head = {"commit": commit, "date": "2026-11-28", "machine": "two </processors>"}
                load.write_page(places, load.with_rows(head, [(row, {"of": row["p99_ms"]}) for row in rows]), path)
            command = [sys.executable, HERE / "load/load.py", BUILD, "--merge", f"{paths[0]},{paths[1]}", "--html", paths[2], "--json", paths[3]]
            subprocess.run([str(word) for word in command], check=True)
            page, result = load.read_page(paths[2]), json.loads(paths[3].read_text())
        self.assertEqual([(row["p99_ms"], row["commit"]) for row in result["rows"]], [(1, "a1"), (5, "b2"), (7, "b2"), (6, "b2")])
        self.assertEqual([detail["of"] for detail in page["details"]], [1, 5, 7, 6])
        self.assertEqual((result["commit"], result["machine"]), ("a1, b2", "two </processors>"))

    def test_a_run_that_fails_is_named(self):
        with self.assertRaisesRegex(SystemExit, "inflight run --streams 0 .*: exit 2"):
            environment.inflight(pathlib.Path(BUILD), "run", "--streams", 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
