# SPDX-License-Identifier: Apache-2.0
"""Runs the sweep in MXNet and writes what came out, one case a line: python make.py OUT.jsonl.gz

A case gets `outputs`, or `refused` with MXNet's first line, or `broken` where MXNet corrupts its memory or reads beyond it."""

import gzip
import json
import os
import subprocess
import sys
import warnings

import numpy as np

np.bool = bool  # MXNet 1.9.1 names what NumPy 1.24 took away
warnings.filterwarnings("ignore")
import mxnet as mx  # noqa: E402

from cases import all_cases, uniform  # noqa: E402


def array(one):
    count = int(np.prod(one["shape"], dtype=np.int64))
    values = np.array(list(uniform(one["seed"], count, one["low"], one["high"])), dtype=np.float64)
    if one["whole"]:
        values = np.floor(values)
    return mx.nd.array(values.reshape(one["shape"]).astype(one["dtype"]), dtype=one["dtype"])


def function(op):
    for where in (mx.nd, mx.nd.op, mx.nd._internal):
        if hasattr(where, op):
            return getattr(where, op)
    raise SystemExit(f"MXNet has no operator {op}")


def rounded(value):
    return value if not np.isfinite(value) else float(f"{value:.7g}")


def output(result):
    values = result.asnumpy()
    flat = values.astype(np.float64).ravel().tolist()
    whole = np.issubdtype(values.dtype, np.integer)
    numbers = [int(v) if whole else rounded(v) for v in flat]
    texts = [v if whole or np.isfinite(v) else str(v) for v in numbers]  # JSON has no NaN
    return {"shape": list(values.shape), "dtype": str(values.dtype), "values": texts}


def run(case):
    inputs = [array(one) for one in case["inputs"]]
    attrs = {k: v for k, v in case["attrs"].items()}
    try:
        results = function(case["op"])(*inputs, **attrs)
        results = results if isinstance(results, (list, tuple)) else [results]
        return dict(case, outputs=[output(one) for one in results])
    except (mx.MXNetError, ValueError, TypeError) as error:
        return dict(case, refused=str(error).strip().splitlines()[-1 if "Error in" not in str(error) else 0][:160])


def work(first):
    """Prints the outcome of each case from `first` on. MXNet itself breaks on some; then this process ends."""
    for case in all_cases()[first:]:
        line = json.dumps(run(case), separators=(",", ":"))
        mx.nd.waitall()
        print(line, flush=True)


def sweep(filler):
    """The outcomes of all cases, one operator at a time, with fresh memory filled with a byte so that what MXNet breaks or
    reads beyond its arrays shows."""
    environment = dict(os.environ, MXNET_ENGINE_TYPE="NaiveEngine", OMP_NUM_THREADS="1", MALLOC_CHECK_="3",
                       MALLOC_PERTURB_=str(filler), LD_PRELOAD="libc_malloc_debug.so.0")
    cases = all_cases()
    lines = []
    while len(lines) < len(cases):
        worker = [sys.executable, __file__, "--from", str(len(lines))]
        done = subprocess.run(worker, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        lines += done.stdout.decode().splitlines()
        if len(lines) < len(cases):
            lines.append(broken(cases[len(lines)]))
    return lines


def broken(case):
    return json.dumps(dict(case, broken=True), separators=(",", ":"))


def main():
    lines = [one if one == other else broken(case) for one, other, case in zip(sweep(7), sweep(90), all_cases())]
    with open(sys.argv[1], "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as out:
        out.write(("\n".join(lines) + "\n").encode())
    counts = {what: sum(f'"{what}":' in line for line in lines) for what in ("outputs", "refused", "broken")}
    print(f"MXNet {mx.__version__}: {len(lines)} cases, {counts}")


if __name__ == "__main__":
    if sys.argv[1] == "--from":
        work(int(sys.argv[2]))
    else:
        main()
