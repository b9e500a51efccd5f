"""One contract for every engine; that of Ray runs in one session, which is slow to start."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from homing.engines import ENGINES, Engine, InProcess, get_engine
from homing.engines.ray import OnRay, blocks
from homing.errors import InvalidInputError, MissingDependencyError, UnknownNameError
from homing.experiments import MDE, ExperimentPlan, Metric, SufficientStatistics, analyze
from homing.log import DecisionLog, write_parts
from homing.ope import evaluate_log
from homing.simulation import log_decisions, make_world

LINES = ["to be or not to be", "that is the question", "whether to suffer"]
WORDS = {"to": 3, "be": 2, "or": 1, "not": 1, "that": 1, "is": 1, "the": 1, "question": 1, "whether": 1, "suffer": 1}


def count(engine: Engine, lines: list[str], before: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """How often each word comes, by another route than a dictionary of the whole."""

    def split(line: str, shares: int) -> list[list[str]]:
        before(line)
        return [[word for word in line.split() if sum(map(ord, word)) % shares == share] for share in range(shares)]

    def merge(one: list[str], other: list[str]) -> list[str]:
        return one + other

    def finish(words: list[str]) -> dict[str, int]:
        return {word: words.count(word) for word in words}

    found: dict[str, int] = {}
    for share in engine.map_reduce(lines, split, merge, finish):
        assert not found.keys() & share.keys(), "a word is in one share only"
        found |= share
    return found


def contract(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert count(engine, LINES) == count(engine, LINES[::-1]) == WORDS
    assert count(engine, LINES[:1]) == {"to": 2, "be": 2, "or": 1, "not": 1}
    with pytest.raises(InvalidInputError, match=r"items == \[\], must be at least one"):
        count(engine, [])

    def refuse(line: str) -> None:
        if "question" in line:
            raise InvalidInputError("row 7 == 'question', must be an answer.")

    with pytest.raises(InvalidInputError) as error:
        count(engine, LINES, refuse)
    assert str(error.value) == "row 7 == 'question', must be an answer."


def test_the_contract_holds_in_process() -> None:
    contract(get_engine("process"))


def test_engines_go_by_name() -> None:
    assert ENGINES == ("process", "ray") and get_engine("ray") == OnRay()
    mine = InProcess()
    assert get_engine(mine) is mine
    with pytest.raises(UnknownNameError, match=r"engine == 'rai', must be one of 'process', 'ray'. Did you mean 'ray'"):
        get_engine("rai")
    with pytest.raises(InvalidInputError, match="shares == 0, must be a finite number > 0"):
        OnRay(shares=0)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'homing[scale]'")):
        count(get_engine("ray"), LINES)


@pytest.fixture
def cluster() -> Iterator[None]:
    """A Ray cluster of this machine alone. Its sockets need a short path."""
    import ray

    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(
        address="local", _temp_dir=folder, num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=10**8,
    )  # fmt: skip
    yield
    ray.shutdown()
    gc.collect()  # its processes' handles, while their warnings are expected
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("cluster")
def test_the_contract_holds_on_ray_and_numbers_are_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    import ray.data

    contract(get_engine("ray"))
    contract(OnRay(shares=1))

    # A worker that dies at its work: the line is counted again, and once.
    mark = tmp_path / "died"

    def die_once(line: str) -> None:
        if "question" in line and not mark.exists():
            mark.touch()
            os._exit(1)

    assert count(OnRay(shares=3), LINES, die_once) == WORDS and mark.exists()

    # Users' rows stand in every part.
    n = 900
    action = rng.integers(0, 2, n)
    log = pa.table({
        "user_id": [f"u{i}" for i in rng.integers(0, 200, n)], "eligible": [[True, True]] * n, "action": action,
        "propensity": np.full(n, 0.5), "clicked": rng.random(n) < 0.2 + 0.2 * action, "spend": rng.gamma(2.0, 3.0, n),
    })  # fmt: skip
    parts = [log.slice(start, 300) for start in (0, 300, 600)]
    bold, mild = [0.1, 0.9], [0.4, 0.6]
    asked = {"bold": lambda rows: [bold] * len(rows), "mild": lambda rows: [mild] * len(rows)}
    wanted = evaluate_log(parts, asked, objectives=["clicked", "spend"])
    for source in (parts, parts[::-1], ray.data.from_arrow(parts)):
        found = evaluate_log(source, asked, objectives=["clicked", "spend"], engine=OnRay(shares=2))
        assert (found.n, found.n_users, found.keys) == (n, wanted.n_users, wanted.keys)
        assert {name: item.max_weight for name, item in found.support.items()} == {"bold": 1.8, "mild": 1.2}
        assert found.support["bold"].verdict == wanted.support["bold"].verdict
        assert found.values == pytest.approx(wanted.values, rel=1e-12)
        assert found.covariances == pytest.approx(wanted.covariances, rel=1e-9, abs=1e-15)

    # An experiment's units, a part a task.
    units = pl.DataFrame({
        "user_id": np.arange(n), "variant": np.array(["control", "warm"])[action], "orders": rng.poisson(1.0 + action),
    })  # fmt: skip
    orders = Metric("orders", "mean", "orders")
    plan = ExperimentPlan("greeting", success=[(orders, MDE(rel=0.1))], variants={"control": 0.5, "warm": 0.5})
    whole = analyze(SufficientStatistics.from_frame(units, plan), plan).comparison("orders").difference
    pieces = [units[start : start + 300] for start in (0, 300, 600)]
    spread = analyze(SufficientStatistics.from_parts(pieces, plan, engine=OnRay(shares=2)), plan)
    one = spread.comparison("orders").difference
    assert (one.value, one.lower, one.upper) == pytest.approx((whole.value, whole.lower, whole.upper), rel=1e-12)

    # A log that Ray Data reads, made into parts by tasks.
    world = make_world("duolingo")
    logged = log_decisions(world, world.behaviour_policy(), days=3, n_users=40, seed=1)
    here = write_parts(logged, world.log_objectives, tmp_path / "here")
    table = logged.decisions()
    half = table.num_rows // 2
    read = ray.data.from_arrow([table.slice(half), table.slice(0, half)]), ray.data.from_arrow(logged.outcomes())
    far = DecisionLog(*(blocks(each) for each in read))
    there = write_parts(far, world.log_objectives, tmp_path / "there", encoder=here.encoder, engine=OnRay(shares=2))
    assert there.fingerprint == here.fingerprint and there.join == here.join


TWICE = """
from pathlib import Path


def unnamed():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return names.count(Path("/proc/self/comm").read_text())


import ray

from homing.engines.ray import OnRay

print(unnamed())
for _ in range(2):
    OnRay(1).map_reduce([1], lambda item, shares: [item], lambda one, other: one, lambda piece: piece)
    ray.shutdown()
    print(unnamed())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_ray_that_is_started_again_leaves_no_thread_behind(tmp_path: Path) -> None:
    """One that exported metrics outlived `ray.shutdown`, and now and then fell at the exit over what was gone by then.

    Ray names its threads, but for those of the telemetry that it takes in.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", TWICE], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout.split()) == (0, ["1", "1", "1"]), done.stderr[-2000:]
