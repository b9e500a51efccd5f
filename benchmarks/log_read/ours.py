"""Homing's side: read every row of a log, verify its checksums, hold it to the contract's rules."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from homing.log import read_log, validate


def work() -> int:
    found = validate(read_log(sys.argv[1]))
    assert found.ok, str(found)
    return found.n_decisions


report(work)
