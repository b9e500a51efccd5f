"""Homing's first step: the log becomes parts of whole users."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import report
from benchmarks.scale_out.inputs import peak_mib
from homing.log import read_log, write_parts
from homing.simulation import make_world


def work() -> dict[str, Any]:
    log, folder, memory = sys.argv[1:]
    torch.zeros(1)  # as in the process that trains
    world: Any = make_world("messaging")
    parts = write_parts(read_log(log), world.log_objectives, folder, memory_mib=float(memory))
    stored = sum(path.stat().st_size for path in Path(folder).glob("part-*/*.safetensors"))
    found = {"decisions": parts.n, "users": parts.n_users, "parts": len(parts.parts), "stored_mib": stored / 2**20}
    return found | {"peak_mib": peak_mib()}


report(work, repeats=1)
