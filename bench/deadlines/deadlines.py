# SPDX-License-Identifier: Apache-2.0
"""Measures what predictive admission is worth: twice what a model completes, Poisson arrivals, each with a deadline of three
service times (of a launch while all slots are busy). `refuse_late` takes turns with admitting all, of which some expire.
Writes what `inflight bench` measured, on the same plans.

usage: deadlines.py BUILD_FOLDER --model FILE [--seconds S] [--rounds N] [--json FILE]
"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

OVERLOAD = 2
SERVICE_TIMES = 3
POLICIES = {"admit all": [], "refuse late": ["--refuse-late"]}


def measure(arguments, *words):
    words = ("--precision", "f32", "--in-flight", 16, "--duration", arguments.seconds, *words)
    return environment.inflight(arguments.build, "bench", arguments.model, *words)["rows"]


def main():
    parser = environment.parser()
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    flood = measure(arguments, "--loads", 5)[0]
    threads, capacity = flood["threads"], flood["completed_per_s"]
    service_ms = 1e3 * threads / capacity
    rows = []
    for turn in range(arguments.rounds):
        for policy, words in POLICIES.items():
            found = measure(arguments, "--rates", f"{OVERLOAD * capacity:.3f}", "--seed", turn + 1,
                            "--deadline-ms", f"{SERVICE_TIMES * service_ms:.3f}", *words)[-1]  # fmt: skip
            environment.check_bench_row(found)
            rows.append({**found, "model": arguments.model.stem, "policy": policy, "round": turn})
    head = {**environment.head("deadlines"), "seconds": arguments.seconds, "capacity": capacity, "service_ms": round(service_ms, 3)}
    environment.publish({**head, "deadline_ms": round(SERVICE_TIMES * service_ms, 3), "rows": rows}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
