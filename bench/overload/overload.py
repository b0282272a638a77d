# SPDX-License-Identifier: Apache-2.0
"""Measures what an overload leaves of a model's rate: a closed loop that keeps 8 in flight, then as long at --rate
arrivals a second, Poisson, with a limit of 8. Writes what `inflight bench` measured, and the resident memory meanwhile.

usage: overload.py BUILD_FOLDER --model FILE --rate N [--seconds S] [--json FILE]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

SAMPLE_EACH_S = 30


def main():
    parser = environment.parser()
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--rate", required=True, type=float, help="ten times what the machine does, say")
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "bench.json"
        command = [arguments.build / "src/cli/inflight", "bench", arguments.model, "--in-flight", "8", "--plan", "poisson"]
        command += ["--rates", f"{arguments.rate:g}", "--limit", "8", "--precision", "f32", "--duration", str(arguments.seconds), "--json", path]
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
        resident = []
        while process.poll() is None:
            if kb := environment.resident_kb(process):
                resident.append({"second": round(time.monotonic() - began), "resident_kb": kb})
            try:
                process.wait(SAMPLE_EACH_S)
            except subprocess.TimeoutExpired:
                pass
        if process.returncode != 0:
            raise SystemExit(f"overload: inflight bench: exit {process.returncode}")
        rows = json.loads(path.read_text())["rows"]
    for row in rows:
        row["model"] = arguments.model.stem
        environment.check_bench_row(row)
    environment.publish({**environment.head("overload"), "seconds": arguments.seconds, "rows": rows, "memory": resident}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
