# SPDX-License-Identifier: Apache-2.0
"""Measures how two predictors of different models share one CPU: the rate of each alone and beside the other.

usage: share.py BUILD_FOLDER [--json FILE] [--repetitions N] [--seconds S]
The runs take turns. A predictor's part is its rate beside the other over its rate alone; running the two in turns
would make the parts 1 in sum, whatever the turns.
"""

import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
import environment

WEIGHTS = ("1:1", "2:1", "1:3")


def run(build, seconds, weights):
    command = [build / "bench/share/bench_share", ROOT.parent / "models/shapes.onnx", str(seconds), weights]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = environment.parser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    rounds = []
    for _ in range(arguments.repetitions):
        one = {weights: run(arguments.build, arguments.seconds, weights) for weights in ("1:0", *WEIGHTS, "0:1")}
        rounds.append(one)
    rows = []
    for weights in WEIGHTS:
        # Against the same round's runs alone: a machine that drifts drifts for all of them.
        parts = [(r[weights]["a"] / r["1:0"]["a"], r[weights]["b"] / r["0:1"]["b"]) for r in rounds]
        first, second = (float(word) for word in weights.split(":"))
        rows.append(
            {
                "weights": weights,
                "repetitions": len(rounds),
                "part_a": round(statistics.median(a for a, _ in parts), 4),
                "part_b": round(statistics.median(b for _, b in parts), 4),
                "sum": round(statistics.median(a + b for a, b in parts), 4),
                "sum_least": round(min(a + b for a, b in parts), 4),
                "ratio_over_weights": round(statistics.median(a / b / (first / second) for a, b in parts), 4),
            }
        )
    alone = {
        "a_alone": round(statistics.median(r["1:0"]["a"] for r in rounds), 1),
        "b_alone": round(statistics.median(r["0:1"]["b"] for r in rounds), 1),
    }
    environment.publish({**environment.head("share"), "seconds": arguments.seconds, **alone, "rows": rows}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
