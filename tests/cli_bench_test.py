# SPDX-License-Identifier: Apache-2.0
"""`inflight bench`: its words, its numbers, and its page in a browser.

usage: as cli_test_support.py says
"""

import json
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from cli_test_support import MODELS, SANITIZERS, TIMEOUT_S, Case, onnx_model, onnx_node

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
QUICK = ("--duration", "0.1", "--in-flight", "1,4")


class Bench(Case):
    def bench(self, *args, device="null", code=0):
        path = self.folder / "bench.json"
        done = self.run_program("bench", *QUICK, "--device", device, *args, "--json", path)
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        report = json.loads(path.read_text())
        for row in report["rows"]:
            self.check_row(row)
        self.assertEqual(len(done.stdout.splitlines()), 5 + len(report["rows"]))
        return report, done.stdout

    def check_row(self, row):
        outcomes = ("completed", "failed", "rejected", "dropped", "expired", "cancelled")
        self.assertEqual(row["planned"], sum(row[o] for o in outcomes))
        self.assertEqual(row["missed"], row["planned"] - row["completed"])
        known = [row[f"{q}_ms"] for q in ("p50", "p90", "p99", "max")]
        self.assertEqual(sorted(v for v in known if v is not None), [v for v in known if v is not None])
        if row["missed"] == 0:
            self.assertNotIn(None, known)
        else:
            self.assertIsNone(row["max_ms"])

    def test_sweeps_over_the_loads(self):
        report, text = self.bench("--loads", "10,50,90")
        closed = [row for row in report["rows"] if row["plan"] == "closed"]
        self.assertEqual([row["in_flight"] for row in closed], [1, 4])
        self.assertEqual(report["capacity_per_s"], max(row["rate"] for row in closed))
        swept = [row for row in report["rows"] if row["plan"] == "poisson"]
        self.assertEqual([row["load"] for row in swept], [0.1, 0.5, 0.9])
        for row in swept:
            wanted = 0.1 * row["load"] * report["capacity_per_s"]
            self.assertLess(abs(row["planned"] - wanted), 6 * wanted**0.5 + 10)  # six deviations of Poisson's count
        self.assertIn("null", report["machine"])
        self.assertIn("inflight elastic", text)

    def test_several_devices(self):
        report, _ = self.bench("--loads", "50", device="null:1,null:2")
        self.assertEqual(report["machine"], "null:1, null:2")

    def test_every_plan(self):
        recording = self.file("arrivals.txt", b"# mine\n0.01\n0.02 1\n0.02\n0.05\n")
        plans = ("poisson", "periodic:0.5", "cameras:4@100", "bursts:5@0.03", f"recorded:{recording}")
        report, _ = self.bench(*(word for plan in plans for word in ("--plan", plan)), "--rates", "200")
        rows = {row["plan"]: row for row in report["rows"]}
        self.assertEqual(list(rows), ["closed", *plans])
        self.assertEqual(rows["periodic:0.5"]["planned"], 20)
        self.assertEqual(rows["cameras:4@100"]["planned"], 40)
        self.assertEqual(rows["bursts:5@0.03"]["planned"], 20)
        self.assertEqual(rows[f"recorded:{recording}"]["planned"], 4)

    def test_a_seed_is_a_plan(self):
        planned = {}
        for seed in (7, 7, 8):
            report, _ = self.bench("--rates", "2000", "--seed", seed)
            planned.setdefault(seed, []).append(report["rows"][-1]["planned"])
        self.assertEqual(*planned[7])

    def test_widths_take_turns(self):
        report, _ = self.bench("--width", "wide,narrow", "--loads", "50")
        self.assertEqual([row["system"] for row in report["rows"]], ["inflight wide", "inflight narrow"] * 3)
        for row in report["rows"]:
            self.assertEqual(row["wide"], 1 if row["system"].endswith("wide") else 0)

    def test_missed_frames_are_counted(self):
        report, _ = self.bench(self.slow(), "--limit", "4", "--plan", "bursts:1000@0.05", device="cpu")
        burst = report["rows"][-1]
        self.assertEqual(burst["planned"], 2000)
        self.assertGreater(burst["rejected"], 0)
        self.assertIsNone(burst["max_ms"])

    def test_a_model_of_any_input(self):
        vector = onnx_model([onnx_node("Relu", ["x"], ["y"])], [("x", "f32", [1, "n"])], [("y", "f32", [1, "n"])])
        path = self.file("vector.onnx", vector)
        self.assert_refused(3, "--input-shape", "bench", path, "--device", "null", *QUICK)
        path_json = self.folder / "cpu.json"
        done = self.run_program("bench", path, "--input-shape", "1,64", "--duration", "0.05", "--in-flight", "1", "--loads", "10",
                                "--json", path_json)  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(path_json.read_text())["model"], path)

    def test_wrong_words(self):
        for text, args in [
            ("--plan: got gauss, want poisson, ", ["--plan", "gauss"]),
            ("--plan: got poisson, want each plan once", ["--plan", "poisson", "--plan", "poisson"]),
            ("--loads: got 0, want percents", ["--loads", "10,0"]),
            ("--loads: got nothing, want percents", ["--loads", "10,"]),
            ("--loads and --rates: one of them", ["--loads", "1", "--rates", "1"]),
            ("--loads: only for the plans poisson and periodic", ["--loads", "1", "--plan", "bursts:1@1"]),
            ("--rates: got nan, want arrivals", ["--rates", "nan"]),
            ("--in-flight: got 9, want at most the --limit of 8", ["--limit", "8", "--in-flight", "9"]),
            ("--limit: got 0, want 1 to 65536", ["--limit", "0"]),
            ("--duration: got 0, want seconds", ["--duration", "0"]),
            ("--seed: got -1, want 0 to", ["--seed", "-1"]),
            ("--width", ["--width", "broad"]),
            ("--width: got wide,wide, want each width once", ["--width", "wide,wide"]),
            ("--input-shape: the embedded", ["--input-shape", "1,2"]),
            ("--json and --html: ", ["--json", "/tmp/same", "--html", "/tmp/same"]),
            ("--html: got nothing", ["--html", ""]),
            ("--policy: no such option", ["--policy", "block"]),
        ]:
            with self.subTest(args=args):
                self.assert_refused(2, text, "bench", *args)
        self.assert_refused(3, "cannot be read", "bench", "--plan", f"recorded:{self.folder}/missing")
        self.assert_refused(3, "missing.onnx", "bench", "missing.onnx")
        self.assert_refused(4, "tpu", "bench", "--device", "tpu")


class BenchPage(Case):
    """In a browser: what it draws is what was measured."""

    def setUp(self):
        super().setUp()
        if BROWSER is None:
            self.skipTest("no browser: ./dev check installs chromium-headless-shell")
        if SANITIZERS:
            self.skipTest("the page is the same without a sanitizer")
        self.page = self.folder / "page.html"
        self.rows = self.bench("--device", "null", "--width", "wide,narrow", "--loads", "20,80", "--plan", "poisson",
                               "--plan", "bursts:300@0.05", "--limit", "64")  # fmt: skip

    def bench(self, *args):
        report = self.folder / "bench.json"
        done = self.run_program("bench", *QUICK, *args, "--html", self.page, "--json", report)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(report.read_text())["rows"]

    def browse(self, *options, script=""):
        text = self.page.read_text()
        page = self.folder / "browsed.html"
        page.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
        # As root in a container, which is where tests run, the browser has no sandbox of its own.
        command = [BROWSER, "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={self.folder}/browser", *options]
        done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=TIMEOUT_S, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def count(self, dom, kind):
        return len(re.findall(rf'class="{kind}"', dom))

    def test_draws_every_row(self):
        dom = self.browse("--dump-dom")
        self.assertIn('data-drawn="yes"', dom)
        own = [row for row in self.rows if row["plan"] in ("closed", "poisson")]
        closed = sum(row["plan"] == "closed" for row in own)
        # Two marks, of p50 and p99, for each swept row, and one for each of the closed loops.
        self.assertEqual(self.count(dom, "point"), 2 * (len(own) - closed) + closed)
        self.assertEqual(len(re.findall("<tr>", dom)), 1 + len(own))
        self.assertNotIn("NaN", dom)
        self.assertNotIn("undefined", dom.split("<script>")[0])

    def test_draws_runs_that_missed_most(self):
        rows = self.bench("--device", "null", "--rates", "1000,2000", "--plan", "poisson", "--deadline-ms", "0.001")
        swept = [row for row in rows if row["plan"] == "poisson"]
        self.assertEqual([(row["p50_ms"], row["p99_ms"]) for row in swept], [(None, None)] * 2)
        dom = self.browse("--dump-dom")
        self.assertIn('data-drawn="yes"', dom)
        self.assertEqual(self.count(dom, "point"), len(rows) + len(swept))
        self.assertEqual(len(re.findall(r": p\d\d without end, \d+ of \d+ missed<", dom)), 2 * len(swept))
        self.assertNotIn("NaN", dom)

    def test_draws_the_frames_of_a_run(self):
        burst = next(k for k, row in enumerate(self.rows) if row["plan"].startswith("bursts"))
        script = (f"byId('plan').value = '{self.rows[burst]['plan']}'; byId('plan').onchange();"
                  f"byId('run').value = '{burst}'; byId('run').onchange();")  # fmt: skip
        dom = self.browse("--dump-dom", script=script)
        self.assertEqual(self.count(dom, "frame") + self.count(dom, "miss"), 150)
        self.assertEqual(self.count(dom, "miss") > 0, self.rows[burst]["missed"] > 0)  # a fast machine misses none
        drawn = {kind: sum(int(n) for n in re.findall(rf"<title>(\d+) {kind}</title>", dom)) for kind in ("completed", "rejected")}
        self.assertEqual(drawn, {kind: self.rows[burst][kind] for kind in drawn})

    def test_is_drawn_in_light_and_in_dark(self):
        sizes = []
        for scheme in (1, 0):
            shot = self.folder / f"shot{scheme}.png"
            self.browse(f"--screenshot={shot}", "--window-size=1100,1600", f"--blink-settings=preferredColorScheme={scheme}")
            sizes.append(shot.read_bytes())
        self.assertNotEqual(*sizes)
        self.assertGreater(min(map(len, sizes)), 20000)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
