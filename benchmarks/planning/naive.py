"""What planning without prices gives: the most valuable message first, and whoever comes first."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from benchmarks.planning.instances import make
from homing.planning.baselines import first_come_value, greedy_value
from homing.planning.layout import lay_out

layout = lay_out(make(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3])))


def work() -> dict[str, float]:
    return {"greedy by value": greedy_value(layout), "first come": first_come_value(layout)}


work()
report(work, repeats=1)
