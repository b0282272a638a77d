# SPDX-License-Identifier: Apache-2.0
"""The tables of bench/results/gpu.json."""

from rows import GOALS, SYSTEMS, closed, meets

TITLES = {
    "latency_1": "latency, 1 in flight",
    "rate_8": "rate, 8 in flight",
    "rate_8_over_batches": "rate, 8 in flight over batches of 8, one at a time",
    "rate_8_over_two_batches": "over batches of 8, two at a time",
    "p99_8": "p99, 8 in flight",
}
LOADING_GOALS = {"first": 60, "later": 3}  # seconds, of resnet50 with --tune full
POLL_NS, QUERY_NS, SUBMIT_RATIO, OPEN_RATIO = 2, 100, 1.5, 0.5


def said(value, words, goal, met):
    """A value with its goal and whether it is met."""
    return f"{value:g} ({words} {goal:g}: {'yes' if met else 'no'})"


def sections(result, table, number):
    found = [title(result), ratios(result, table), other_goals(result, table, number), models(result, table, number),
             open_loop(result, table, number), missing(result, table)]  # fmt: skip
    return "\n\n".join(part for part in found if part)


def title(result):
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    told = f"Predictions on a GPU, f16: {result['machine']}; {result['date']}, commit {result['commit']}; {versions}."
    if not any("where" in row for row in result["rows"]):
        return told
    return told + (
        " `device`: the network alone; `host`: with the copies of its f32 input, which lies in pinned memory unless a row says `pageable`, and of its output, f32 of ours and "
        "f16 of PyTorch's. Outputs were compared with PyTorch's in f32 first. A batch of 8 counts as 8 predictions."
    )


def ratios(result, table):
    """Ours over PyTorch, measured on the same machine within minutes, with the goals of those that have one."""
    body = []
    for row in result.get("ratios", []):
        cells = []
        for kind, (words, goals) in GOALS.items():
            value, goal = row.get(kind), goals.get(row["model"])
            if value is None:
                cells.append("not measured")
            elif goal is None or row["where"] != "device":
                cells.append(f"{value:g}")
            else:
                cells.append(said(value, words, goal, meets(kind, row["model"], value)))
        body.append([row["model"], row["where"], row["peer"] or "no peer was measured", *cells])
    with_ratio = {row["model"] for row in result.get("ratios", [])}
    for name in dict.fromkeys(row["model"] for row in result["rows"] if "model" in row):
        if name not in with_ratio:
            body.append([name, "", "no peer was measured", *["not measured"] * len(GOALS)])
    if not body:
        return ""
    return "Ours over PyTorch, and the goal in brackets:\n\n" + table(["model", "where", "peer", *TITLES.values()], body)


def p50(rows, cost, system, unit, **more):
    return next((r[f"p50_{unit}"] for r in rows if (r.get("cost"), r["system"]) == (cost, system) and all(r.get(k) == v for k, v in more.items())), None)


def other_goals(result, table, number):
    rows = result["rows"]
    costs = [row for row in rows if "cost" in row]
    body = []
    for row in rows:
        if "loading" in row:
            goal = LOADING_GOALS[row["time"]] if (row["loading"], row["tune"]) == ("resnet50", "full") else None
            value = round(row["load_s"], 2)
            body.append([f"{row['time']} load of {row['loading']}, `--tune {row['tune']}`, s", said(value, "at most", goal, value <= goal) if goal else f"{value:g}"])
    looked, queried = p50(costs, "poll_pending", "inflight", "ns"), p50(costs, "poll_pending", "cuEventQuery", "ns")
    if looked is not None:
        body.append(["a look at a pending prediction, ns", said(looked, "at most", POLL_NS, looked <= POLL_NS)])
    if queried is not None:
        body.append(["`cuEventQuery` of a pending event, ns", said(queried, "at least", QUERY_NS, queried >= QUERY_NS)])
    for in_flight in sorted({row["in_flight"] for row in costs if row["cost"] == "submit"}):
        mine, bare = (p50(costs, "submit", system, "us", in_flight=in_flight) for system in ("inflight", "cuGraphLaunch"))
        if mine is not None and bare is not None:
            value = round(mine / bare, 2)
            body.append([f"`submit` ({number(mine)} us) over a bare graph launch ({number(bare)} us), {in_flight} in flight",
                         said(value, "at most", SUBMIT_RATIO, value <= SUBMIT_RATIO)])  # fmt: skip
    for row in rows:
        if "endurance" in row:
            body.append([f"{row['finished']:,} predictions of {row['endurance']}, {row['in_flight']} in flight: outcomes add up; memory grew, MiB, host / device",
                         f"{'yes' if row['counted'] else 'no'}; {row['resident_grew_kib'] / 1024:.1f} / {row['device_grew_kib'] / 1024:.1f}"])  # fmt: skip
        if "sanitizer" in row:
            what = "no word" if row["errors"] is None else f"{row['errors']} errors"
            if row["errors"] is not None and row.get("silent"):
                what += f", no word of {row['silent']} of {row['processes']} processes"
            if row.get("kernels"):
                what += f", in {', '.join(f'`{kernel}`' for kernel in row['kernels'])}"
            body.append([f"`{row['program']}` under {row['sanitizer']}", f"{what}; {row['tests_passed'] or 'no'} tests passed, {row['tests_failed'] or 'none'} failed"])
    return table(["what", "measured (goal: met)"], body) if body else ""


def models(result, table, number):
    """Rates and latencies, by model and machine, and then by system."""
    rows = list(closed(result["rows"]).values())
    pageable = [r for r in result["rows"] if r.get("memory") == "pageable"]
    parts = []
    for model in dict.fromkeys(r["model"] for r in rows):
        machines = dict.fromkeys(r.get("at") for r in rows if (r["model"], r["system"]) == (model, "inflight"))
        for count, at in enumerate(machines, 1):
            title = f"{model}, machine {count}" if len(machines) > 1 else model
            own = [r for r in rows + pageable if (r["model"], r.get("at")) == (model, at)]
            parts.append(systems(title, own, table, number))
    return "Predictions a second; latency in us, p50 / p99:\n\n" + "\n\n".join(parts) if parts else ""


def systems(title, rows, table, number):
    columns = sorted({(r["where"], r["batch"], r["in_flight"]) for r in rows if r["in_flight"] in (1, 8) or r["batch"] > 1})
    head = [title, *(f"{where}, {f'{count} x batch {batch}' if batch > 1 else f'{count} in flight'}" for where, batch, count in columns)]
    body = []
    for system, memory in (("inflight", "pinned"), ("inflight", "pageable"), *((peer, "pinned") for peer in SYSTEMS)):
        own = [r for r in rows if (r["system"], r.get("memory", "pinned")) == (system, memory)]
        cells = {(r["where"], r["batch"], r["in_flight"]): r for r in own}
        if cells:
            body.append([f"{system}, {memory}" if memory == "pageable" else system, *(cell(cells.get(column), number) for column in columns)])
    return table(head, body)


def cell(row, number):
    return f"{number(row['rate'])}; {number(row['p50_us'])} / {number(row['p99_us'])}" if row else ""


def open_loop(result, table, number):
    """Latency on plans of Poisson arrivals."""
    rows = [row for row in result["rows"] if "load" in row]
    if not rows:
        return ""
    loads = sorted({row["load"] for row in rows})
    body = []
    for model in dict.fromkeys(row["model"] for row in rows):
        by_system = {}
        for row in rows:
            if row["model"] == model:
                by_system.setdefault(row["system"], {})[row["load"]] = row
        for system, cells in by_system.items():
            body.append([model, system, *(open_cell(cells.get(load), number) for load in loads)])
        mine, its = (by_system.get(system, {}) for system in ("inflight", "torch_batching_server"))
        pairs = {load: (mine[load], its[load]) for load in loads if load in mine and load in its}
        both = {load: a["p99_us"] / b["p99_us"] for load, (a, b) in pairs.items() if a.get("at") == b.get("at") and a["p99_us"] and b["p99_us"]}
        told = [said(round(both[load], 3), "at most", OPEN_RATIO, both[load] <= OPEN_RATIO) if load == 0.5 and load in both
                else f"{both[load]:.3g}" if load in both else "not measured on one machine" for load in loads]  # fmt: skip
        body.append([model, "p99, ours over the server's", *told])
    head = ["model", "system", *(f"{100 * load:g}%" for load in loads)]
    return (
        "Poisson arrivals, latency in us from the planned arrival, p50 / p99, medians of rounds; the load is a share of our rate with 8 in flight, host to host. "
        "`torch_batching_server` waits for 8 frames or 500 us, runs two batches at once, and is over torch.compile with a CUDA graph for each of the "
        "batches 1, 2, 4 and 8; frames arrive in the memory of their batch.\n\n" + table(head, body)
    )


def open_cell(row, number):
    if row is None:
        return ""
    refused = f", {number(row['refused'])} refused" if row.get("refused") else ""
    times = ("without end" if row[key] is None else number(row[key]) for key in ("p50_us", "p99_us"))
    return " / ".join(times) + refused


def missing(result, table):
    """What was tried and did not end well."""
    ended = [[row["part"], row["ended"]] for row in result["rows"] if "ended" in row]
    return table(["not measured whole", "why"], ended) if ended else ""
