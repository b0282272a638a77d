# SPDX-License-Identifier: Apache-2.0
"""Measures the main job from outside: `inflight run` on the synthetic source, below and above what the machine does,
and the cost of a poll. Writes one JSON object; `./dev bench-report` makes tables of bench/results/*.json.

usage: main_job.py BUILD_FOLDER [--json FILE] [--repetitions N] [--seconds S]
The scenarios take turns, so that a machine that drifts drifts for all of them. Timing leaves nothing out: latency
counts from the moment at which a frame was due, submit from call to return.
"""

import json
import pathlib
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

SCENARIOS = {
    "60 fps": ["--fps", "60"],
    "500 fps": ["--fps", "500"],
    "5,000 fps, reject": ["--fps", "5000", "--policy", "reject"],
    "as fast as accepted": ["--fps", "0"],
}


def run_once(build, words, seconds):
    result = environment.inflight(build, "run", *words, "--duration", seconds, "--limit", 8)
    environment.check_outcomes(result, result["submitted"])
    return result


def row(name, runs):
    def middle(pick):
        return round(statistics.median(pick(run) for run in runs), 2)

    return {
        "scenario": name,
        "repetitions": len(runs),
        "submitted": middle(lambda r: r["submitted"]),
        "completed": middle(lambda r: r["completed"]),
        "rejected": middle(lambda r: r["rejected"]),
        "in_flight_max": max(run["in_flight_max"] for run in runs),
        "completed_per_s": middle(lambda r: r["fps"]),
        "latency_p50_us": middle(lambda r: r["latency_us"]["p50"]),
        "latency_p99_us": middle(lambda r: r["latency_us"]["p99"]),
        "submit_p50_us": middle(lambda r: r["submit_us"]["p50"]),
        "submit_p99_us": middle(lambda r: r["submit_us"]["p99"]),
        "submit_p99_us_worst": max(run["submit_us"]["p99"] for run in runs),
        "accuracy": min(run["accuracy"] for run in runs),
        "peak_mb": middle(lambda r: r["peak_mb"]),
    }


def polls(build, repetitions):
    """Median ns a look, by name."""
    repetitions = max(repetitions, 2)  # of a single one Google Benchmark gives no median
    command = [build / "bench/poll/bench_poll", "--benchmark_format=json", "--benchmark_min_time=0.2"]
    command += [f"--benchmark_repetitions={repetitions}", "--benchmark_enable_random_interleaving=true"]
    command += ["--benchmark_report_aggregates_only=true"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [
        {"poll": b["run_name"], "ns": round(b["cpu_time"], 3), "repetitions": repetitions}
        for b in report["benchmarks"]
        if b["aggregate_name"] == "median"
    ]


def main():
    parser = environment.parser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    runs = {name: [] for name in SCENARIOS}
    for _ in range(arguments.repetitions):
        for name, words in SCENARIOS.items():
            runs[name].append(run_once(arguments.build, words, arguments.seconds))
    result = {
        **environment.head("main_job"),
        "seconds": arguments.seconds,
        "rows": [row(name, results) for name, results in runs.items()],
        "polls": polls(arguments.build, arguments.repetitions),
    }
    environment.publish(result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
