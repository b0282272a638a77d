# SPDX-License-Identifier: Apache-2.0
"""The tests of the device under NVIDIA's compute-sanitizer, as rows."""

import pathlib
import re
import shutil
import subprocess
import sys

TOOLS = ("memcheck", "racecheck")
# What is left out: measurements, and tests that make the device fail on purpose.
PROGRAMS = {"cuda_device_test": "-CudaSpeed.*", "cuda_backend_test": "*"}
# A launch takes a hundred times as long.
ENVIRONMENT = {"INFLIGHT_CUDA_WATCHDOG_S": "600"}
FOUND = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards? displayed)")


def find(python):
    """On PATH, in the toolkit, or among the wheels of a Python that has torch."""
    known = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if known:
        return known
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    try:
        site = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return next((str(path) for path in sorted(pathlib.Path(site).glob("nvidia/**/compute-sanitizer")) if path.is_file()), None)


def parse(log, output):
    """What the tool found, and how many tests passed; None where either does not say."""
    found = FOUND.findall(log)
    passed = re.search(r"\[  PASSED  \] (\d+) test", output)
    return {"errors": int(found[-1]) if found else None, "tests_passed": int(passed[1]) if passed else None,
            "tests_failed": len(set(re.findall(r"\[  FAILED  \] (\w+\.\w+)", output)))}  # fmt: skip


def sanitize(bench, find_test):
    tool = find(bench.arguments.python)
    if tool is None:
        print("gpu.py: sanitizer: compute-sanitizer is not found: nothing was checked", file=sys.stderr)
        return
    for program, tests in PROGRAMS.items():
        path = find_test(bench.arguments.build, program)
        if path is None:
            print(f"gpu.py: sanitizer: no {program} in {bench.arguments.build}", file=sys.stderr)
            continue
        for kind in TOOLS:
            bench.part(f"sanitizer-{kind}-{program}", run_one, bench, tool, kind, path, tests)


def run_one(part, bench, tool, kind, path, tests):
    log, output = (bench.arguments.work / f"{part}.{end}" for end in ("log", "txt"))
    # It exits with 0 whatever the tests say: the log and the output tell.
    command = [tool, "--tool", kind, "--log-file", log, path, f"--gtest_filter={tests}"]
    try:
        bench.lines(["sh", "-c", 'out=$1; shift; exec "$@" >"$out" 2>&1', "sh", output, *command], env=ENVIRONMENT)
    finally:
        texts = [file.read_text(errors="replace") if file.exists() else "" for file in (log, output)]
        bench.rows.add(part, {"sanitizer": kind, "program": path.name, "tests": tests, **parse(*texts)})
