# SPDX-License-Identifier: Apache-2.0
"""What calls from Python cost, beside the same from C++, OpenVINO's AsyncInferQueue, ONNX Runtime's run_async, NumPy and MXNet 1.9.1.

usage: python.py BUILD_FOLDER [--json FILE] [--rounds N] [--seconds S]
Each system is a process of its own and waits while another is measured; they take turns, round by round. The classifiers'
outputs are compared before anything is timed. Rows: {"what", "system", "ns", "p50_us", "p99_us", "rate"}.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

HERE = pathlib.Path(__file__).resolve().parent
TITLES = {
    "submission": "a submission",
    "look": "a look (can_read)",
    "look_at_mx_array": "a look at an mx array",
    "submit_and_wait": "a submission and a wait",
    "rate_1": "frames per second, 1 in flight",
    "rate_8": "frames per second, 8 in flight",
    "small_operator": "a + b on f32[10,10], waited for",
    "operators_in_a_row": "20 of these in a row, waited for",
    "x_plus_1": "x + 1 on f32[3,640,480], waited for",
    "bind_and_forward": "symbol, bind and forward",
}


class Worker:
    def __init__(self, system, command, build):
        path = str(build / "python") if system == "inflight" else ""
        self.system = system
        self.process = subprocess.Popen(
            [*command, environment.ROOT / "models" / "shapes.onnx"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, "MXNET_SUBGRAPH_VERBOSE": "0"},
        )  # fmt: skip
        told = self.process.stdout.readline()
        if not told:
            raise SystemExit(f"python: {system} did not start")
        told = json.loads(told)
        self.whats, self.scores = told["whats"], told["scores"]

    def measure(self, what, seconds):
        self.process.stdin.write(f"{what} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"python: {self.system} failed at {what}")
        return json.loads(line)


def commands(build):
    """What starts each system's worker; peers that are not installed are left out, and named."""
    venvs = build.parent
    found = {name: [venvs / "venv/bin/python", HERE / "worker.py", name] for name in ("inflight", "numpy", "openvino")}
    found["inflight_cpp"] = [build / "bench/python/bench_python_worker"]
    for name, folder in (("onnxruntime", "bench-venv"), ("mxnet", "oracle-venv")):
        interpreter = venvs / folder / "bin/python"
        there = interpreter.exists() and subprocess.run([interpreter, "-c", f"import {name}" if name != "mxnet" else ""]).returncode == 0
        if there:
            found[name] = [interpreter, HERE / "worker.py", name]
        else:
            print(f"python: {name} is not in build/{folder}; left out", file=sys.stderr)
    return found


def check_scores(workers):
    ours = next(worker.scores for worker in workers if worker.system == "inflight")
    for worker in workers:
        if worker.scores is not None and max(abs(a - b) for a, b in zip(ours, worker.scores)) > 1e-3:
            raise SystemExit(f"python: {worker.system} has other scores: {worker.scores}, want {ours}")


def row(what, system, values):
    if what.startswith("rate"):
        rate = statistics.median(values)
        return {"what": TITLES[what], "system": system, "ns": round(1e9 / rate), "p50_us": None, "p99_us": None, "rate": round(rate, 1)}
    took = sorted(one for round_ in values for one in round_)
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
    return {
        "what": TITLES[what], "system": system, "ns": round(p50 * 1e9, 1), "p50_us": round(p50 * 1e6, 3),
        "p99_us": round(p99 * 1e6, 3), "rate": round(1 / p50, 1),
    }  # fmt: skip


def main():
    parser = environment.parser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    arguments = parser.parse_args()
    workers = [Worker(system, command, arguments.build.resolve()) for system, command in commands(arguments.build.resolve()).items()]
    check_scores(workers)
    taken = {}
    for _ in range(arguments.rounds):
        for what in TITLES:
            for worker in workers:
                if what in worker.whats:
                    taken.setdefault((what, worker.system), []).append(worker.measure(what, arguments.seconds))
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()
    head = environment.head("python")
    head["versions"] |= {name: environment.pinned()[name] for name in ("mxnet", "onnxruntime", "numpy")}
    result = {**head, "rounds": arguments.rounds, "rows": [row(*key, values) for key, values in taken.items()]}
    environment.publish(result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
