# SPDX-License-Identifier: Apache-2.0
"""Whether work that is done again and again holds on to memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable


def least_growth(work: Callable[[], object], rounds: int = 4) -> int:
    """Does the work that often, and returns the least growth of resident memory in a round, in bytes.

    A slot or a thread that first works in some round takes memory once; a leak takes memory in each round.
    """
    growth = []
    for _ in range(rounds):
        before = _resident()
        work()
        gc.collect()
        growth.append(_resident() - before)
    return min(growth)


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
