# SPDX-License-Identifier: Apache-2.0
"""Prints the tables of bench/results/*.json as Markdown; with --write, puts them into README.md between its marks."""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: ./dev bench-report --write -->", "<!-- end of results -->"


SETTLED_S = 60  # from the start of an overload until its memory counts


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


def engine(result):
    rows = result["rows"]

    def cells(peer, columns, value):
        found = {(r["workload"], r["threads"]): r for r in rows if r["peer"] == peer}
        return [value(found[column]) if column in found else "" for column in columns]

    def side_by_side(title, workloads, value):
        columns = sorted(
            {(r["workload"], r["threads"]) for r in rows if r["workload"] in workloads},
            key=lambda column: (workloads.index(column[0]), column[1]),
        )
        several = len({threads for _, threads in columns}) > 1
        head = [title] + [f"{w.replace('_', ' ')}, {t}" if several else w.replace("_", " ") for w, t in columns]
        peers = dict.fromkeys(r["peer"] for r in rows if r["workload"] in workloads)
        return table(head, [[peer, *cells(peer, columns, value)] for peer in peers]) if columns else ""

    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    title = (
        f"The engine and its peers; {result['machine']}; {result['date']}, commit {result['commit']}; load before the "
        f"run {result['load_before']}; {versions}; medians of {max(r['repetitions'] for r in rows)} runs that took "
        "turns. Every outcome was the same as that of running the tasks in order."
    )
    graphs = ["independent", "chain", "64_variables", "1_writer_8_readers", "random_dag"]
    return "\n\n".join(
        part
        for part in [
            title,
            "ns a task, pushed / done, by workload and threads:",
            side_by_side("peer", graphs, lambda r: f"{number(r['push_ns'])} / {number(r['ns_per_task'])}"),
            "Submit to ready of an empty operation, us, p50 / p99 (waiting runs it itself in OpenMP and oneTBB):",
            side_by_side(
                "peer",
                ["latency_spin", "latency_park", "latency_idle_park"],
                lambda r: f"{number(r['p50_ns'] / 1e3)} / {number(r['p99_ns'] / 1e3)}",
            ),
            "One look, ns:",
            side_by_side("peer", ["poll_0_pending", "poll_10000_pending"], lambda r: number(r["ns_per_task"])),
            "All pending at once:",
            table(
                ["peer", "operations", "bytes each", "ns each, pushed / done"],
                [
                    [
                        r["peer"],
                        number(r["tasks"]),
                        number(r["bytes_per_task"]),
                        f"{number(r['push_ns'])} / {number(r['ns_per_task'])}",
                    ]
                    for r in rows
                    if r["workload"] == "pending"
                ],
            ),
            "What an engine that has nothing to do takes of one core, %:",
            side_by_side("peer", ["idle"], lambda r: number(r["idle_percent"])),
        ]
        if part
    )


def engine_16_cores(result):
    rows = result["rows"]
    workloads = list(dict.fromkeys(r["workload"] for r in rows))
    cells = {(r["peer"], r["workload"]): number(r["ns_per_task"]) for r in rows}
    peers = dict.fromkeys(r["peer"] for r in rows)
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    title = (
        f"The engine on many cores: {result['machine']}; {result['date']}, {result['commit']}; {versions}; ns a task, "
        f"16 threads, medians of {rows[0]['repetitions']} runs that took turns:"
    )
    body = [[peer, *[cells.get((peer, workload), "") for workload in workloads]] for peer in peers]
    return f"{title}\n\n{table(['peer', *[w.replace('_', ' ') for w in workloads]], body)}"


def share(result):
    title = (
        f"Two models on one runtime, both flooded: the classifier (a, {number(result['a_alone'])}/s alone) and a dense network "
        f"(b, {number(result['b_alone'])}/s alone); {result['machine']}; {result['date']}, commit {result['commit']}; medians of "
        f"{result['rows'][0]['repetitions']} rounds of {result['seconds']:g} s a run, in turns. A part is a rate over that alone in the "
        "same round; running them in turns would make the sum 1."
    )
    names = ("part_a", "part_b", "sum", "sum_least", "ratio_over_weights")
    body = [[r["weights"], *[f"{r[name]:.2f}" for name in names]] for r in result["rows"]]
    head = ["weights a:b", "part of a", "part of b", "sum", "least sum", "ratio of the parts over that of the weights"]
    return f"{title}\n\n{table(head, body)}"


def load(result):
    """Medians and 99th percentiles by load, a table for each model and precision."""
    rows = result["rows"]
    names = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "mxnet": "MXNet"}
    versions = ", ".join(f"{names[name]} {version}" for name, version in result["versions"].items() if name in names)
    parts = [
        f"Latency under load, ms from the planned arrival, p50 / p99; {result['machine']}; {versions}; "
        f"{result['date']}, commit {result['commit']}; Poisson arrivals, {result['seconds']:g} s a run; "
        "the load is a share of what OpenVINO's THROUGHPUT hint completes. All systems took turns on the same plans. A dash: more "
        "frames were missed than the quantile allows."
    ]

    def ms(value):
        return "-" if value is None else number(value)

    for model, precision in dict.fromkeys((r["model"], r["precision"]) for r in rows):
        own = [r for r in rows if (r["model"], r["precision"]) == (model, precision)]
        closed = sorted({r["in_flight"] for r in own if r["plan"] == "closed"})
        loads = sorted({round(r["load"], 4) for r in own if r["plan"] == "poisson"})
        body = []
        for system in dict.fromkeys(r["system"] for r in own):
            cells = {("closed", r["in_flight"]) if r["plan"] == "closed" else (r["plan"], round(r["load"], 4)): r for r in own if r["system"] == system}
            flooded = [f"{number(cells['closed', n]['rate'])}/s" if ("closed", n) in cells else "" for n in closed]
            swept = [cells.get(("poisson", share)) for share in loads]
            body.append([system, *flooded, *(f"{ms(r['p50_ms'])} / {ms(r['p99_ms'])}" if r else "" for r in swept)])
        head = [f"{model} {precision}", *(f"{n} in flight" for n in closed), *(f"{100 * share:g}%" for share in loads)]
        parts.append(table(head, body))
    return "\n\n".join(parts)


def cameras(result):
    title = (
        f"Cameras side by side on the embedded classifier; {result['machine']}; {result['date']}, commit {result['commit']}; "
        f"{result['seconds']} s each. The 60 at their own rate need 80 % of what the machine did in the first row. Age: of the newest "
        "result, over time, of the worst camera."
    )
    head = ["cameras", "fps of each", "policy", "completed/s", "refused", "dropped", "completed, least and most", "age p99, frame times", "submit p99 us"]
    body = [
        [str(r["cameras"]), "as accepted" if r["fps"] == 0 else f"{r['fps']:g}", r["policy"], number(r["completed_per_s"]), number(r["rejected"]),
         number(r["dropped"]), f"{r['completed_least']:,} to {r['completed_most']:,}",
         "" if r["frame_us"] is None else f"{r['age_p99_us_worst'] / r['frame_us']:.2f}", number(r["submit_p99_us"])]
        for r in result["rows"]
    ]  # fmt: skip
    return f"{title}\n\n{table(head, body)}"


def overload(result):
    peak, over = result["rows"]
    grown = result["memory"][-1]["resident_kb"] - next(m["resident_kb"] for m in result["memory"] if m["second"] > result["seconds"] + SETTLED_S)
    return (
        f"Overload: {peak['model']} in {peak['precision']}; {result['machine']}; {result['date']}, commit {result['commit']}; "
        f"{over['rate'] / peak['completed_per_s']:.1f} times what it completes with 8 in flight ({peak['completed_per_s']:.1f}/s), for "
        f"{result['seconds']} s: {over['completed_per_s']:.1f}/s completed ({over['completed_per_s'] / peak['completed_per_s']:.3f} of that), "
        f"{over['completed']:,} completed and {over['missed']:,} refused of {over['planned']:,}, submit p99 {number(over['submit_p99_us'])} us, "
        f"memory {grown:+,} kB."
    )


def deadlines(result):
    title = (
        f"Deadlines: {result['rows'][0]['model']} in f32; {result['machine']}; {result['date']}, commit {result['commit']}; Poisson arrivals at twice the "
        f"{result['capacity']:.0f}/s that it completes, {result['seconds']} s a run; each frame has {result['deadline_ms']:.1f} ms, three times what a launch takes "
        "while all slots are busy. `refuse late` refuses what would not finish by then. Runs took turns, on the same plans."
    )
    head = ["policy", "arrivals", "refused", "expired", "completed", "of these in time", "in time, of what was admitted", "in time a second"]
    body = []
    for r in result["rows"]:
        admitted = r["planned"] - r["rejected"]
        body.append([r["policy"], *(f"{r[key]:,}" for key in ("planned", "rejected", "expired", "completed", "in_time")),
                     f"{r['in_time'] / admitted:.3f}", number(r["in_time"] / result["seconds"])])  # fmt: skip
    return f"{title}\n\n{table(head, body)}"


def gpu(result):
    """Goals first, then what they come from: a section for each kind of row that is there."""
    sys.path.append(str(ROOT / "bench/gpu"))
    import gpu_report

    return gpu_report.sections(result, table, number)


def python(result):
    rows = result["rows"]
    title = (
        f"Calls from Python; {result['machine']}; {result['date']}, commit {result['commit']}; "
        f"{', '.join(f'{name} {version}' for name, version in result['versions'].items())}; {result['rounds']} rounds in turns. "
        "A call: us, p50 / p99; `inflight_cpp` is the same from C++. `x + 1` reads and writes 7.4 MB: a bare loop in C takes 260 us on one thread "
        "of an Intel Xeon and 129 on two ([ADR 10](docs/adr/0010-mxnets-operators-are-programs.md))."
    )
    systems = list(dict.fromkeys(r["system"] for r in rows))
    cells = {(r["what"], r["system"]): f"{r['rate']:,.0f}/s" if r["p50_us"] is None else f"{number(r['p50_us'])} / {number(r['p99_us'])}" for r in rows}
    body = [[what, *(cells.get((what, system), "") for system in systems)] for what in dict.fromkeys(r["what"] for r in rows)]
    return f"{title}\n\n{table(['call', *systems], body)}"


# In the order in which they stand.
REPORTS = {
    "main_job": main_job, "load": load, "load_16_cores": load, "load_brief": load, "load_brief_16_cores": load, "load_peers": load, "cameras": cameras, "overload": overload, "deadlines": deadlines, "gpu": gpu, "gpu_endurance": gpu, "gpu_sanitizer": gpu, "python": python, "share": share, "engine": engine,
    "engine_16_cores": engine_16_cores,
}  # fmt: skip


def main():
    parts = []
    for name, report in REPORTS.items():
        path = ROOT / "bench/results" / f"{name}.json"
        if path.exists():
            parts.append(report(json.loads(path.read_text())))
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
