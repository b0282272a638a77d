# SPDX-License-Identifier: Apache-2.0
"""Measures predictions on a GPU against PyTorch: same random weights, outputs compared before anything is timed.

usage: gpu.py BUILD_FOLDER [--json FILE] [--part all|export|ours|torch|endurance|report] [--models M...] [--systems S...]
              [--seconds S] [--work FOLDER] [--python PYTHON]

Each part keeps its rows in the work folder, so that a machine lent for minutes can run them one by one; `report`
puts the rows of all parts together. PYTHON has torch and torchvision; without it only what is there is measured.
"""

import array
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
import environment

MODELS = ("resnet50", "mobilenet_v2", "vit_b_16")
SYSTEMS = ("torch_eager", "torch_eager_graph", "torch_compile_graph", "torch_autotune_graph")
ERROR_MAX = {"f16": 2e-2, "f32": 1e-4}
PEER = pathlib.Path(__file__).with_name("gpu_torch.py")
# Predictions in flight, and the widths of the goals: a prediction that is alone runs wide.
IN_FLIGHT = "1,2,4,8,16"


def lines(command, **keywords):
    """The lines of JSON that a command prints; what it says of errors goes to ours."""
    print("+ " + " ".join(str(word) for word in command), file=sys.stderr, flush=True)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False, **keywords)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0:
        print(f"gpu.py: it ended with {done.returncode}; its {len(rows)} rows are kept", file=sys.stderr)
    return rows, done.returncode


def relative_error(got, want):
    values = [array.array("f", path.read_bytes()) for path in (got, want)]
    if len(values[0]) != len(values[1]):
        sys.exit(f"gpu.py: {got} has {len(values[0])} values, want {len(values[1])}")
    size = max(abs(value) for value in values[1])
    return max(abs(a - b) for a, b in zip(*values, strict=True)) / size


def bench(arguments, name, transfers, *options):
    model = arguments.work / f"{name}.onnx"
    command = [arguments.build / "bench/gpu/bench_gpu", model, "--tune", arguments.tune, *options]
    return lines(command, env={**os.environ, "INFLIGHT_CUDA_IO": transfers})


def ours(arguments, name):
    rows = []
    for precision in ("f32", "f16"):
        got = arguments.work / f"{name}.got"
        checked, code = bench(arguments, name, "host", "--precision", precision, "--in-flight", 1, "--seconds", 0.2,
                              "--input", arguments.work / f"{name}.input", "--output", got)
        if code != 0:
            return rows
        error = relative_error(got, arguments.work / f"{name}.want")
        rows.append({"check": name, "system": "inflight", "precision": precision, "error": error, "load_s": checked[0]["load_s"]})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        if error > ERROR_MAX[precision]:
            sys.exit(f"gpu.py: {name} in {precision}: error {error:.1e}, want at most {ERROR_MAX[precision]}; nothing was timed")
    # What is measured without transfers computes in memory of the slot, as a torch graph does in its own.
    for where, transfers in (("device", "none"), ("host", "host")):
        found, _ = bench(arguments, name, transfers, "--precision", "f16", "--in-flight", IN_FLIGHT, "--seconds", arguments.seconds)
        for one in found:
            row = {"model": name, "system": "inflight", "precision": "f16", "where": where, "batch": 1}
            rows.append({**row, **{key: one[key] for key in ("in_flight", "rate", "p50_us", "p99_us", "load_s", "width", "submit_us")}})
            rows[-1]["device"] = one["device"]
    return rows


def save(arguments, part, rows):
    path = arguments.work / f"rows-{part}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        print(json.dumps(row), flush=True)


def run(arguments):
    part = arguments.part
    for name in arguments.models:
        if part in ("all", "export") and not (arguments.work / f"{name}.want").exists():
            lines([arguments.python, PEER, "export", name, arguments.work])
        if part in ("all", "ours"):
            save(arguments, f"inflight-{name}", ours(arguments, name))
        for system in arguments.systems if part in ("all", "torch") else ():
            save(arguments, f"{system}-{name}", lines([arguments.python, PEER, "measure", name, system, arguments.work])[0])
    if part in ("all", "endurance"):
        name = "mobilenet_v2" if "mobilenet_v2" in arguments.models else arguments.models[0]
        rows, _ = bench(arguments, name, "host", "--in-flight", 16, "--count", 1_000_000)
        save(arguments, "endurance", [{"endurance": name, **row} for row in rows])


def report(arguments):
    """Every row that is there, and the ratios of the goals: of ours to the best torch graph of the same run."""
    rows = []
    for path in sorted(arguments.work.glob("rows-*.jsonl")):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    measured = {(r["model"], r["system"], r["where"], r["in_flight"], r["batch"]): r for r in rows if "model" in r}
    ratios = []
    for name in MODELS:
        for where in ("device", "host"):
            peer = next((s for s in reversed(SYSTEMS) if (name, s, where, 8, 1) in measured), None)
            mine = [measured.get((name, "inflight", where, n, 1)) for n in (1, 8)]
            if peer is None or None in mine:
                continue
            one, eight = (measured[name, peer, where, n, 1] for n in (1, 8))
            batches = [measured[k]["rate"] for k in measured if k[0] == name and k[2] == where and k[4] == 8]
            ratios.append({"model": name, "where": where, "peer": peer,
                           "latency_1": round(mine[0]["p50_us"] / one["p50_us"], 3),
                           "rate_8": round(mine[1]["rate"] / eight["rate"], 3),
                           "rate_8_over_batches": round(mine[1]["rate"] / max(batches), 3) if batches else None,
                           "p99_8": round(mine[1]["p99_us"] / eight["p99_us"], 3)})
    environment.publish({**environment.head("gpu"), "rows": rows, "ratios": ratios}, arguments.json)


def main():
    parser = environment.parser()
    parser.add_argument("--part", choices=("all", "export", "ours", "torch", "endurance", "report"), default="all")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--tune", choices=("off", "fast", "full"), default="full")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--python", default="python3")
    arguments = parser.parse_args()
    arguments.work = arguments.work or arguments.build.parent / "gpu_bench"
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.part != "report":
        run(arguments)
    if arguments.part in ("all", "report"):
        report(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
