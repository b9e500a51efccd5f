"""Benchmarks compare like with like: both sides give the same answer. (Open Bandit Pipeline's are in tests/ope.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.log_read import inputs
from benchmarks.measure import Side, run, table

#: Each side is a process of its own.
in_processes = pytest.mark.slow


@in_processes
def test_both_sides_read_the_same_decisions(tmp_path: Path) -> None:
    inputs.write(tmp_path, rows=700, candidates=3)
    ours, peer = (run(f"benchmarks.log_read.{side}", tmp_path) for side in ("ours", "peer"))
    assert ours.answer == peer.answer == 700
    assert len(ours.cpu_s) == 3 and ours.best_cpu_s > 0


@in_processes
def test_both_sides_score_the_same() -> None:
    ours, peer = (run(f"benchmarks.scoring.{side}", 3, 4, 1) for side in ("ours", "peer"))
    assert ours.answer == pytest.approx(peer.answer, rel=1e-4)


@in_processes
def test_a_stream_and_the_whole_log_give_the_same() -> None:
    """140,000 rows are more than one batch."""
    sums, whole = (run(f"benchmarks.ope_streaming.{side}", 140_000).answer for side in ("ours", "whole"))
    for name, numbers in whole.items():
        assert sums[name] == pytest.approx(numbers, rel=1e-9)


def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(SystemExit, match=r"benchmarks\.log_read\.ours failed:\n[\s\S]*path == 'nowhere'"):
        run("benchmarks.log_read.ours", "nowhere")


def test_the_fastest_run_counts() -> None:
    assert Side((0.3, 0.1, 0.2), 0.0, None).best_cpu_s == 0.1
    assert table(("side", "s"), [("a", "1")]) == "| side | s |\n|---|---:|\n| a | 1 |"
