# SPDX-License-Identifier: Apache-2.0
"""A server that waits for a batch: the loop, over anything that can be launched. It knows neither torch nor a device."""

import dataclasses
import pathlib


def read_plan(path):
    """Seconds from the start of the run, one a line; what follows a # is a comment."""
    due = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        word = line.split("#")[0].strip()
        if not word:
            continue
        try:
            due.append(float(word))
        except ValueError:
            raise SystemExit(f"{path}: line {number}: got {word!r}, want seconds") from None
        if due[-1] < 0 or (len(due) > 1 and due[-1] < due[-2]):
            raise SystemExit(f"{path}: line {number}: got {word}, want seconds of at least 0, in their order")
    if not due:
        raise SystemExit(f"{path}: no arrivals, want at least one")
    return due


@dataclasses.dataclass
class Served:
    latencies: list = dataclasses.field(default_factory=list)  # seconds, from when each frame was due
    batches: list = dataclasses.field(default_factory=list)  # how many frames each had
    late_max: float = 0  # how late the loop saw a frame, at most
    wall: float = 0


def serve(due, instances, batch_max, wait, clock, settle=0.02):
    """Serves one plan. A batch starts when `batch_max` frames wait, or the oldest has waited `wait` seconds, and an
    instance is free; it takes the oldest frames, as many as fit.

    due        seconds from the start, in order: each frame is there at that moment, whatever the server does
    instances  each runs one batch at a time: {size: slot}; a batch runs on the smallest slot that it fits, padded. A slot
               has launch() and done(), neither of which waits
    """
    served = Served()
    out = [None] * len(instances)  # (slot, first frame, frame after the last)
    arrived = taken = finished = 0
    start = clock() + settle
    while finished < len(due):
        now = clock() - start
        while arrived < len(due) and due[arrived] <= now:
            served.late_max = max(served.late_max, now - due[arrived])
            arrived += 1
        for k, batch in enumerate(out):
            if batch is not None and batch[0].done():
                at = clock() - start
                served.latencies += [at - moment for moment in due[batch[1] : batch[2]]]
                finished = len(served.latencies)
                out[k] = None
            if out[k] is None and taken < arrived:
                count = min(arrived - taken, batch_max)
                if count < batch_max and clock() - start - due[taken] < wait:
                    continue
                slot = instances[k][min(size for size in instances[k] if size >= count)]
                slot.launch()
                out[k] = (slot, taken, taken + count)
                served.batches.append(count)
                taken += count
    served.wall = clock() - start
    return served
