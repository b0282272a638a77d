# SPDX-License-Identifier: Apache-2.0
"""Runs the forum's program and checks what it promises.

usage: forum_async_predictions_test.py SANITIZERS PROGRAM [ARGS]
Under a sanitizer (SANITIZERS is not "") nothing is said of rates and times.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

SECONDS = 2
LIMIT = 3


def run(command, sanitizers, fps):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "told.json"
        options = ["--duration", str(SECONDS), "--fps", str(fps), "--limit", str(LIMIT), "--json", str(file)]
        done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
        told = json.loads(file.read_text())
    print(told)
    assert json.loads(done.stdout.splitlines()[-1]) == told
    assert told["submitted"] == told["completed"] + told["refused"], "the law of outcomes"
    assert told["completed"] > 0
    assert done.stdout.count("Too many requests\n") == told["refused"]
    assert done.stdout.count("result ") == told["completed"]
    # x + 1 of numbers from 0 to before 1.
    assert all(1 <= float(line.split()[-1]) < 2 for line in done.stdout.splitlines() if line.startswith("result "))
    # No call waits for a prediction. A single long one may be the machine's.
    assert sanitizers or told["call_us"]["p99"] < 1000, "a call blocked"
    return told


def main():
    sanitizers, *command = sys.argv[1:]
    run(command, sanitizers, 30)
    assert run(command, sanitizers, 2000)["refused"] > 0, "more than a machine can do"
    # On a GPU, or one line that says why not.
    gpu = subprocess.run([*command, "--context", "gpu", "--duration", "1"], capture_output=True, text=True)
    assert gpu.returncode == 0 or (gpu.returncode == 4 and gpu.stderr.count("\n") == 1 and not gpu.stdout), gpu
    bad = subprocess.run([*command, "--network", "other"], capture_output=True, text=True)
    assert bad.returncode == 2 and "usage" in bad.stderr, bad
    return 0


if __name__ == "__main__":
    sys.exit(main())
