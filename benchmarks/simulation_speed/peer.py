"""The peer: the same functions as Python, user by user."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from benchmarks.simulation_speed.life import begin, live
from benchmarks.simulation_speed.uncompiled import uncompile

uncompile()
world = begin(int(sys.argv[1]))
live(world, 1)  # the draws are compiled, or read from disk
report(lambda: live(world, int(sys.argv[2])))
