# SPDX-License-Identifier: Apache-2.0
"""What of `./dev bench gpu` works without a GPU: the plan of parts, its limits, its rows, the server's loop, the programs.

usage: gpu_test.py BENCH_GPU BENCH_GPU_COSTS MODEL FAKE_DRIVER
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent)]
import batching
import gpu
import gpu_report
import report
import rows
import sanitizer

BENCH, COSTS, MODEL, FAKE_DRIVER = sys.argv[1:5]
BUILD = pathlib.Path(BENCH).parents[2]
# Answers as gpu_torch.py does, in no time. `hang` never ends; `fail` prints half of a row's part and fails.
FAKE_TORCH = """#!{python}
import json, pathlib, shutil, sys, time
words = sys.argv[2:]
folder = pathlib.Path(r"{folder}")
with (folder / "calls").open("a") as file:
    file.write(" ".join(words) + "\\n")
def say(row):
    print(json.dumps(row), flush=True)
if words[0] == "versions":
    say({{"torch": "0", "cuda": "0", "cudnn": 0, "gpu": "fake"}})
elif words[0] == "export":
    for end in ("onnx", "input", "want"):
        shutil.copy(folder / ("given." + end), pathlib.Path(words[2]) / (words[1] + "." + end))
elif words[0] == "measure":
    name, system, batch = words[1], words[2], int(words[3])
    say({{"check": name, "system": system, "error": 0}})
    if system == "torch_eager":
        time.sleep(600)
    for where in ("device", "host"):
        for count in (1, 8) if batch == 1 else (1, 2):
            say({{"model": name, "system": system, "where": where, "in_flight": count, "batch": batch, "rate": 10.0 * batch, "p50_us": 100.0, "p99_us": 200.0}})
    if system == "torch_eager_graph":
        sys.exit(7)
elif words[0] == "serve":
    say({{"check": words[1], "system": words[2], "batch": 1, "error": 0}})
    for plan in words[4:]:
        say({{"plan": plan, "p50_us": 1.0, "p99_us": 2.0, "max_us": 3.0, "late_max_us": 0.0, "completed_per_s": 1.0, "batch_mean": 2.0, "frames": 5, "completed": 5, "device": "fake"}})
"""
# Stands for compute-sanitizer: writes down how it was called, and a summary; tests that hang or crash have none.
FAKE_SANITIZER = """#!{python}
import sys, time
words = " ".join(sys.argv[1:])
with open(r"{calls}", "a") as file:
    file.write(words + "\\n")
if "Hangs" in words:
    time.sleep(600)
if "Crashes" in words:
    sys.exit(3)
kind = "RACECHECK SUMMARY: 1 hazard displayed" if "racecheck" in words else "ERROR SUMMARY: 1 error"
open(sys.argv[sys.argv.index("--log-file") + 1], "w").write("=========     at run+0x90\\n========= " + kind + "\\n")
print("[  PASSED  ] 2 tests.")
"""
FAKE_TESTS = """#!/bin/sh
printf 'CudaSlot.\\n  One\\n  Hangs\\nAll/CudaAttention.\\n  Agrees/0  # GetParam() = 1\\n  Crashes/1\\n'
"""


def run_program(*words, env=None):
    env = {**os.environ, **(env or {})}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_closed_loops(self):
        code, found, errors = run_program(BENCH, MODEL, "--device", "cpu", "--seconds", 0.1, "--in-flight", "1,4")
        self.assertEqual((code, [row["in_flight"] for row in found]), (0, [1, 4]), errors)
        for row in found:
            self.assertGreater(row["rate"], 0)
            self.assertLessEqual(row["p50_us"], row["p99_us"])
            self.assertEqual(row["submitted"], row["completed"])

    def test_a_count_counts_each_outcome_and_samples_memory(self):
        code, found, errors = run_program(BENCH, MODEL, "--device", "cpu", "--in-flight", 16, "--seconds", 0, "--count", 2000)
        self.assertEqual(code, 0, errors)
        row = found[0]
        self.assertEqual(row["finished"], 2000)
        self.assertGreaterEqual(row["submitted"], 2000)
        self.assertEqual(row["submitted"], sum(row[end] for end in ("completed", "failed", "rejected", "dropped", "expired", "cancelled")))
        self.assertEqual((len(row["resident_kib"]), len(row["device_kib"])), (11, 11))
        self.assertGreater(min(row["resident_kib"]), 0)

    def test_a_plan_leaves_nothing_out(self):
        plan, flood = self.folder / "plan", self.folder / "flood"
        plan.write_text("# seconds\n" + "".join(f"{k / 200:.3f}\n" for k in range(40)))
        flood.write_text("0\n" * 2000)
        code, found, errors = run_program(BENCH, MODEL, "--device", "cpu", "--plan", f"{plan},{flood}", "--limit", 20)
        self.assertEqual(code, 0, errors)
        self.assertEqual([row["plan"] for row in found], [str(plan), str(flood)])
        for row, frames in zip(found, (40, 2000), strict=True):
            self.assertEqual(row["frames"], frames)
            self.assertEqual(row["completed"] + row["refused"], frames)
            self.assertEqual(row["wide"] + row["narrow"], row["completed"])
        self.assertEqual(found[0]["refused"], 0)
        self.assertLessEqual(found[0]["p50_us"], found[0]["p99_us"])
        # A frame that was refused never ends.
        self.assertGreater(found[1]["refused"], 40)
        self.assertIsNone(found[1]["p99_us"])

    def test_bad_words(self):
        (self.folder / "plan").write_text("0.2\n0.1\n")
        (self.folder / "none").write_text("# nothing\n")
        for words, text in (
            (["--tune"], "usage"),
            (["--speed", "3"], "no option --speed"),
            (["--in-flight", "1,x"], '--in-flight: got "1,x", want numbers of at least 1'),
            (["--in-flight", "0"], '--in-flight: got "0"'),
            (["--seconds", "-1"], '--seconds: got "-1"'),
            (["--memory", "warm"], '--memory: got "warm", want pinned or pageable'),
            (["--plan", str(self.folder / "plan")], 'plan: line 2: got "0.1"'),
            (["--plan", str(self.folder / "none")], "none: no arrivals"),
            (["--plan", "/nowhere"], "/nowhere: cannot be read"),
        ):
            device = [] if words == ["--tune"] else ["--device", "cpu"]
            code, _, errors = run_program(BENCH, MODEL, *device, *words)
            self.assertEqual((code, len(errors.splitlines())), (1, 1), errors)
            self.assertIn(text, errors)

    def test_costs_of_single_calls(self):
        code, found, errors = run_program(COSTS, MODEL, "--device", "cpu", "--repetitions", 50)
        self.assertEqual(code, 0, errors)
        ours = [(row["cost"], row.get("in_flight")) for row in found if row["system"] == "inflight"]
        self.assertEqual(ours, [("submit", 1), ("poll_pending", None), ("submit", 8)])
        for row in found:
            self.assertEqual(row["repetitions"], 50)
        if len(found) == 3:
            self.assertIn("nothing to compare with", errors)

    def test_costs_beside_a_driver(self):
        env = {"LD_LIBRARY_PATH": FAKE_DRIVER}
        code, found, errors = run_program(COSTS, MODEL, "--device", "cpu", "--repetitions", 50, "--nodes", 7, env=env)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual([(row["cost"], row["system"], row.get("in_flight"), row.get("nodes")) for row in found], [
            ("submit", "inflight", 1, None), ("submit", "cuGraphLaunch", 1, 7), ("poll_pending", "inflight", None, None),
            ("poll_pending", "cuEventQuery", None, None), ("submit", "inflight", 8, None), ("submit", "cuGraphLaunch", 8, 7)])  # fmt: skip
        code, found, errors = run_program(BENCH, MODEL, "--device", "cpu", "--in-flight", 2, "--seconds", 0, "--count", 100, env=env)
        self.assertEqual((code, found[0]["device_kib"]), (0, [5] * 11), errors)


class FakeSlot:
    """Takes `seconds` of a clock that moves by a microsecond with each look."""

    def __init__(self, clock, size, seconds, log):
        self.clock, self.size, self.seconds, self.log, self.end = clock, size, seconds, log, None

    def launch(self):
        assert self.end is None, "one batch at a time"
        self.end = self.clock.now + self.seconds
        self.log.append(self.size)

    def done(self):
        if self.end is None or self.clock.now < self.end:
            return False
        self.end = None
        return True


class Clock:
    now = 0.0

    def __call__(self):
        self.now += 1e-6
        return self.now


class Batching(unittest.TestCase):
    def serve(self, due, seconds=0.001, instances=1):
        clock, log = Clock(), []
        slots = [{size: FakeSlot(clock, size, seconds, log) for size in (1, 2, 4, 8)} for _ in range(instances)]
        return batching.serve(due, slots, 8, 500e-6, clock), log

    def test_a_lone_frame_waits_for_the_whole_delay(self):
        served, sizes = self.serve([0.0, 0.1])
        self.assertEqual((served.batches, sizes), ([1, 1], [1, 1]))
        for latency in served.latencies:
            self.assertAlmostEqual(latency, 0.0015, delta=2e-5)

    def test_a_full_batch_does_not_wait(self):
        served, sizes = self.serve([0.0] * 8)
        self.assertEqual((served.batches, sizes), ([8], [8]))
        self.assertAlmostEqual(max(served.latencies), 0.001, delta=2e-5)

    def test_a_batch_runs_padded_on_the_smallest_graph_that_it_fits(self):
        served, sizes = self.serve([0.0, 0.0001, 0.0002])
        self.assertEqual((served.batches, sizes), ([3], [4]))

    def test_frames_wait_for_a_free_instance_and_none_is_left_out(self):
        for instances, batches in ((1, 2), (2, 2)):
            served, _ = self.serve([0.0] * 16, seconds=0.01, instances=instances)
            self.assertEqual((len(served.batches), len(served.latencies)), (batches, 16))
            self.assertAlmostEqual(max(served.latencies), 0.01 * (3 - instances), delta=1e-3)

    def test_latency_counts_from_the_plan_while_the_server_is_late(self):
        served, _ = self.serve([k * 1e-4 for k in range(200)], seconds=0.005)  # 10,000 a second, and it can do 1,600
        self.assertEqual(len(served.latencies), 200)
        self.assertGreater(max(served.latencies), 0.09)

    def test_plans(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "plan")
            path.write_text("# a\n0\n\n0.5 # b\n")
            self.assertEqual(batching.read_plan(path), [0.0, 0.5])
            for text, wanted in (("x\n", "line 1: got 'x'"), ("1\n0.5\n", "line 2"), ("-1\n", "line 1"), ("", "no arrivals")):
                path.write_text(text)
                with self.assertRaisesRegex(SystemExit, wanted):
                    batching.read_plan(path)


class Parts(unittest.TestCase):
    """gpu.py on the CPU, beside a PyTorch that is made up."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.work = self.folder / "work"
        self.python = self.folder / "python"
        self.python.write_text(FAKE_TORCH.format(python=sys.executable, folder=self.folder))
        self.python.chmod(0o755)
        self.give_model()

    def give_model(self):
        """The answer of the model on some input, as PyTorch would give it."""
        (self.folder / "given.onnx").write_bytes(pathlib.Path(MODEL).read_bytes())
        size = 1 << 20
        while True:  # the input's size is the program's to say
            (self.folder / "given.input").write_bytes(bytes(size))
            code, _, errors = run_program(BENCH, MODEL, "--device", "cpu", "--precision", "f32", "--in-flight", 1, "--seconds", 0,
                                          "--input", self.folder / "given.input", "--output", self.folder / "given.want")  # fmt: skip
            if code == 0:
                return
            size *= 4
            self.assertLess(size, 1 << 30, errors)

    def run_gpu(self, *words, code=0):
        command = [sys.executable, HERE / "gpu.py", BUILD, "--json", self.folder / "gpu.json", "--work", self.work, "--python", self.python,
                   "--device", "cpu", "--precision", "auto", "--models", "resnet50", "--seconds", 0.1, "--rounds", 2, *words]  # fmt: skip
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, code, done.stderr)
        path = self.folder / "gpu.json"
        return (json.loads(path.read_text()) if path.exists() else None), done.stderr

    def calls(self, *words):
        path = self.folder / "calls"
        told = path.read_text().splitlines() if path.exists() else []
        return [line for line in told if line.split()[: len(words)] == list(words)]

    def test_every_part_makes_its_rows_and_goes_on_where_it_stopped(self):
        parts = ("export", "ours", "torch", "open", "loading", "costs", "endurance", "report")
        words = ("--count", 1000, "--nodes", 9, "--parts", *parts, "--systems", "torch_compile_graph", "torch_eager_graph")
        result, errors = self.run_gpu(*words)
        found = result["rows"]
        mine = [row for row in found if row.get("model") and row["system"] == "inflight" and "load" not in row]
        self.assertEqual([(r["where"], r["memory"], r["in_flight"]) for r in mine],
                         [(w, "pinned", n) for w in ("device", "host") for n in (1, 2, 4, 8, 16)] + [("host", "pageable", n) for n in (1, 8)])  # fmt: skip
        opened = [(r["system"], r["load"], r["rounds"]) for r in found if "load" in r]
        self.assertEqual(opened, [(s, load, 2) for s in ("inflight", "torch_batching_server") for load in (0.1, 0.5, 0.9)])
        self.assertEqual([(r["tune"], r["time"]) for r in found if "loading" in r], [(t, w) for t in ("fast", "full") for w in ("first", "later", "later")])
        self.assertTrue(all(r["counted"] for r in found if "endurance" in r))
        self.assertIn("submit", [r.get("cost") for r in found])
        # A process that fails says so, and its rows stay.
        self.assertIn("python ended with 7", [r.get("ended") for r in found])
        self.assertEqual(len([r for r in found if r.get("model") and r["system"] == "torch_eager_graph"]), 8)
        self.assertEqual([(r["where"], r["peer"]) for r in result["ratios"]], [("device", "torch_compile_graph"), ("host", "torch_compile_graph")])
        before = len(self.calls("measure"))
        again, errors = self.run_gpu(*words)
        self.assertEqual(len(self.calls("measure", "resnet50", "torch_compile_graph")), 2, errors)
        self.assertEqual(len(self.calls("measure")), before + 2, "what failed is tried again, and nothing else")
        self.assertEqual(len(again["rows"]), len(found))
        self.assertIn("resnet50", report.gpu(again))

    def test_a_part_that_hangs_costs_its_limit_and_no_more(self):
        began = time.monotonic()
        words = ("--parts", "export", "torch", "report", "--systems", "torch_eager", "torch_compile_graph", "--limit-s", 10)
        result, errors = self.run_gpu(*words)
        self.assertLess(time.monotonic() - began, 100)
        self.assertIn("it took longer than 10 s", [row.get("ended") for row in result["rows"]], errors)
        self.assertEqual(len([row for row in result["rows"] if row.get("system") == "torch_compile_graph" and "model" in row]), 8)
        hung = len(self.calls("measure", "resnet50", "torch_eager"))
        self.run_gpu(*words)
        self.assertEqual(len(self.calls("measure", "resnet50", "torch_eager")), hung)

    def test_the_deadline_ends_all_and_what_was_under_way_begins_anew(self):
        words = ("--parts", "export", "ours", "torch", "report", "--systems", "torch_eager")
        self.run_gpu("--parts", "export", "ours")
        for tries in (1, 2):
            _, errors = self.run_gpu(*words, "--deadline-s", 12, code=3)
            self.assertIn("out of time", errors)
            self.assertEqual(len(self.calls("measure", "resnet50", "torch_eager", "1")), tries)

    def test_wrong_outputs_are_not_timed(self):
        want = self.folder / "given.want"
        want.write_bytes(bytes(byte ^ 0x10 for byte in want.read_bytes()))
        result, _ = self.run_gpu("--parts", "export", "ours", "report")
        self.assertIn("nothing was timed", next(row["ended"] for row in result["rows"] if "ended" in row))
        self.assertEqual([row for row in result["rows"] if "model" in row], [])

    def test_without_torch_only_ours_is_measured(self):
        _, errors = self.run_gpu("--parts", "export", "torch", "report", "--python", "/nowhere/python")
        self.assertIn("/nowhere/python has no torch", errors)
        result, errors = self.run_gpu("--parts", "ours", "report", "--python", "/nowhere/python")
        self.assertIn("run the part export first", next(row["ended"] for row in result["rows"] if "ended" in row))


class RowsAndRatios(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "rows.jsonl"

    def test_a_line_that_was_cut_off_is_forgotten(self):
        self.path.write_text('{"part": "a", "at": "x", "n": 1}\n{"part": "a", "at"')
        with contextlib.redirect_stdout(io.StringIO()):
            store = rows.Rows(self.path, "y")
            store.add("b", {"n": 2})
        self.assertEqual([json.loads(line)["n"] for line in self.path.read_text().splitlines()], [1, 2])

    def row(self, system, in_flight, batch=1, at="m", rate=1.0, p50=1.0, p99=1.0, **more):
        return {"at": at, "model": "resnet50", "system": system, "where": "device", "in_flight": in_flight, "batch": batch,
                "rate": rate, "p50_us": p50, "p99_us": p99, **more}  # fmt: skip

    def test_ratios_are_of_one_machine_and_the_best_peer(self):
        found = [
            self.row("inflight", 1, p50=3.0), self.row("inflight", 8, rate=30.0, p99=4.0),
            self.row("torch_compile_graph", 1, p50=6.0), self.row("torch_compile_graph", 8, rate=10.0, p99=8.0),
            self.row("torch_compile_graph", 1, batch=8, rate=15.0), self.row("torch_compile_graph", 2, batch=8, rate=20.0),
            self.row("torch_autotune_graph", 8, at="other", rate=100.0),
            self.row("inflight", 8, rate=1.0, memory="pageable"), self.row("inflight", 8, rate=1.0, load=0.5),
        ]  # fmt: skip
        self.assertEqual(rows.ratios(found), [{"model": "resnet50", "where": "device", "peer": "torch_compile_graph", "latency_1": 0.5,
                                               "rate_8": 3.0, "rate_8_over_batches": 2.0, "rate_8_over_two_batches": 1.5, "p99_8": 0.5}])  # fmt: skip
        self.assertEqual(rows.ratios(found[:2]), [{"model": "resnet50", "where": "device", "peer": None}])
        # Ours on the other machine, too: a line for each peer, and of two machines with one peer the last.
        found += [self.row("inflight", 8, at="other", rate=150.0), self.row("inflight", 8, at="last", rate=50.0), self.row("torch_compile_graph", 8, at="last", rate=25.0)]
        told = [(row["peer"], row["rate_8"]) for row in rows.ratios(found)]
        self.assertEqual(told, [("torch_compile_graph", 2.0), ("torch_autotune_graph", 1.5)])

    def test_each_machine_has_a_table(self):
        found = [self.row("inflight", 8), self.row("inflight", 1, memory="pageable"), self.row("torch_compile_graph", 8), self.row("inflight", 8, at="other")]
        tables = []
        gpu_report.models({"rows": found}, lambda head, body: tables.append((head[0], [line[0] for line in body])) or "", str)
        self.assertEqual(tables, [("resnet50, machine 1", ["inflight", "inflight, pageable", "torch_compile_graph"]), ("resnet50, machine 2", ["inflight"])])

    def test_goals_know_their_models(self):
        self.assertTrue(rows.meets("rate_8", "resnet50", 3.0))
        self.assertFalse(rows.meets("latency_1", "resnet50", 0.66))
        self.assertIsNone(rows.meets("rate_8", "detector", 3.0))

    def test_what_a_sanitizer_says(self):
        log = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 3 errors\n"
        self.assertEqual(sanitizer.parse(log, "[  PASSED  ] 12 tests.\n"), {"errors": 3, "kernels": [], "tests_passed": 12, "tests_failed": 0})
        log = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        output = "[  FAILED  ] A.B (3 ms)\n[  PASSED  ] 1 test.\n[  FAILED  ] A.B\n"
        self.assertEqual(sanitizer.parse(log, output), {"errors": 0, "kernels": [], "tests_passed": 1, "tests_failed": 1})
        self.assertEqual(sanitizer.parse("", ""), {"errors": None, "kernels": [], "tests_passed": None, "tests_failed": 0})
        log = (
            "========= Error: Race reported between Read access at scale+0x2e0\n=========     and Write access at attend+0x3c40 [8 hazards]\n"
            "========= Invalid __global__ read of size 4 bytes\n=========     at run(float*, int)+0x90\n=========     Host Frame: launch [0x12]\n"
            "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n"
        )
        self.assertEqual(sanitizer.parse(log, ""), {"errors": 1, "kernels": ["attend", "run", "scale"], "tests_passed": None, "tests_failed": 0})

    def test_a_sanitizer_runs_the_tests_in_processes_and_makes_one_row(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            calls = folder / "calls"
            scripts = {
                "compute-sanitizer": FAKE_SANITIZER.format(python=sys.executable, calls=calls),
                "cuda_device_test": FAKE_TESTS,
                "cuda_backend_test": FAKE_TESTS.replace("Hangs", "Two"),
            }
            for name, text in scripts.items():
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
            arguments = argparse.Namespace(work=folder, build=folder, python=sys.executable, again=False, deadline_s=None, limit_s=5)
            bench = gpu.Bench(arguments, "here")
            with unittest.mock.patch.dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"), contextlib.redirect_stdout(io.StringIO()):
                with contextlib.redirect_stderr(io.StringIO()), unittest.mock.patch.object(sanitizer, "PROCESSES", 2):
                    sanitizer.sanitize(bench, lambda build, name: build / name)
            found = {(row["sanitizer"], row["program"]): row for row in bench.rows.rows if "sanitizer" in row}
            self.assertEqual(len(found), 4)
            # Two processes share out the four tests; the one that hangs and the one that crashes are in the other's.
            own = found["memcheck", "cuda_device_test"]
            self.assertEqual((own["processes"], own["errors"], own["tests_passed"], own["tests_failed"], own["silent"]), (2, 1, 2, 0, 1))
            self.assertIn(":CudaSlot.SaysHowMuchMemoryWasWantedAndGoesOn", own["tests"])
            # One hangs and one crashes; the others run, and what they found is added up.
            own = found["racecheck", "cuda_device_test"]
            self.assertEqual((own["processes"], own["errors"], own["tests_passed"], own["tests_failed"], own["silent"]), (4, 2, 4, 0, 2))
            told = calls.read_text().splitlines()
            ran = sorted(line.split("=")[1] for line in told if "racecheck" in line and "cuda_device_test" in line)
            self.assertEqual(ran, ["All/CudaAttention.Agrees/0", "All/CudaAttention.Crashes/1", "CudaSlot.Hangs", "CudaSlot.One"])
            ran = sorted(line.split("=")[1] for line in told if "memcheck" in line and "cuda_device_test" in line)
            self.assertEqual(ran, ["CudaSlot.Hangs:All/CudaAttention.Crashes/1", "CudaSlot.One:All/CudaAttention.Agrees/0"])
            ended = bench.rows.how_ended("sanitizer-racecheck-cuda_device_test")
            self.assertEqual(ended, "it took longer than 5 s: CudaSlot.Hangs; sh ended with 3: All/CudaAttention.Crashes/1")
            told = gpu_report.other_goals({"rows": bench.rows.rows}, lambda head, body: str(body), str)
            self.assertIn("2 errors, no word of 2 of 4 processes, in `run`; 4 tests passed", told)

    def test_the_names_of_tests(self):
        listed = "Running main()\nA.\n  B\n  C  # GetParam() = 4-byte object\nAll/D.  # TypeParam = int\n  E/0\n"
        self.assertEqual(sanitizer.names_of(listed), ["A.B", "A.C", "All/D.E/0"])
        self.assertEqual(sanitizer.names_of(""), [])

    def test_what_a_sanitizer_runs_is_there(self):
        for program, tests in sanitizer.TESTS.items():
            path = gpu.find_test(BUILD, program)
            if path is None:
                self.skipTest(f"{program} is not built")
            for pattern in ":".join(tests.values()).replace("-", "").split(":"):
                self.assertTrue(sanitizer.tests_of(path, pattern), f"{program} has no {pattern}")

    def test_the_words_of_gpu(self):
        for words in (["--parts", "none"], ["--seconds", "0"], ["--limit-s", "-1"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                sys.argv = ["gpu.py", "build", *words]
                gpu.arguments_of()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:])
