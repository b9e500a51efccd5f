"""What an interpreter with PyTorch holds before it does anything."""

from __future__ import annotations

import torch

from benchmarks.measure import report
from benchmarks.scale_out.inputs import peak_mib


def work() -> dict[str, float]:
    torch.zeros(1)
    return {"peak_mib": peak_mib()}


report(work, repeats=1)
