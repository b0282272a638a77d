# SPDX-License-Identifier: Apache-2.0
"""Latency under load: ours beside OpenVINO's two hints, ONNX Runtime and MXNet 1.9.1, on the same plans of arrivals.

usage: load.py BUILD_FOLDER [--json FILE] [--html FILE] [--merge FILE,FILE...] [--pack FOLDER] [--models ...] [--precisions ...]
               [--systems ...] [--plans ...] [--loads ...] [--seconds S] [--frames N] [--rounds N] [--limit N]

Each system is a process of its own, which waits while another is measured. For each model and precision: the outputs
are compared, the capacity is what OpenVINO's THROUGHPUT hint completes in a second when it is flooded, and then all
systems take turns at each load, for S seconds, or longer until N frames have come: the 99th percentile of few frames is the
slowest one. --merge measures nothing: it puts the rows of pages (--html) together, of which a later one replaces the same runs of an
earlier one, so a long measurement can be made in pieces.
--pack copies all that a run needs into FOLDER; there, `python3 load.py FOLDER` runs it without anything installed.
Rows: {"model", "precision", "system", "threads", "plan", "load", "rate", "p50_ms", "p99_ms", "completed", "missed", ...}; with
several rounds, medians of them. "commit" and "date" are those of the row. "resident_mb" is the memory of the system's process in RAM after the run.
"""

import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PACKED = (HERE / "packed.json").exists()
sys.path += [str(HERE), str(HERE.parent)]
import environment

MODELS = ("resnet50", "squeezenet", "shufflenet", "densenet121", "shapes")
LOADS = (5, 10, 20, 30, 40, 60, 80, 90)
# Name, program, its word, precisions.
SYSTEMS = {
    "inflight-elastic": ("inflight", "elastic", ("f32", "bf16")),
    "inflight-wide": ("inflight", "wide", ("f32", "bf16")),
    "inflight-narrow": ("inflight", "narrow", ("f32", "bf16")),
    "openvino-latency": ("openvino", "latency", ("f32", "bf16")),
    "openvino-throughput": ("openvino", "throughput", ("f32", "bf16")),
    "onnxruntime-all": ("peers", "onnxruntime-all", ("f32",)),
    "onnxruntime-each": ("peers", "onnxruntime-each", ("f32",)),
    "mxnet": ("peers", "mxnet", ("f32",)),
}
CAPACITY_OF = "openvino-throughput"
SWEEPS = ("poisson", "periodic")  # the plans that are run at each load
NUMBERS = ("rate", "completed_per_s", "p50_ms", "p90_ms", "p99_ms", "max_ms", "submit_p99_us", "late_max_ms", "wide", "resident_mb")
SEED = 1


def say(text):
    print(f"load: {text}", file=sys.stderr, flush=True)


class Places:
    """Where things lie: in the build folder, or in a packed one."""

    def __init__(self, build):
        if PACKED:
            self.programs, self.models, self.environment = HERE / "bin", HERE / "models", {"LD_LIBRARY_PATH": str(HERE / "lib")}
            self.interpreters = {name: (sys.executable, HERE / "site" / name) for name in ("onnxruntime", "mxnet")}
            self.interpreters = {n: place for n, place in self.interpreters.items() if place[1].exists()}
            self.page = HERE / "page.html"
        else:
            self.programs, self.models = build / "bench" / "load", environment.ROOT / "build" / "load-models"
            self.environment = {}
            venvs = {"onnxruntime": "bench-venv", "mxnet": "oracle-venv"}
            self.interpreters = {n: (environment.ROOT / "build" / v / "bin" / "python", None) for n, v in venvs.items()}
            self.interpreters = {n: place for n, place in self.interpreters.items() if place[0].exists()}
            self.page = environment.ROOT / "src" / "load" / "page.html"

    def model(self, name):
        if name == "shapes" and not PACKED:
            return environment.ROOT / "models" / "shapes.onnx"
        return self.models / f"{name}.onnx"


class Worker:
    """A system that has compiled a model. `None` from start() is one that cannot be had, and `why` says so."""

    def __init__(self, process, name):
        self.process, self.name = process, name
        told = self.answer()
        self.system, self.scores = told["system"], told["scores"]

    @staticmethod
    def start(places, name, model, precision, limit):
        program, word, _ = SYSTEMS[name]
        env = {**os.environ, "MXNET_SUBGRAPH_VERBOSE": "0"}
        if program == "peers":
            interpreter, site = places.interpreters.get(word.split("-")[0], (None, None))
            if interpreter is None:
                raise OSError("it is not installed")
            command = [interpreter, HERE / "peers.py", word, places.model(model), precision, limit, model]
            if site:
                env["PYTHONPATH"] = str(site)
        else:
            command = [places.programs / f"bench_load_{program}", places.model(model), precision, limit, word, model]
            env.update(places.environment)
        return Worker(subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, env=env), name)  # fmt: skip

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):  # MXNet prints warnings, too
                return json.loads(line)
        self.process.stdin.close()
        raise OSError((self.process.stderr.read().strip() or "it ended").splitlines()[-1])

    def measure(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        answer["row"]["resident_mb"] = round(environment.resident_kb(self.process) * 1024 / 1e6, 1)
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def has_bf16():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return "amx_bf16" in text or "avx512_bf16" in text


def same_scores(workers, reference, precision):
    """Those that compute what OpenVINO computes; a peer that does not is left out, and ours must."""
    scale = max(map(abs, reference.scores))
    tolerance = scale * (1e-3 if precision == "f32" else 5e-2)
    same = []
    for worker in workers:
        pairs = zip(reference.scores, worker.scores, strict=True)
        worst = max(abs(a - b) for a, b in pairs)
        if worst <= tolerance:
            same.append(worker)
            continue
        text = f"its scores differ from those of {reference.system} by {worst:g}, of {scale:g}"
        if worker.name.startswith("inflight"):
            raise SystemExit(f"load: {worker.system}: {text}")
        say(f"{worker.system}: left out: {text}")
    return same


def median(values):
    """Of values of which None is without end."""
    found = statistics.median_low(math.inf if v is None else v for v in values)
    return None if found == math.inf else found


def merge(answers):
    """One row of the same run in several rounds; its details are those of the one with the median p99."""
    rows = [answer["row"] for answer in answers]
    row = dict(rows[0])
    for name in NUMBERS:
        row[name] = median([r[name] for r in rows])
    for name in ("planned", "completed", "missed", "failed", "rejected", "dropped", "expired", "cancelled"):
        row[name] = sum(r[name] for r in rows)
    row["rounds"] = len(rows)
    middle = next(a for a in answers if a["row"]["p99_ms"] == row["p99_ms"])
    return row, middle["detail"]


def plan_file(places, folder, word, rate, seconds, seed):
    path = pathlib.Path(folder) / f"{word}-{rate:g}-{seed}".replace("/", "_")
    if not path.exists():
        command = [str(c) for c in (places.programs / "bench_load_inflight", "--plan", word, rate, seconds, seed)]
        env = {**os.environ, **places.environment}
        path.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout)
    return path


def start_workers(places, names, model, precision, limit):
    workers = []
    for name in names:
        if precision not in SYSTEMS[name][2]:
            continue
        try:
            workers.append(Worker.start(places, name, model, precision, limit))
        except OSError as error:
            say(f"{name} on {model} {precision}: left out: {error}")
    return workers


def measure(places, model, precision, arguments):
    """After each round of one model at one precision, all its rows so far, merged, with their details."""
    wanted = list(dict.fromkeys([*arguments.systems, CAPACITY_OF]))  # of which the last may be for the capacity only
    workers = start_workers(places, wanted, model, precision, arguments.limit)
    answers = {}
    try:
        throughput = next((w for w in workers if w.name == CAPACITY_OF), None)
        if throughput is None:
            raise SystemExit(f"load: no capacity of {model} {precision} without {CAPACITY_OF}")
        measured = [w for w in same_scores(workers, throughput, precision) if w.name in arguments.systems]
        threads = len(os.sched_getaffinity(0))
        flood = min(arguments.limit, max(8, 2 * threads))
        capacity = throughput.measure(f"closed {flood} {arguments.seconds}")["row"]["rate"]
        say(f"{model} {precision}: capacity {capacity:.1f}/s; {', '.join(w.system for w in measured)}")
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(arguments.rounds):
                runs = [("closed", n, f"closed {n} {arguments.seconds}") for n in (1, flood)]
                for word in arguments.plans:
                    sweeps = word.split(":")[0] in SWEEPS
                    for load in [share / 100 for share in arguments.loads] if sweeps else [None]:
                        rate = capacity * (load or 1)
                        seconds = max(arguments.seconds, arguments.frames / rate if load else 0)
                        path = plan_file(places, folder, word, rate, seconds, SEED + turn)
                        own = load or sum(1 for _ in path.open()) / seconds / capacity
                        runs.append((word, load, f"open {word} {own:.4f} {seconds} {path}"))
                for word, at, command in runs:
                    # Another one begins each time: who follows whom must not decide.
                    for worker in measured[turn % len(measured) :] + measured[: turn % len(measured)]:
                        answer = worker.measure(command)
                        answer["row"]["capacity_per_s"] = capacity
                        answers.setdefault((word, at, worker.name), []).append(answer)
                        say("{system:32} {plan:12} {at:>10} p50 {p50_ms} p99 {p99_ms} ms, {completed_per_s:.0f}/s, {missed} missed".format(
                            at=f"{100 * at:g}%" if word != "closed" and at else str(at or ""), **answer["row"]))  # fmt: skip
                yield [merge(several) for several in answers.values()]
    finally:
        for worker in workers:
            worker.close()


def pack(places, folder):
    """Copies what a run needs. What is there is replaced."""
    for name in ("bin", "lib", "models", "site"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    for source in (HERE / "load.py", HERE / "peers.py", HERE.parent / "environment.py", places.page):
        shutil.copy(source, folder)
    for program in ("inflight", "openvino"):
        shutil.copy(places.programs / f"bench_load_{program}", folder / "bin")
    for name in MODELS:
        shutil.copy(places.model(name), folder / "models")
    listed = subprocess.run(["ldd", *(folder / "bin").iterdir()], check=True, capture_output=True, text=True).stdout
    ours = {pathlib.Path(w) for line in listed.splitlines() for w in line.split() if w.startswith("/") and not w.endswith(":")}
    runtime = next(path.resolve().parent for path in ours if path.name.startswith("libopenvino.so"))
    plugins = [p for pattern in ("*_cpu_plugin.so", "*onnx_frontend.so*", "*ir_frontend.so*", "libtbb*.so*", "libhwloc.so*") for p in runtime.glob(pattern)]
    libraries = [p for p in ours if not p.name.startswith(("libc.so", "libm.so", "ld-linux", "libpthread", "libdl", "librt"))]
    for library in [*libraries, *plugins]:
        shutil.copy(library, folder / "lib" / library.name)
    for name, (interpreter, _) in places.interpreters.items():
        site = interpreter.parent.parent / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        skipped = shutil.ignore_patterns("pip*", "setuptools*", "onnx", "__pycache__", "tests", "_distutils_hack")
        if name == "onnxruntime":  # MXNet's library alone has 218 MB
            shutil.copytree(site, folder / "site" / name, ignore=skipped)
    told = {"commit": environment.commit(), "python": f"{sys.version_info.major}.{sys.version_info.minor}", "pins": environment.pinned()}
    (folder / "packed.json").write_text(json.dumps(told))
    say(f"packed into {folder}")


def head(systems):
    if PACKED:
        told = json.loads((HERE / "packed.json").read_text())
        environment.commit, environment.pinned = lambda: told["commit"], lambda: told["pins"]
    result = environment.head("load")
    result["machine"] = f"{environment.cpu_model()}, {len(os.sched_getaffinity(0))} processors"
    for peer in ("onnxruntime", "mxnet"):
        if any(name.startswith(peer) for name in systems):
            result["versions"][peer] = environment.pinned()[peer]
    return result


def words(text):
    return text.split(",")


def arguments_of():
    parser = environment.parser()
    parser.add_argument("--html", type=pathlib.Path)
    parser.add_argument("--merge", type=lambda text: [pathlib.Path(w) for w in words(text)])
    parser.add_argument("--pack", type=pathlib.Path)
    parser.add_argument("--models", type=words, default=MODELS)
    parser.add_argument("--precisions", type=words, default=None)
    parser.add_argument("--systems", type=words, default=list(SYSTEMS))
    parser.add_argument("--plans", type=words, default=["poisson"])
    parser.add_argument("--loads", type=lambda text: [float(w) for w in words(text)], default=LOADS)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=256)
    arguments = parser.parse_args()
    for name, allowed in (("models", MODELS), ("systems", SYSTEMS)):
        for word in getattr(arguments, name):
            if word not in allowed:
                parser.error(f"--{name}: got {word}, want {', '.join(allowed)}")
    return arguments


def with_rows(result, pairs):
    """The result with rows and their details, each of which says what it was measured on."""
    rows = [{"commit": result["commit"], "date": result["date"], **row} for row, _ in pairs]
    return {**result, "rows": rows, "details": [detail for _, detail in pairs]}


def read_page(path):
    data = path.read_text().split("const report = ", 1)[1].split(";\n", 1)[0]
    page = json.loads(data.replace("<\\/", "</"))
    result = {key: value for key, value in page.items() if key not in ("title", "note")}
    return with_rows(result, list(zip(page["rows"], page["details"], strict=True)))


def run_of(row):
    """What makes two rows the same run; the load of other plans than sweeps follows from the capacity of the moment."""
    load = round(row["load"], 4) if row["plan"].split(":")[0] in SWEEPS else None
    return row["model"], row["precision"], row["system"], row["plan"], row.get("in_flight"), load


def merged(pages):
    pairs = {run_of(row): (row, detail) for page in pages for row, detail in zip(page["rows"], page["details"], strict=True)}
    commits = dict.fromkeys(row["commit"] for row, _ in pairs.values())
    return {**with_rows(pages[-1], list(pairs.values())), "commit": ", ".join(commits), "date": max(page["date"] for page in pages)}


def write_page(places, result, path):
    data = json.dumps({"title": "Latency under load", "note": f"inflight {result['commit']}", **result})
    page = places.page.read_text().replace("/*REPORT*/null", data.replace("</", "<\\/"), 1)
    path.write_text(page)


def write(places, result, arguments):
    if arguments.html:
        write_page(places, result, arguments.html)
    if arguments.json:
        told = {key: value for key, value in result.items() if key != "details"}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n")


def main():
    arguments = arguments_of()
    places = Places(arguments.build)
    if arguments.pack:
        pack(places, arguments.pack)
        return
    if arguments.merge:
        write(places, merged([read_page(path) for path in arguments.merge]), arguments)
        return
    result = {**head(arguments.systems), "seconds": arguments.seconds, "frames": arguments.frames, "limit": arguments.limit}
    kept = []
    began = time.monotonic()
    for model in arguments.models:
        for precision in arguments.precisions or (["f32", "bf16"] if has_bf16() else ["f32"]):
            rows = []
            # What has been measured is kept, whatever ends the next round.
            for rows in measure(places, model, precision, arguments):
                write(places, with_rows(result, [*kept, *rows]), arguments)
            kept += rows
    say(f"took {time.monotonic() - began:.0f} s")
    if not arguments.json:
        print(json.dumps(with_rows(result, kept)["rows"], indent=2))


if __name__ == "__main__":
    main()
