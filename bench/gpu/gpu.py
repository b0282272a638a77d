# SPDX-License-Identifier: Apache-2.0
"""Measures predictions on a GPU against PyTorch: same random weights, outputs compared before anything is timed.

usage: gpu.py BUILD_FOLDER [--json FILE] [--parts P...] [--models M...] [--systems S...] [--seconds S] [--rounds N]
              [--work FOLDER] [--python PYTHON] [--limit-s S] [--deadline-s S] [--again] [--commit C]

Parts, in the order in which they run: `export`, `ours`, `torch`, `open` (Poisson arrivals, ours and a server that waits
for batches), `loading`, `costs`, `endurance`, `sanitizer`, `autotune` (torch_autotune_graph, which takes minutes a model)
and `report`. Rows are kept one by one in FOLDER/rows.jsonl. What is done there is not measured again (--again: it is), so a
machine that is lent for minutes can run them piece by piece. --limit-s ends a process that takes longer, and its part
is not tried again; --deadline-s ends all of it, and the part under way begins anew next time. PYTHON has torch and
torchvision; without it only ours is measured.
"""

import array
import json
import math
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent)]
import environment
import machine
from rows import SYSTEMS, Failed, OutOfTime, Rows, ratios
from sanitizer import sanitize

MODELS = ("resnet50", "mobilenet_v2", "vit_b_16", "detector")
PARTS = ("export", "ours", "torch", "open", "loading", "costs", "endurance", "sanitizer", "autotune", "report")
ERROR_MAX = {"f16": 2e-2, "f32": 1e-4}
PEER = HERE / "gpu_torch.py"
# Predictions in flight, and the widths of the goals: a prediction that is alone runs wide.
IN_FLIGHT = "1,2,4,8,16"
LOADS = (0.1, 0.5, 0.9)  # of our rate with 8 in flight, host to host
SERVER_OVER, AUTOTUNE = "torch_compile_graph", "torch_autotune_graph"
TRANSFERS = {"device": "none", "host": "host"}  # INFLIGHT_CUDA_IO


class Bench:
    def __init__(self, arguments, boot):
        self.arguments = arguments
        self.rows = Rows(arguments.work / "rows.jsonl", boot)
        self.deadline = time.monotonic() + arguments.deadline_s if arguments.deadline_s else None

    def lines(self, command, each=None, env=None):
        """The lines of JSON that a command prints, each also given to `each` as it comes. What it says of errors goes to ours.
        It is ended, with all that it started, at the limit.
        """
        limit = self.arguments.limit_s
        if self.deadline is not None:
            limit = min(limit, self.deadline - time.monotonic())
            if limit < 1:
                raise OutOfTime
        print("+ " + " ".join(str(word) for word in command), file=sys.stderr, flush=True)
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, start_new_session=True,
                                   env={**os.environ, **(env or {})})  # fmt: skip
        timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        found = []
        try:
            with process.stdout:
                for line in process.stdout:
                    if line.startswith("{"):
                        found.append(json.loads(line))
                        if each:
                            each(found[-1])
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code == -signal.SIGKILL:
            if self.deadline is not None and time.monotonic() >= self.deadline - 0.1:
                raise OutOfTime
            raise Failed(f"{Rows.TOO_LONG} {limit:.0f} s")
        if code != 0:
            raise Failed(f"{pathlib.Path(command[0]).name} ended with {code}")
        return found

    def part(self, name, run, *rest):
        """Runs one part, unless it has ended before. A part that fails says so in its rows, and the others go on."""
        if not self.arguments.again and self.rows.is_settled(name):
            print(f"gpu.py: {name}: {self.rows.how_ended(name)}, earlier", file=sys.stderr, flush=True)
            return
        if self.deadline is not None and time.monotonic() > self.deadline - 5:
            raise OutOfTime
        self.rows.begin(name)
        began = time.monotonic()
        try:
            run(name, *rest)
            how = Rows.DONE
        except (Failed, OSError) as why:
            how = str(why)
            print(f"gpu.py: {name}: {why}", file=sys.stderr, flush=True)
        self.rows.end(name, how, time.monotonic() - began)

    def peer(self, name, *words, each=None):
        return self.lines([self.arguments.python, PEER, *words], each or (lambda row: self.rows.add(name, row)))

    def ours(self, model, where, *options, each=None, env=None, program="bench_gpu"):
        command = [self.arguments.build / "bench/gpu" / program, self.model(model), "--device", self.arguments.device, *options]
        return self.lines(command, each, {"INFLIGHT_CUDA_IO": TRANSFERS[where], **(env or {})})

    def model(self, name):
        path = self.arguments.work / f"{name}.onnx"
        if not path.exists():
            raise Failed(f"{path} is not there: run the part export first")
        return path


def relative_error(got, want):
    values = [array.array("f", path.read_bytes()) for path in (got, want)]
    if len(values[0]) != len(values[1]):
        raise Failed(f"{got} has {len(values[0])} values, want {len(values[1])}")
    size = max(abs(value) for value in values[1])
    if size == 0:
        raise Failed(f"{want} is all zeros, which compares nothing")
    return max(abs(a - b) for a, b in zip(*values, strict=True)) / size


def measure_export(bench, part, model):
    if not all((bench.arguments.work / f"{model}.{end}").exists() for end in ("onnx", "input", "want")):
        bench.peer(part, "export", model, bench.arguments.work)


def check(bench, part, model):
    """Outputs against those of PyTorch in f32, at each precision that is measured or offered, of a prediction that is alone
    (wide) and of eight at a time (narrow): the plans differ."""
    work = bench.arguments.work
    for precision, error_max in (("f32", ERROR_MAX["f32"]), (bench.arguments.precision, ERROR_MAX["f16"])):
        for in_flight in (1, 8):
            got = work / f"{model}.got"
            checked = bench.ours(model, "host", "--precision", precision, "--tune", bench.arguments.tune, "--in-flight", in_flight,
                                 "--seconds", 0.2, "--input", work / f"{model}.input", "--output", got)  # fmt: skip
            error = relative_error(got, work / f"{model}.want")
            bench.rows.add(part, {"check": model, "system": "inflight", "precision": precision, "in_flight": in_flight, "error": error,
                                  "load_s": checked[0]["load_s"]})  # fmt: skip
            if not error <= error_max:
                raise Failed(f"{model} in {precision}, {in_flight} in flight: error {error:.1e}, want at most {error_max}; nothing was timed")


def measure_ours(bench, part, model):
    check(bench, part, model)
    arguments = bench.arguments

    def closed(where, in_flight, memory):
        def add(one):
            row = {"model": model, "system": "inflight", "precision": arguments.precision, "where": where, "batch": 1}
            names = ("in_flight", "rate", "p50_us", "p99_us", "load_s", "width", "memory", "submit_us", "device")
            bench.rows.add(part, {**row, **{key: one[key] for key in names}})

        bench.ours(model, where, "--precision", arguments.precision, "--tune", arguments.tune, "--in-flight", in_flight,
                   "--seconds", arguments.seconds, "--memory", memory, each=add)  # fmt: skip

    # What is measured without transfers computes in memory of the slot, as a torch graph does in its own.
    closed("device", IN_FLIGHT, "pinned")
    closed("host", IN_FLIGHT, "pinned")
    # Frames as a program has them that knows nothing of the device: the launcher copies each.
    closed("host", "1,8", "pageable")


def measure_torch(bench, part, model, system, batch):
    bench.peer(part, "measure", model, system, batch, bench.arguments.work, bench.arguments.seconds)


def make_plans(bench, model):
    """(load, rate, file) for each load and round: Poisson arrivals, the same file for every system."""
    capacity = [r["rate"] for r in bench.rows.rows
                if (r.get("model"), r.get("system"), r.get("where"), r.get("in_flight"), r.get("memory")) == (model, "inflight", "host", 8, "pinned")
                and "load" not in r]  # fmt: skip
    if not capacity:
        raise Failed(f"no rate of {model} with 8 in flight, host to host: run the part ours first")
    plans = []
    for load in LOADS:
        rate = load * capacity[-1]
        # A 99th percentile wants a thousand frames, of the rounds together, and a run must end.
        length = min(max(bench.arguments.seconds, 1000 / rate / bench.arguments.rounds), 3 * bench.arguments.seconds)
        for turn in range(bench.arguments.rounds):
            dice, at, due = random.Random(f"{load} {turn}"), 0.0, []
            while (at := at + dice.expovariate(rate)) < length:
                due.append(at)
            path = bench.arguments.work / f"{model}-{round(100 * load)}-{turn}.plan"
            path.write_text("".join(f"{moment:.9f}\n" for moment in due or [0.0]))
            plans.append((load, rate, path))
    return plans


def median(values):
    """Of values of which None is without end."""
    found = statistics.median(math.inf if value is None else value for value in values)
    return None if found == math.inf else round(found, 2)


def measure_open(bench, part, model, system):
    """Medians over the rounds, a row for each load."""
    plans = make_plans(bench, model)
    paths = [str(path) for _, _, path in plans]
    if system == "inflight":
        found = bench.ours(model, "host", "--precision", bench.arguments.precision, "--tune", bench.arguments.tune,
                           "--plan", ",".join(paths))  # fmt: skip
    else:
        found = bench.peer(part, "serve", model, SERVER_OVER, bench.arguments.work, *paths,
                           each=lambda row: bench.rows.add(part, row) if "check" in row else None)  # fmt: skip
        found = [row for row in found if "plan" in row]
    if [row["plan"] for row in found] != paths:
        raise Failed(f"{len(found)} of {len(paths)} plans were measured")
    names = ("p50_us", "p99_us", "max_us", "late_max_us", "completed_per_s", "batch_mean")
    for load in LOADS:
        rounds = [one for one, (its, _, _) in zip(found, plans, strict=True) if its == load]
        row = {"model": model, "system": system, "precision": "f16", "where": "host", "plan": "poisson", "load": load,
               "rate": round(next(rate for its, rate, _ in plans if its == load), 1), "rounds": len(rounds)}  # fmt: skip
        row.update({key: median(one[key] for one in rounds) for key in names if key in rounds[0]})
        row["p99_us_all"] = [one["p99_us"] for one in rounds]
        row.update({key: sum(one[key] for one in rounds) for key in ("frames", "completed", "refused", "wide", "narrow") if key in rounds[0]})
        row["device"] = rounds[0]["device"]
        bench.rows.add(part, row)


def measure_loading(bench, part, model):
    """A load in a process of its own, with nothing cached, and the same again twice."""
    for tune in ("fast", "full"):
        cache = bench.arguments.work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        for time_of in ("first", "later", "later"):
            one = bench.ours(model, "host", "--precision", bench.arguments.precision, "--tune", tune, "--width", "elastic",
                             "--in-flight", 8, "--seconds", 0.1, env={"XDG_CACHE_HOME": str(cache)})[0]  # fmt: skip
            names = ("load_s", "read_s", "open_s", "tune_s", "tune_gain", "tune_cached", "device")
            bench.rows.add(part, {"loading": model, "tune": tune, "time": time_of, **{k: one[k] for k in names if k in one}})


def measure_costs(bench, part, model):
    """Single calls beside the driver's. The slot's own launch, beside the same graph bare, is in a test of the device."""
    nodes = bench.arguments.nodes or count_nodes(bench, model)
    bench.ours(model, "host", "--nodes", nodes, "--tune", bench.arguments.tune, program="bench_gpu_costs",
               each=lambda row: bench.rows.add(part, {**row, "of": model}))  # fmt: skip
    test = find_test(bench.arguments.build, "cuda_device_test")
    if test is None:
        print("gpu.py: costs: no cuda_device_test: the launch of a slot is not measured", file=sys.stderr)
        return
    bench.lines([test, "--gtest_filter=CudaSpeed.LaunchAndPollCost"], lambda row: bench.rows.add(part, row))


def count_nodes(bench, model):
    """Of the graph that a slot launches: a kernel for each step at least, and one each to copy in and out."""
    tool = find_test(bench.arguments.build, "lower_file")
    if tool is None:
        raise Failed("no lower_file to count nodes with: want --nodes")
    told = subprocess.run([tool, bench.model(model), "f16"], capture_output=True, text=True, timeout=bench.arguments.limit_s)
    counts = re.search(r"^(.*); .* of constants", told.stdout, re.MULTILINE)
    if counts is None:
        raise Failed(f"lower_file does not say how many steps {model} has: {(told.stderr or told.stdout)[-200:]}")
    return sum(int(count) for count in re.findall(r"\d+", counts[1])) + 2


def find_test(build, name):
    places = (build / "src/backends/cuda/runtime" / name, build / "src/backends/cuda" / name, build / "tests" / name, build / "bin" / name)
    return next((place for place in places if place.exists()), None)


def measure_endurance(bench, part, model):
    found = bench.ours(model, "host", "--precision", bench.arguments.precision, "--tune", bench.arguments.tune, "--in-flight", 16,
                       "--count", bench.arguments.count)  # fmt: skip
    for row in found:
        resident, device = row["resident_kib"], row["device_kib"]
        row = {"endurance": model, **row, "resident_grew_kib": resident[-1] - resident[0], "device_grew_kib": device[-1] - device[0]}
        ends = ("completed", "failed", "rejected", "dropped", "expired", "cancelled", "in_flight_after")
        row["counted"] = row["submitted"] == sum(row[end] for end in ends)
        bench.rows.add(part, row)
        if not row["counted"]:
            raise Failed("outcomes do not add up to what was submitted")


def run(bench):
    arguments = bench.arguments
    wanted = [part for part in PARTS if part in arguments.parts and part != "report"]
    if not wanted:
        return
    has_torch = machine.describe(bench, PEER, Failed)
    for model in arguments.models:  # one after another, so that what is compared was measured within minutes
        if "export" in wanted and has_torch:
            # Files, not rows: a machine that has them goes on, and a fresh one makes them.
            bench.part(f"export-{bench.rows.machine}-{model}", lambda part, model=model: measure_export(bench, part, model))
        if "ours" in wanted:
            bench.part(f"inflight-{model}", lambda part, model=model: measure_ours(bench, part, model))
        if "torch" in wanted and has_torch:
            torch_parts(bench, model, [system for system in reversed(SYSTEMS) if system != AUTOTUNE])
        if "open" in wanted:
            for system in ("inflight", "torch_batching_server") if has_torch else ("inflight",):
                bench.part(f"open-{system}-{model}", lambda part, m=model, s=system: measure_open(bench, part, m, s))
    for part, models in (("loading", arguments.models), ("costs", arguments.models[:1]), ("endurance", endured(arguments))):
        measure = {"loading": measure_loading, "costs": measure_costs, "endurance": measure_endurance}[part]
        for model in models if part in wanted else ():
            bench.part(f"{part}-{model}", lambda part, model=model, measure=measure: measure(bench, part, model))
    if "sanitizer" in wanted:
        sanitize(bench, find_test)
    if "autotune" in wanted and has_torch:
        for model in arguments.models:
            torch_parts(bench, model, [AUTOTUNE])


def torch_parts(bench, model, systems):
    """What has not ended of them; and ours on this machine first, unless its rows are of this machine."""
    parts = {f"{system}-{model}-{batch}": (system, batch) for system in systems if system in bench.arguments.systems for batch in (1, 8)}
    left = [part for part in parts if bench.arguments.again or not bench.rows.is_settled(part)]
    here = [row for row in bench.rows.rows if (row["at"], row.get("model"), row.get("system")) == (bench.rows.machine, model, "inflight")]
    if left and not here:
        bench.part(f"inflight-{model}-{bench.rows.machine}", lambda part: measure_ours(bench, part, model))
    for part in left:
        bench.part(part, lambda part: measure_torch(bench, part, model, *parts[part]))


def endured(arguments):
    return ["mobilenet_v2"] if "mobilenet_v2" in arguments.models else arguments.models[:1]


def report(bench):
    """All rows that are there, and the ratios of the goals."""
    rows = bench.rows.rows
    kept = [{key: value for key, value in row.items() if key != "part" or "ended" in row} for row in rows
            if row.get("ended") != Rows.DONE and not row["part"].startswith("export-")]  # fmt: skip
    environment.publish({**machine.head(rows), "rows": kept, "ratios": ratios(kept)}, bench.arguments.json)


def arguments_of():
    parser = environment.parser()
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement, and of each plan of arrivals")
    parser.add_argument("--rounds", type=int, default=3, help="plans of arrivals for each load")
    parser.add_argument("--count", type=int, default=1_000_000, help="predictions of the part endurance")
    parser.add_argument("--nodes", type=int, help="of the bare graph of the part costs; otherwise as many as the model has")
    parser.add_argument("--tune", choices=("off", "fast", "full"), default="full")
    parser.add_argument("--precision", choices=("auto", "f16"), default="f16", help="auto: for a device without f16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--python", default="python3")
    parser.add_argument("--limit-s", type=float, default=240, help="of each process")
    parser.add_argument("--deadline-s", type=float, help="of all")
    parser.add_argument("--again", action="store_true", help="measure what is done, too")
    parser.add_argument("--commit", default=environment.commit())
    arguments = parser.parse_args()
    for name in ("seconds", "rounds", "count", "nodes", "limit_s"):
        if getattr(arguments, name) is not None and not getattr(arguments, name) > 0:
            parser.error(f"--{name.replace('_', '-')}: got {getattr(arguments, name)}, want more than 0")
    arguments.work = arguments.work or arguments.build.parent / "gpu_bench"
    arguments.work.mkdir(parents=True, exist_ok=True)
    return arguments


def main():
    bench = Bench(arguments_of(), machine.boot())
    late = False
    try:
        run(bench)
    except OutOfTime:
        late = True
        print("gpu.py: out of time; the same command goes on where it stopped", file=sys.stderr)
    if "report" in bench.arguments.parts:
        report(bench)
    return 3 if late else 0


if __name__ == "__main__":
    sys.exit(main())
