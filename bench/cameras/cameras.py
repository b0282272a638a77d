# SPDX-License-Identifier: Apache-2.0
"""Measures cameras side by side on the embedded classifier: 60 that together need 80 % of the machine, under
keep-latest, and four at 30 frames a second.

usage: cameras.py BUILD_FOLDER [--json FILE] [--seconds S]
What the machine does is measured first, with the same 60 sources, each as fast as its frames are accepted.
"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import environment

SHARE = 0.8


def run(build, cameras, fps, policy, seconds):
    result = environment.inflight(build, "run", "--streams", cameras, "--fps", f"{fps:g}", "--policy", policy, "--duration", seconds)
    environment.check_outcomes(result, result["submitted"])
    return result


def row(result, fps, policy):
    streams = result["streams"]
    completed = [stream["completed"] for stream in streams]
    return {
        "cameras": len(streams),
        "fps": fps,
        "policy": policy,
        "completed_per_s": result["fps"],
        "submitted": result["submitted"],
        "completed": result["completed"],
        "rejected": result["rejected"],
        "dropped": result["dropped"],
        "completed_least": min(completed),
        "completed_most": max(completed),
        "frame_us": None if fps == 0 else round(1e6 / fps, 1),
        "age_p99_us_worst": max(stream["age_us"]["p99"] for stream in streams),
        "submit_p99_us": result["submit_us"]["p99"],
    }


def main():
    parser = environment.parser()
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    rows = []
    for cameras, fps, policy in ((60, 0, "block"), (60, None, "keep-latest"), (4, 30, "reject")):
        fps = round(SHARE * rows[0]["completed_per_s"] / cameras, 2) if fps is None else fps
        rows.append(row(run(arguments.build, cameras, fps, policy, arguments.seconds), fps, policy))
    environment.publish({**environment.head("cameras"), "seconds": arguments.seconds, "rows": rows}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
