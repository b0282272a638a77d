# SPDX-License-Identifier: Apache-2.0
"""Measures the engine beside its peers: what a task costs, how soon an empty one is known to be done, what a look
costs, what a pending one weighs, and what an engine takes that has nothing to do. Writes one JSON object;
`./dev bench-report` makes tables of bench/results/*.json.

usage: engine.py BUILD_FOLDER [--json FILE] [--repetitions N] [--tasks N] [--peers NAME,...] [--workloads NAME,...]
                 [--mxnet LIBRARY]
Each peer has a program, run anew for every workload: it is checked against running the tasks in order, then timed. All
take turns, the programs inside a workload inside a repetition, so that a machine that drifts drifts for all of them.
A peer that is not installed is left out, with a line that says so.
"""

import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

GRAPHS = ("independent", "chain", "64_variables", "1_writer_8_readers", "random_dag")
LATENCIES = ("latency_spin", "latency_park", "latency_idle_park")
POLLS = ("poll_0_pending", "poll_10000_pending")
PROGRAMS = ("inflight", "openmp", "onetbb", "std_async", "starpu", "mxnet", "openvino", "futex")
PACKAGES = {"onetbb": "libtbb-dev", "starpu": "libstarpu-dev", "openmp": "a compiler with OpenMP"}
NUMBERS = ("ns_per_task", "push_ns", "p50_ns", "p99_ns", "bytes_per_task", "idle_percent")
LIMIT_S = 300


def say(text):
    print(f"engine: {text}", file=sys.stderr)


def find_mxnet(build):
    found = sorted((build.parent / "mxnet-venv").glob("lib/python3*/site-packages/mxnet/libmxnet.so"))
    return found[0] if found else None


def find_peers(build, mxnet):
    """(program, name of the peer), in the order in which they take turns."""
    peers = []
    for name in PROGRAMS:
        program = build / "bench/engine" / f"bench_engine_{name}"
        if not program.exists():
            say(f"no {name}: {PACKAGES.get(name, 'its program')} is not installed; left out")
        elif name == "mxnet" and mxnet is None:
            say("no mxnet: bench/engine/install_mxnet.sh has not been run; left out")
        else:
            listed = subprocess.run([program, "list"], check=True, capture_output=True, text=True).stdout
            peers += [(program, peer) for peer in listed.splitlines()]
    return peers


def plan(tasks):
    """(workload, threads, tasks)"""
    threads = sorted({1, min(2, os.cpu_count()), os.cpu_count()})
    steps = [(workload, count, tasks) for workload in GRAPHS for count in threads]
    steps += [(workload, 1, 500 if workload == "latency_idle_park" else 5_000) for workload in LATENCIES]
    steps += [(workload, 1, 0) for workload in POLLS]
    # Those of `idle` are milliseconds.
    return [*steps, ("pending", 1, 1_000_000), ("idle", os.cpu_count(), 10_000)]


def run_once(program, peer, workload, threads, tasks, mxnet):
    command = [program, peer, workload, str(threads), str(tasks), str(mxnet or "")]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"skipped": f"took more than {LIMIT_S} s"}
    if process.returncode != 0:
        raise SystemExit(f"engine: {peer}, {workload}, {threads} threads: exit {process.returncode}: {process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def row(workload, peer, threads, runs):
    result = {"workload": workload, "peer": peer, "threads": threads}
    for key in NUMBERS:
        values = [run[key] for run in runs if run[key] is not None]
        result[key] = round(statistics.median(values), 3) if values else None
    headline = "p50_ns" if workload in LATENCIES else "idle_percent" if workload == "idle" else "ns_per_task"
    result["best"] = min(run[headline] for run in runs)
    result["worst"] = max(run[headline] for run in runs)
    result["tasks"] = runs[0]["tasks"]
    result["repetitions"] = len(runs)
    return result


def measure(peers, arguments):
    runs = collections.defaultdict(list)
    refused = {}
    steps = [step for step in plan(arguments.tasks) if not arguments.workloads or step[0] in arguments.workloads]
    for repetition in range(arguments.repetitions):
        for workload, threads, tasks in steps:
            if workload == "idle" and repetition > 0:
                continue  # long, and a mean already
            say(f"repetition {repetition + 1} of {arguments.repetitions}: {workload}, {threads} threads")
            for program, peer in peers:
                key = (workload, peer, threads)
                if key in refused:
                    continue
                run = run_once(program, peer, workload, threads, tasks, arguments.mxnet)
                if "skipped" in run:
                    refused[key] = run["skipped"]
                else:
                    runs[key].append(run)
    order = [(workload, peer, threads) for workload, threads, _ in steps for _, peer in peers]
    rows = [row(*key, runs[key]) for key in order if key in runs]
    skipped = [{"workload": w, "peer": p, "threads": t, "why": why} for (w, p, t), why in refused.items()]
    return rows, skipped


def package(name):
    query = ["dpkg-query", "-W", "-f", "${Version}", name]
    try:
        return subprocess.run(query, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def peer_versions(mxnet):
    found = {"mxnet": environment.pinned()["mxnet"]} if mxnet else {}
    installed = {"onetbb": "libtbb-dev", "starpu": "libstarpu-dev", "libgomp": "libgomp1", "gcc": "g++-12"}
    return found | {name: package(debian) for name, debian in installed.items() if package(debian)}


def main():
    parser = environment.parser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[])
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=[])
    parser.add_argument("--mxnet", type=pathlib.Path, help="libmxnet.so, if not that of build/mxnet-venv")
    arguments = parser.parse_args()
    arguments.mxnet = arguments.mxnet or find_mxnet(arguments.build.absolute())
    peers = find_peers(arguments.build, arguments.mxnet)
    if arguments.peers:
        peers = [(program, peer) for program, peer in peers if peer in arguments.peers]
    load = os.getloadavg()[0]
    rows, skipped = measure(peers, arguments)
    result = environment.head("engine")
    result["versions"] |= peer_versions(arguments.mxnet)
    result |= {
        "load_before": round(load, 2),
        "rows": rows,
        "skipped": skipped,
    }
    environment.publish(result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
