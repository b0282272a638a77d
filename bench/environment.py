# SPDX-License-Identifier: Apache-2.0
"""What a benchmark was run on and of: the head of every file in bench/results/."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def commit():
    git = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    try:
        return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    except OSError:  # a machine to which only the programs were brought
        return "unknown"


def pinned():
    """Versions by name, of what dependencies.txt pins exactly."""
    words = [line.split() for line in (ROOT / "dependencies.txt").read_text().splitlines()]
    return {word[1]: word[2] for word in words if len(word) == 3 and word[0] in ("pypi", "peer")}


def head(benchmark):
    return {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "versions": {"linux": platform.release(), "openvino": pinned()["openvino"]},
    }


def resident_kb(process):
    """Its memory in RAM, in KiB."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return None  # it has just ended


def parser():
    """What every benchmark is called with: the build folder, and where its result goes."""
    words = argparse.ArgumentParser()
    words.add_argument("build", type=pathlib.Path)
    words.add_argument("--json", type=pathlib.Path)
    return words


def inflight(build, *words):
    """What `inflight WORDS --json FILE` writes, and "peak_mb", its memory in RAM at most. Ends the program if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "result.json"
        command = [str(word) for word in (build / "src/cli/inflight", *words, "--json", path)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
        return {**json.loads(path.read_text()), "peak_mb": usage.ru_maxrss / 1024}


OUTCOMES = ("completed", "failed", "rejected", "dropped", "expired", "cancelled", "in_flight")


def check_outcomes(statistics, submitted):
    """Ends the program unless every submission has exactly one outcome."""
    if submitted != sum(statistics[outcome] for outcome in OUTCOMES):
        raise SystemExit(f"the law of outcomes does not hold: {statistics}")


def check_bench_row(row):
    """The same of a row of `inflight bench`, which says of a closed loop how many were kept in flight; at its end none is."""
    check_outcomes({**row, "in_flight": 0}, row["planned"])


def publish(result, path):
    """Prints a benchmark's result, and writes it to the path, if there is one."""
    text = json.dumps(result, indent=2)
    print(text)
    if path:
        path.write_text(text + "\n")
