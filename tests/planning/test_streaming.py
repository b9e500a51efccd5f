"""Plans part by part: as good as in one piece, the same on every engine, and going on where they were killed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.engines import InProcess
from homing.errors import InvalidInputError
from homing.planning import ProblemFile, UnmetFloorsError, answers, solve, solve_parquet, streaming
from homing.planning.parts import parts_of
from homing.planning.sharing import shared

YAML = """
candidates: candidates
columns: {codes: [channel, campaign], costs: [opt_outs], segments: [tier]}
budgets:
  - {limit: 700, where: {channel: push}}
  - {limit: 20, cost: opt_outs}
  - {limit: 300, where: {tier: gold}}
floors:
  - {limit: 150, where: {campaign: launch}}
"""


def write(folder, users=3000, *, seed=0, group=1000, files=2):
    """Users of 1 to 8 candidates in row groups that cut users in two."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, users)
    n = int(sizes.sum())
    table = pa.table(
        {
            "user_id": np.repeat([f"u{i:05d}" for i in range(users)], sizes),
            "value": (rng.gamma(2.0, 0.5, n) - 0.2).astype(np.float32),
            "channel": np.array(["push", "email"])[rng.integers(0, 2, n)],
            "campaign": np.array(["launch", "tips", "news"])[rng.integers(0, 3, n)],
            "opt_outs": rng.gamma(0.5, 0.02, n).astype(np.float32),
            "tier": np.repeat(np.array(["gold", "plain", "new"])[rng.integers(0, 3, users)], sizes),
        }
    )
    (folder / "candidates").mkdir()
    step = -(-n // files)
    for i in range(files):
        pq.write_table(table.slice(i * step, step), folder / "candidates" / f"{i}.parquet", row_group_size=group)
    (folder / "problem.yaml").write_text(YAML)
    return folder / "problem.yaml", table


@pytest.mark.parametrize("rows", [1, 1500, 4000, 10**9])
def test_parts_hold_whole_users_and_all_of_them(tmp_path, rows):
    _, table = write(tmp_path, 100, group=7)
    parts, count = parts_of(tmp_path / "candidates", ["user_id"], rows)
    read = [part.read("user_id", ["user_id", "value"]) for part in parts]
    assert count == table.num_rows
    assert pa.concat_tables(read)["value"].to_pylist() == table["value"].to_pylist()
    users = [set(one["user_id"].to_pylist()) for one in read]
    assert sum(map(len, users)) == 100


def test_many_parts_are_nearly_as_good_as_one_piece_and_keep_every_limit(tmp_path):
    path, _ = write(tmp_path)
    whole = solve(ProblemFile.from_yaml(path).problem(tmp_path))
    found = solve_parquet(path, tmp_path / "out", part_rows=2500, sample_rows=6000)
    assert len(found.files) > 4
    assert found.upper_bound >= whole.value - 1e-6
    assert found.value <= whole.upper_bound * (1 + 1e-9)
    # Each of some five parts loses about a message to rounding, of some 1,400 that are worth 1.5 on average.
    assert found.gap <= 5e-3
    rows = pa.concat_tables([pq.read_table(file) for file in found.files])
    assert sum(rows["value"].to_pylist()) == pytest.approx(found.value, rel=1e-9)
    assert rows["channel"].to_pylist().count("push") == found.usage[0].used
    assert len(rows) == found.n_messages == len(set(rows["user"].to_pylist()))
    assert found.n_users == 3000 == found.n_silent + found.n_messages
    for item in found.usage:
        assert item.missing <= 1e-9 * item.limit, item
    assert found.to_dict()["limits"][3]["kind"] == "floor"


def test_one_part_is_the_plan_in_one_piece(tmp_path):
    path, _ = write(tmp_path, 500)
    whole = solve(ProblemFile.from_yaml(path).problem(tmp_path))
    found = solve_parquet(path, tmp_path / "out")
    assert found.value == pytest.approx(whole.value, rel=1e-3)
    assert found.prices == pytest.approx(whole.prices, abs=1e-9)


def test_a_run_that_was_killed_goes_on(tmp_path, monkeypatch):
    path, _ = write(tmp_path)
    options = {"part_rows": 4000, "sample_rows": 6000}
    want = solve_parquet(path, tmp_path / "undisturbed", **options)
    asked: list[str] = []
    stop = {"at": 0}
    plain = answers.demand_of, answers.write_plan

    def dying(number):
        def asks(*given, **keys):
            asked.append(plain[number].__name__)
            if len(asked) == stop["at"]:
                raise KeyboardInterrupt
            return plain[number](*given, **keys)

        return asks

    monkeypatch.setattr(answers, "demand_of", dying(0))
    monkeypatch.setattr(answers, "write_plan", dying(1))
    for at in (3, 4):
        asked.clear()
        stop["at"] = at
        with pytest.raises(KeyboardInterrupt):
            solve_parquet(path, tmp_path / "out", **options)
    stop["at"] = 10**6
    found = solve_parquet(path, tmp_path / "out", **options)
    assert (found.value, found.upper_bound) == (want.value, want.upper_bound)
    assert found.prices.tolist() == want.prices.tolist()
    # What parts have answered is not asked again: no part plans, and only the sample is looked at.
    asked.clear()
    solve_parquet(path, tmp_path / "out", **options)
    assert "write_plan" not in asked and len(asked) <= streaming.PASSES
    # With other data it begins anew.
    first = tmp_path / "candidates" / "0.parquet"
    pq.write_table(pq.read_table(first), first, row_group_size=500)
    asked.clear()
    solve_parquet(path, tmp_path / "out", **options)
    assert asked.count("write_plan") >= 4


def test_shares_add_up():
    rng = np.random.default_rng(0)
    used = rng.integers(0, 50, (7, 4)).astype(float)
    limit = np.array([100.0, 1e4, 60.0, 33.3])
    budget = np.array([True, True, False, True])
    out = shared(used, limit, budget, np.array([True, True, True, False]))
    total = out.sum(axis=0)
    assert total[0] == 100.0 and total[1] == 1e4 and total[2] == 60.0
    assert 33.3 * (1 - 1e-9) <= total[3] <= 33.3
    assert (out[:, 1] >= used[:, 1]).all()  # all that is wanted fits
    assert (out[:, :3] == np.round(out[:, :3])).all()


def test_a_folder_without_rows_is_refused(tmp_path):
    write(tmp_path, 10)
    for file in (tmp_path / "candidates").iterdir():
        file.unlink()
    with pytest.raises(InvalidInputError, match=r"candidates == .*, must hold rows"):
        solve_parquet(tmp_path / "problem.yaml", tmp_path / "out")


@pytest.mark.slow
def test_ray_gives_the_same(tmp_path):
    """With one worker and with two, to the last bit: sums are made in the order of parts."""
    ray = pytest.importorskip("ray")
    path, _ = write(tmp_path)
    options = {"part_rows": 4000, "sample_rows": 6000, "threads": 1}
    want = solve_parquet(path, tmp_path / "here", engine=InProcess(), **options)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        from homing.engines.ray import OnRay

        for shares in (1, 2):
            found = solve_parquet(path, tmp_path / f"ray{shares}", engine=OnRay(shares), **options)
            assert found.prices.tolist() == want.prices.tolist()
            assert abs(found.value - want.value) <= 1e-9 * want.value
            assert abs(found.upper_bound - want.upper_bound) <= 1e-9 * want.value
            rows = [pa.concat_tables([pq.read_table(file) for file in plan.files]) for plan in (want, found)]
            assert rows[0].equals(rows[1])
    finally:
        ray.shutdown()


def test_a_user_in_two_parts_is_refused(tmp_path):
    """Each part would send the user one message; not seen in a sample."""
    path, table = write(tmp_path, 500)
    options = {"part_rows": 500, "sample_rows": 100}
    pq.write_table(table.slice(0, 1), tmp_path / "candidates" / "9.parquet")
    with pytest.raises(InvalidInputError, match="user == 'u00000', occurs twice, with others between"):
        solve_parquet(path, tmp_path / "out", **options)
    longer = table.slice(0, 2).set_column(0, "user_id", pa.array(["u00000", "u00000-and-a-much-longer-one"]))
    pq.write_table(longer, tmp_path / "candidates" / "9.parquet")
    with pytest.raises(InvalidInputError, match="user == 'u00000', occurs twice, with others between"):
        solve_parquet(path, tmp_path / "out", **options)
    numbers = table.set_column(0, "user_id", pa.array([int(user[1:]) for user in table["user_id"].to_pylist()]))
    pq.write_table(numbers, tmp_path / "candidates" / "0.parquet")
    again = numbers.slice(0, 1).set_column(0, "user_id", pa.array([0.0]))
    for name in ("1", "9"):
        pq.write_table(again if name == "9" else numbers.slice(0, 0), tmp_path / "candidates" / f"{name}.parquet")
    with pytest.raises(InvalidInputError, match=r"user == 0\.0, occurs twice, with others between"):
        solve_parquet(path, tmp_path / "out", **options)
    for name, odd in (("0", 0), ("1", 1), ("9", 2)):  # in no order, yet nobody twice
        where = np.array(numbers["user_id"].to_pylist()) % 3 == odd
        pq.write_table(numbers.filter(pa.array(where)), tmp_path / "candidates" / f"{name}.parquet")
    assert solve_parquet(path, tmp_path / "out", **options).n_users == 500


@pytest.mark.parametrize("kind", [pa.uint64(), pa.int32(), pa.binary(8)], ids=str)
def test_users_are_told_apart_whatever_names_them(tmp_path, kind):
    """Numbers of all 64 bits, say: whoever stands in two row groups is of one part."""
    path, _ = write(tmp_path, 300, group=97)
    want = solve_parquet(path, tmp_path / "want", part_rows=300)
    for name in ("0", "1"):
        file = tmp_path / "candidates" / f"{name}.parquet"
        rows = pq.read_table(file)
        number = [int(user[1:]) + (2**63 if kind == pa.uint64() else 0) for user in rows["user_id"].to_pylist()]
        users = [b"%08d" % item for item in number] if kind == pa.binary(8) else number
        pq.write_table(rows.set_column(0, "user_id", pa.array(users, kind)), file, row_group_size=97)
    found = solve_parquet(path, tmp_path / "out", part_rows=300)
    assert (found.value, found.n_users) == (want.value, 300)


def test_parts_are_not_planned_where_their_candidates_are(tmp_path):
    """The next run would read them as candidates, and remove those that are named as they are."""
    path, _ = write(tmp_path, 100)
    with pytest.raises(InvalidInputError, match="must not be where the plan is written"):
        solve_parquet(path, tmp_path / "candidates")
    assert sorted(file.name for file in (tmp_path / "candidates").iterdir()) == ["0.parquet", "1.parquet"]


def test_files_that_hold_the_same_in_other_types_go_together(tmp_path):
    path, _ = write(tmp_path, 300, group=97)
    want = solve_parquet(path, tmp_path / "want", part_rows=300)
    second = tmp_path / "candidates" / "1.parquet"
    rows = pq.read_table(second)
    for name in ("user_id", "channel"):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].dictionary_encode())
    rows = rows.set_column(1, "value", rows["value"].cast(pa.float64()))
    rows = rows.set_column(5, "tier", rows["tier"].cast(pa.large_string()))
    pq.write_table(rows.select(rows.column_names[::-1]), second, row_group_size=97)
    found = solve_parquet(path, tmp_path / "out", part_rows=300)
    assert (found.value, found.n_messages) == (want.value, want.n_messages)
    pq.write_table(rows.set_column(1, "value", pa.array(["1"] * len(rows))), second, row_group_size=97)
    with pytest.raises(InvalidInputError, match="must be of one kind in all of the candidates' files"):
        solve_parquet(path, tmp_path / "out", part_rows=10**6)


@pytest.mark.parametrize(("column", "value"), [("value", float("nan")), ("channel", None)])
def test_a_bad_row_is_told_with_its_part(tmp_path, column, value):
    path, _ = write(tmp_path, 500, group=100)
    second = tmp_path / "candidates" / "1.parquet"
    rows = pq.read_table(second)
    changed = rows[column].to_pylist()
    changed[-1] = value
    rows = rows.set_column(rows.column_names.index(column), column, pa.array(changed))
    pq.write_table(rows, second, row_group_size=100)
    where = rf"part \d+, which begins in row group \d+ of 1.parquet: {column}\[\d+\] == "
    with pytest.raises(InvalidInputError, match=where):
        solve_parquet(path, tmp_path / "out", part_rows=300)


def test_floors_that_are_not_met_are_told_of_the_whole(tmp_path):
    path, _ = write(tmp_path, 500)
    path.write_text(YAML.replace("limit: 150", "limit: 499"))
    with pytest.raises(UnmetFloorsError, match=r"floor 'campaign=launch' == 499\.0, met by no plan that was found"):
        solve_parquet(path, tmp_path / "out", part_rows=500)
    assert not list((tmp_path / "out").glob("plan-*.parquet"))


def test_what_another_problem_wrote_over_is_planned_again(tmp_path):
    """A limit is tried and taken back: the first run's answers are there still, their files are the second's."""
    path, _ = write(tmp_path, 500)
    want = solve_parquet(path, tmp_path / "out", part_rows=500)
    first = pa.concat_tables([pq.read_table(file) for file in want.files])
    path.write_text(YAML.replace("limit: 700", "limit: 50"))
    assert solve_parquet(path, tmp_path / "out", part_rows=500).usage[0].used <= 50
    path.write_text(YAML)
    again = solve_parquet(path, tmp_path / "out", part_rows=500)
    assert pa.concat_tables([pq.read_table(file) for file in again.files]).equals(first)
    assert again.value == want.value


@pytest.mark.parametrize("limit", [0, 0.001], ids=["none", "next to none"])
def test_without_money_parts_know_that_nothing_better_is_possible(tmp_path, limit):
    """Some cost so little that no price keeps them back: a bound that counted them would be 5 % above every plan."""
    rng = np.random.default_rng(1)
    users, each = 4000, 4
    money = rng.gamma(0.1, 0.02, users * each).astype(np.float32)
    money[::5] = 0.0
    table = {"user_id": np.repeat(np.arange(users), each), "value": rng.gamma(2.0, 0.5, users * each), "money": money}
    pq.write_table(pa.table(table), tmp_path / "candidates.parquet", row_group_size=2000)
    path = tmp_path / "problem.yaml"
    budgets = f"budgets: [{{limit: {limit}, cost: money}}]"
    path.write_text(f"candidates: candidates.parquet\ncolumns: {{costs: [money]}}\n{budgets}\n")
    whole = solve(ProblemFile.from_yaml(path).problem(tmp_path))
    found = solve_parquet(path, tmp_path / "out", part_rows=4000)
    assert len(found.files) > 1
    assert whole.value * (1 - 1e-6) <= found.upper_bound <= whole.value * (1 + 1e-3)
    assert found.gap < 1e-3
