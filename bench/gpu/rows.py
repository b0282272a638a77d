# SPDX-License-Identifier: Apache-2.0
"""The rows of `./dev bench gpu`: a file to which each is added as it is measured, and what they come to."""

import json
import os

SYSTEMS = ("torch_eager", "torch_eager_graph", "torch_compile_graph", "torch_autotune_graph")
# Ratios of ours to a peer, device to device, by model: at most, or at least. The detector has no goal. Eight predictions
# in flight are one batch of 8, which is what the goal compares with; two batches at a time are told beside it.
GOALS = {
    "latency_1": ("at most", {"resnet50": 0.65, "mobilenet_v2": 0.70, "vit_b_16": 0.70}),
    "rate_8": ("at least", {"resnet50": 1.6, "mobilenet_v2": 2.1, "vit_b_16": 2.0}),
    "rate_8_over_batches": ("at least", {"resnet50": 1.15, "mobilenet_v2": 1.3, "vit_b_16": 1.1}),
    "rate_8_over_two_batches": ("at least", {}),
    "p99_8": ("at most", {"resnet50": 0.65, "mobilenet_v2": 0.5, "vit_b_16": 0.6}),
}


class Failed(Exception):
    """What a part says of why it did not end well."""


class OutOfTime(Exception):
    """The deadline of the whole run."""


class Rows:
    """One line of JSON a row, with the part that it belongs to and the machine that it was measured on. A part has ended if
    a row says how. The file is whole after each row, whatever ends the program."""

    DONE, TOO_LONG = "done", "it took longer than"

    def __init__(self, path, machine):
        self.path, self.machine = path, machine
        self.rows = []
        if path.exists():
            # The last line may have been cut off.
            for line in path.read_text().splitlines():
                try:
                    self.rows.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        self.write()

    def write(self):
        whole = self.path.with_suffix(".new")
        whole.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        os.replace(whole, self.path)

    def of(self, part):
        return [row for row in self.rows if row["part"] == part]

    def how_ended(self, part):
        return next((row["ended"] for row in self.of(part) if "ended" in row), None)

    def is_settled(self, part):
        """Whether to measure it again would be a waste of time: it is there, or did not come to an end. What failed may not fail
        again."""
        ended = self.how_ended(part)
        return ended is not None and (ended == self.DONE or ended.startswith(self.TOO_LONG))

    def begin(self, part):
        """Forgets what an earlier try of it left."""
        self.rows = [row for row in self.rows if row["part"] != part]
        self.write()

    def add(self, part, row):
        row = {"part": part, "at": self.machine, **row}
        self.rows.append(row)
        line = json.dumps(row)
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    def end(self, part, how, seconds):
        self.add(part, {"ended": how, "seconds": round(seconds, 1)})


def closed(rows):
    """Rows of closed loops by (machine, model, system, where, in flight, batch); ours are those with pinned inputs."""
    return {
        (r.get("at"), r["model"], r["system"], r["where"], r["in_flight"], r["batch"]): r
        for r in rows
        if "model" in r and "load" not in r and r.get("memory", "pinned") == "pinned"
    }


def ratios(rows):
    """Of ours to the best torch graph that was measured on the same machine; without a peer, only what was looked for. Of
    several machines with the same peer, the last one counts."""
    measured = closed(rows)
    found = []
    for name in dict.fromkeys(key[1] for key in measured):
        for where in ("device", "host"):
            machines = {}  # by peer
            for at in [key[0] for key in measured if key[1:] == (name, "inflight", where, 8, 1)]:
                machines[next((s for s in reversed(SYSTEMS) if (at, name, s, where, 8, 1) in measured), None)] = at
            for peer, at in machines.items():
                if peer is not None:
                    found.append({"model": name, "where": where, "peer": peer, **ratios_to(measured, at, name, peer, where)})
                elif len(machines) == 1:
                    found.append({"model": name, "where": where, "peer": None})
    return found


def ratios_to(measured, at, name, peer, where):
    def one(system, in_flight):
        return measured.get((at, name, system, where, in_flight, 1))

    def over(in_flight, value):
        mine, its = one("inflight", in_flight), one(peer, in_flight)
        return round(mine[value] / its[value], 3) if mine and its else None

    def over_batches(at_a_time):
        rates = [row["rate"] for key, row in measured.items() if (*key[:2], *key[3:]) == (at, name, where, at_a_time, 8)]
        return round(one("inflight", 8)["rate"] / max(rates), 3) if rates else None

    return {
        "latency_1": over(1, "p50_us"),
        "rate_8": over(8, "rate"),
        "rate_8_over_batches": over_batches(1),
        "rate_8_over_two_batches": over_batches(2),
        "p99_8": over(8, "p99_us"),
    }


def meets(kind, name, value):
    """Whether a ratio is within its goal; None without either."""
    words, goals = GOALS[kind]
    if value is None or name not in goals:
        return None
    return value <= goals[name] if words == "at most" else value >= goals[name]
