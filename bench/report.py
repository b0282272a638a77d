# SPDX-License-Identifier: Apache-2.0
"""Prints the tables of bench/results/*.json as Markdown; with --write, puts them into README.md between its marks."""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: ./dev bench-report --write -->", "<!-- end of results -->"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main_job(result):
    rows = []
    for r in result["rows"]:
        rows.append(
            [
                r["scenario"],
                number(r["completed_per_s"]),
                number(r["rejected"]),
                str(r["in_flight_max"]),
                f"{number(r['latency_p50_us'])} / {number(r['latency_p99_us'])}",
                f"{number(r['submit_p50_us'])} / {number(r['submit_p99_us'])}",
                number(r["peak_mb"]),
            ]
        )
    head = ["frames", "completed/s", "refused", "most in flight", "latency us, p50 / p99", "submit us, p50 / p99", "peak MB"]
    title = (
        f"The embedded classifier on 640x480 frames, limit 8; {result['machine']}; OpenVINO {result['versions']['openvino']}; "
        f"{result['date']}, commit {result['commit']}; medians of {result['rows'][0]['repetitions']} runs of "
        f"{result['seconds']} s that took turns. Latency counts from when a frame was due. Accuracy was "
        f"{min(r['accuracy'] for r in result['rows']):.2%} in every run."
    )
    looks = table(["one look", "ns"], [[f"`{p['poll']}`", number(p["ns"])] for p in result["polls"]])
    return f"{title}\n\n{table(head, rows)}\n\nWhat a look at a result costs (CPU time, medians):\n\n{looks}"


REPORTS = {"main_job": main_job}


def main():
    parts = []
    for path in sorted((ROOT / "bench/results").glob("*.json")):
        result = json.loads(path.read_text())
        parts.append(REPORTS[result["benchmark"]](result))
    text = "\n\n".join(parts)
    if sys.argv[1:] != ["--write"]:
        print(text)
        return
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
