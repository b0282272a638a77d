# SPDX-License-Identifier: Apache-2.0
"""The tests of the device under NVIDIA's compute-sanitizer, as rows."""

import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys

from rows import Failed, OutOfTime

# The tests of each program (a filter of GoogleTest) under each tool. What is left out of memcheck: measurements, the test
# that asks for more memory than there is, which the tool counts as an error as it does every call that fails, and the
# test that counts the free memory of the device, of which the processes beside it take.
# racecheck looks at shared memory alone: at attention, the copies of a launch, and what the backend generates. The tools
# want a program that calls the device: those of CudaBackend do not.
TESTS = {
    "cuda_device_test": {
        "memcheck": "-CudaSpeed.*:CudaSlot.SaysHowMuchMemoryWasWantedAndGoesOn:CudaSlot.FreesWhatItTook",
        "racecheck": "*CudaAttention.*:*CudaMemory.*:CudaSlot.CopiesOddSizesAtOddAddresses",
    },
    "cuda_backend_test": {"memcheck": "-CudaBackend.*", "racecheck": "*AgreesWithTheCpu*:CudaArrays.*"},
}
# The host's part of a test under a tool takes minutes, so processes run side by side.
PROCESSES = 8
# A process of its own for each test; the others share out the tests of a program.
ONE_BY_ONE = ("racecheck",)
# A launch takes a hundred times as long.
ENVIRONMENT = {"INFLIGHT_CUDA_WATCHDOG_S": "600"}
FOUND = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards? displayed)")
KERNEL = re.compile(r"\bat (\w+)(?:\(.*\))?\+0x")


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
    """What the tool found and in which kernels, and how many tests passed; None where it does not say."""
    found = FOUND.findall(log)
    passed = re.search(r"\[  PASSED  \] (\d+) test", output)
    return {"errors": int(found[-1]) if found else None, "kernels": sorted(set(KERNEL.findall(log))), "tests_passed": int(passed[1]) if passed else None,
            "tests_failed": len(set(re.findall(r"\[  FAILED  \] (\w+\.\w+)", output)))}  # fmt: skip


def sanitize(bench, find_test):
    tool = find(bench.arguments.python)
    if tool is None:
        print("gpu.py: sanitizer: compute-sanitizer is not found: nothing was checked", file=sys.stderr)
        return
    for program, tests in TESTS.items():
        path = find_test(bench.arguments.build, program)
        if path is None:
            print(f"gpu.py: sanitizer: no {program} in {bench.arguments.build}", file=sys.stderr)
            continue
        for kind, wanted in tests.items():
            bench.part(f"sanitizer-{kind}-{program}", run_one, bench, tool, kind, path, wanted)


def names_of(listed):
    """The tests in what --gtest_list_tests prints: a suite, which ends in a full stop, then its tests, indented."""
    names, suite = [], None
    for line in listed.splitlines():
        word = line.split("#")[0].strip()
        if line[:1].isspace() and suite and word:
            names.append(suite + word)
        elif word.endswith(".") and " " not in word:
            suite = word
    return names


def tests_of(path, tests):
    """The names of the tests of a program that a filter selects."""
    command = [str(path), "--gtest_list_tests", f"--gtest_filter={tests}"]
    return names_of(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)


def filters(path, kind, tests):
    """The filters of the processes that run these tests. A program that names none gets them all at once."""
    names = tests_of(path, tests)
    count = len(names) if kind in ONE_BY_ONE else min(PROCESSES, len(names))
    return [":".join(names[first::count]) for first in range(count)] or [tests]


def summed(found):
    """One row of several processes. Those without a summary are counted, and add nothing."""
    row = {"processes": len(found), "silent": sum(one["errors"] is None for one in found)}
    for key in ("errors", "tests_passed", "tests_failed"):
        told = [one[key] for one in found if one[key] is not None]
        row[key] = sum(told) if told else None
    row["kernels"] = sorted({kernel for one in found for kernel in one["kernels"]})
    return row


def run_one(part, bench, tool, kind, path, tests):
    """Every process runs, whatever becomes of the others."""

    def run(number, only):
        """What it found, and why it did not end well."""
        log, output = (bench.arguments.work / f"{part}-{number}.{end}" for end in ("log", "txt"))
        for file in (log, output):
            file.unlink(missing_ok=True)  # of an earlier run
        # It exits with 0 whatever the tests say: the log and the output tell.
        command = [tool, "--tool", kind, "--log-file", log, path, f"--gtest_filter={only}"]
        why = None
        try:
            bench.lines(["sh", "-c", 'out=$1; shift; exec "$@" >"$out" 2>&1', "sh", output, *command], env=ENVIRONMENT)
        except (Failed, OutOfTime) as failure:
            why = failure
        return parse(*(file.read_text(errors="replace") if file.exists() else "" for file in (log, output))), why

    wanted = filters(path, kind, tests)
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        ended = list(pool.map(run, range(len(wanted)), wanted))
    bench.rows.add(part, {"sanitizer": kind, "program": path.name, "tests": tests, **summed([found for found, _ in ended])})
    if any(isinstance(why, OutOfTime) for _, why in ended):
        raise OutOfTime
    failures = [f"{why}: {only}" for only, (_, why) in zip(wanted, ended, strict=True) if why is not None]
    if failures:
        raise Failed("; ".join(failures))
