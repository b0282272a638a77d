# SPDX-License-Identifier: Apache-2.0
"""What the rows of `./dev bench gpu` were measured on."""

import datetime
import os
import pathlib
import subprocess
import sys

import environment


def boot():
    """This start of this machine: cards and clocks differ from one to another, so ratios are taken within one."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def card():
    words = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()[0].split(", ")
        return {"gpu": told[0], "driver": told[1]}
    except (OSError, subprocess.SubprocessError, IndexError):
        print("gpu.py: nvidia-smi does not say which card this is", file=sys.stderr)
        return {}


def describe(bench, peer, failed):
    """Adds a row about this machine. Whether its Python has torch."""
    row = {"linux": os.uname().release, "cores": os.cpu_count(), "date": datetime.date.today().isoformat(), "commit": bench.arguments.commit, **card()}
    try:
        told = bench.lines([bench.arguments.python, peer, "versions"])[0]
    except (OSError, failed, IndexError):
        print(f"gpu.py: {bench.arguments.python} has no torch: only ours is measured", file=sys.stderr)
        told = {}
    part = f"machine-{bench.rows.machine}"
    bench.rows.begin(part)
    bench.rows.add(part, {"machine": bench.rows.machine, **row, **{key: value for key, value in told.items() if value is not None}})
    return bool(told)


def head(rows):
    """Of the published result. Several machines and commits are all named; the date and the versions are those of the last one."""
    result = environment.head("gpu")
    found = [row for row in rows if "machine" in row]
    if found:
        last = found[-1]
        named = [f"{row.get('gpu', 'no GPU')}, driver {row.get('driver', 'unknown')}, {row['cores']} CPU cores" for row in found]
        versions = {key: last[key] for key in ("linux", "cuda", "cudnn", "torch") if key in last}
        commits = dict.fromkeys(row["commit"] for row in found)
        result.update(machine="; ".join(dict.fromkeys(named)), date=last["date"], commit=", ".join(commits))
        result["versions"] = {**versions, "openvino": result["versions"]["openvino"]}
    return result
