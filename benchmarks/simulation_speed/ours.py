"""Homing's side: the compiled world."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from benchmarks.simulation_speed.life import begin, live

n_users, days = int(sys.argv[1]), int(sys.argv[2])
world = begin(n_users)
live(world, 1)  # compiled, or read from disk
report(lambda: live(world, days), repeats=5)
