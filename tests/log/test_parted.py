"""A log in parts holds what `build_dataset` makes of the whole; damaged or missing parts are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from homing.errors import CorruptFileError, InvalidInputError
from homing.log import DecisionLog, PartedDataset, build_dataset_with_report, read_log, write_parts
from homing.log.parts import TablePart
from homing.policies import UniformPolicy
from homing.simulation import Delivery, log_decisions, make_world

DAY = 86_400_000_000


@pytest.fixture
def world():
    return make_world("duolingo")


def rows_of(dataset) -> list[tuple]:
    """Rows of a data set as one can compare them whatever their order and the numbers of users."""
    out = []
    for i, batch in enumerate(dataset.batches(1)):
        eligible = np.flatnonzero(batch.eligible[0]).tolist()
        out.append((str(dataset.user_ids[dataset.user[i]]), int(dataset.time[i]), int(batch.action[0]), eligible,
                    float(batch.propensity[0]), batch.reward[0].tolist(), batch.context[0].tolist(),
                    batch.candidates[0][: 1 + max(eligible)].tolist()))  # fmt: skip
    return sorted(out)


def test_parts_hold_the_rows_of_the_whole_log(world, tmp_path) -> None:
    log = log_decisions(
        world, UniformPolicy(), days=6, n_users=60, seed=2, delivery=Delivery(duplicate_share=0.2), out=tmp_path / "log"
    )
    until = int(read_log(tmp_path / "log").decisions().column("decided_at").cast("int64").to_numpy().max())
    whole, report = build_dataset_with_report(log, world.log_objectives, until=until)
    parts = write_parts(read_log(tmp_path / "log"), world.log_objectives, tmp_path / "parts", until=until)
    assert report.censored_decisions > 0 and report.duplicates > 0
    assert parts.n == whole.n and parts.n_users == whole.n_users
    assert parts.join == report.to_dict()
    assert parts.shape == (whole.context.shape[1], whole.candidates.shape[2])
    np.testing.assert_allclose(parts.reward_mean, whole.reward.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(parts.reward_std, whole.reward.std(axis=0), rtol=1e-12)
    together = parts.sample(parts.n)
    assert rows_of(together) == rows_of(whole)
    assert together.encoder.to_dict() == whole.encoder.to_dict()
    # Users are dealt once, and each part is a data set by itself.
    users = [set(part.user_ids[np.unique(part.user)]) for part in map(parts.part, range(len(parts.parts)))]
    assert sum(map(len, users)) == len(set().union(*users)) == whole.n_users
    assert not list((tmp_path / "parts").glob("rows-*"))


def test_parts_do_not_depend_on_the_logs_files(world, tmp_path) -> None:
    log = log_decisions(world, UniformPolicy(), days=3, n_users=40, seed=1)
    decisions, outcomes = log.decisions(), log.outcomes()
    order = np.random.default_rng(0).permutation(decisions.num_rows)
    pieces = [TablePart(f"d{i}", decisions.take(rows)) for i, rows in enumerate(np.array_split(order, 5))]
    shuffled = DecisionLog(pieces, [TablePart("o", outcomes.slice(0, 7)), TablePart("p", outcomes.slice(7))])
    one = write_parts(log, world.log_objectives, tmp_path / "a")
    other = write_parts(shuffled, world.log_objectives, tmp_path / "b", encoder=one.encoder)
    assert one.fingerprint == other.fingerprint


def test_less_memory_makes_more_parts(world, tmp_path) -> None:
    log = log_decisions(world, UniformPolicy(), days=3, n_users=400, seed=1)
    few = write_parts(log, world.log_objectives, tmp_path / "few")
    many = write_parts(log, world.log_objectives, tmp_path / "many", memory_mib=0.1)
    assert len(few.parts) == 10 < len(many.parts)
    sizes = [sum(path.stat().st_size for path in many.folder(i).iterdir()) for i in range(len(many.parts))]
    # A sixteenth of the memory each, with the names of users and how uneven a hash deals so few.
    assert np.mean(sizes) < 0.1 * 2**20 / 16 * 2


def test_what_is_wrong_is_refused(world, tmp_path) -> None:
    log = log_decisions(world, UniformPolicy(), days=2, n_users=40)
    parts = write_parts(log, world.log_objectives, tmp_path / "parts")
    with pytest.raises(InvalidInputError, match=r"must not hold parts.json. Give an empty one"):
        write_parts(log, world.log_objectives, tmp_path / "parts")
    with pytest.raises(InvalidInputError, match=r"must hold parts.json. Give a folder that write_parts wrote"):
        PartedDataset.load(tmp_path)
    with pytest.raises(InvalidInputError, match="memory_mib == 0, must be a finite number > 0"):
        write_parts(log, world.log_objectives, tmp_path / "new", memory_mib=0)
    with pytest.raises(InvalidInputError, match="decisions == 0, must be >= 1"):
        write_parts(DecisionLog.from_tables(log.schema.empty_table()), world.log_objectives, tmp_path / "new",
                    encoder=parts.encoder)  # fmt: skip
    again = PartedDataset.load(tmp_path / "parts")
    assert again.fingerprint == parts.fingerprint and again.join == parts.join
    parts.part(1).save(parts.folder(0))
    with pytest.raises(CorruptFileError, match="is not the one that was listed"):
        again.part(0)
    path = tmp_path / "parts" / "parts.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"format": 2}))
    with pytest.raises(InvalidInputError, match=r"must be 1\. Write it again"):
        PartedDataset.load(tmp_path / "parts")
    path.write_text(json.dumps(found)[:-9])
    with pytest.raises(CorruptFileError, match="must be whole"):
        PartedDataset.load(tmp_path / "parts")
