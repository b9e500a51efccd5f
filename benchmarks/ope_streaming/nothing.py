"""The peer: NumPy making the same batches and adding up one column, which is the least that a pass can cost."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from benchmarks.ope_streaming.inputs import batches

report(lambda: sum(float(batch["reward"].sum()) for batch in batches(int(sys.argv[1]))), repeats=1)
