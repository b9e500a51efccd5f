"""A log in parts gives what the whole gives, whatever holds them; what is wrong is named by its row in the whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import LoggedDataset
from homing.ope import Decisions, OPEReport, PolicySums, SumsReport, evaluate_log, evaluate_policy
from homing.ope.artifacts import predictions, probabilities
from homing.ope.estimators import DR, IPS, SNIPS
from homing.policies import load_policy

N = 900
OBJECTIVES = ("clicked", "unsubscribed")
CHOSEN = (IPS(), SNIPS(), DR())


@pytest.fixture(scope="module")
def log(world: Path) -> LoggedDataset:
    """Users' two rows stand 450 rows apart, and so in different parts."""
    return LoggedDataset.load(world / "evaluation").take(np.arange(N).reshape(-1, 2).T.reshape(-1))


@pytest.fixture(scope="module")
def table(log: LoggedDataset) -> pa.Table:
    """The same decisions raw, as a warehouse would export them: the log's columns, and rewards beside them."""
    age = np.random.default_rng(11).normal(40.0, 10.0, 6000)[log.time]
    return pa.table({
        "user_id": log.user,
        "decided_at": pa.array(log.time, pa.timestamp("us", tz="UTC")),
        "context": [{"age": value} for value in age],
        "candidates": [[{"message_id": name} for name in ("silence", "hello", "offer")]] * N,
        "eligible": [[True] * 3] * N,
        "action": pa.array(log.action, pa.int16()),
        "propensity": log.propensity,
        **{name: log.reward[:, j] for j, name in enumerate(OBJECTIVES)},
    })  # fmt: skip


@pytest.fixture(scope="module")
def wanted(world: Path, log: LoggedDataset) -> dict[str, OPEReport]:
    """Each policy on the whole log in memory."""
    q_hat = predictions(log, load_policy(world / "reward_model"))
    return {
        name: evaluate_policy(log, probabilities(log, load_policy(world / name))[0], q_hat=q_hat, estimators=CHOSEN)
        for name in ("policy", "older")
    }


def same(found: SumsReport, wanted: dict[str, OPEReport], *, raw: bool = False) -> None:
    """To 1e-9. Raw features meet the older encoder itself; a data set's are translated, in 32 bits (6e-8) each."""
    assert (found.n, found.n_users) == (N, N // 2)
    for policy, report in wanted.items():
        rel = 1e-6 if raw and policy == "older" else 1e-9
        for (estimator, objective), item in report.estimates.items():
            mine = found.estimate(objective, estimator, policy)
            assert (mine.value, mine.lower, mine.upper) == pytest.approx((item.value, item.lower, item.upper), rel=rel)


def evaluated(world: Path, parts: Any, **options: Any) -> SumsReport:
    asked = {name: load_policy(world / name) for name in ("policy", "older")}
    model = load_policy(world / "reward_model")
    return evaluate_log(parts, asked, objectives=OBJECTIVES, q_hat=model, estimators=CHOSEN, batch_rows=170, **options)


@pytest.mark.parametrize("kind", ["dataset", "folders", "tables", "batch", "parquet"])
def test_every_form_gives_what_the_whole_log_gives(
    kind: str, world: Path, log: LoggedDataset, table: pa.Table, wanted: dict[str, OPEReport], tmp_path: Path
) -> None:
    cuts = [np.arange(0, 300), np.arange(300, 310), np.arange(310, N)]
    parts: Any
    if kind == "dataset":
        parts = log
    elif kind == "folders":
        parts = [tmp_path / f"part-{i}" for i in range(3)]
        for path, rows in zip(parts, cuts, strict=True):
            log.take(rows).save(path)
    elif kind == "tables":
        parts = [table.slice(rows[0], len(rows)) for rows in cuts]
    elif kind == "batch":
        parts = table.combine_chunks().to_batches()[0]
    else:
        parts = [tmp_path / f"part-{i}.parquet" for i in range(3)]
        for path, rows in zip(parts, cuts, strict=True):
            pq.write_table(table.slice(rows[0], len(rows)), path)
    same(evaluated(world, parts), wanted, raw=kind not in ("dataset", "folders"))


def test_ids_stand_for_the_same_user_in_every_part_and_form(world: Path, log: LoggedDataset, table: pa.Table) -> None:
    """As text in the table and as codes of each data set's own: the keys must meet."""
    ids = np.array([f"user-{i}" for i in range(3000)])[log.user]

    def named(rows: np.ndarray) -> LoggedDataset:
        half = log.take(rows)
        known, code = np.unique(ids[rows], return_inverse=True)
        return LoggedDataset(
            half.context, half.candidates, half.eligible, half.action, half.propensity, half.reward, OBJECTIVES, code,
            half.time, encoder=half.encoder, user_ids=known,
        )  # fmt: skip

    text = table.set_column(0, "user_id", pa.array(ids)).slice(450)
    coded = text.set_column(0, "user_id", text["user_id"].combine_chunks().dictionary_encode())
    whole = evaluated(world, log)
    for second in (text, coded, named(np.arange(450, N))):
        found = evaluated(world, [named(np.arange(450)), second])
        # Were they not to meet, 900 clusters of one row each would move covariances by whole percents; 1e-6 as above.
        assert found.n_users == 450
        assert found.covariances == pytest.approx(whole.covariances, rel=1e-6, abs=1e-9)


def test_order_does_not_matter(world: Path, table: pa.Table, wanted: dict[str, OPEReport]) -> None:
    parts = [table.slice(start, 90) for start in range(0, N, 90)]
    same(evaluated(world, [parts[i] for i in np.random.default_rng(3).permutation(10)]), wanted, raw=True)


@pytest.mark.parametrize("cluster", ["user", "decision"])
def test_shares_merge_to_the_whole(log: LoggedDataset, cluster: Any) -> None:
    sums = PolicySums(OBJECTIVES, cluster=cluster)
    sums.add(user=log.user, reward=log.reward, weight={"policy": log.action / log.propensity / 3})
    wanted, merged = sums.report(), sums.like()
    shares = [share.settled() for share in sums.divided(4)]
    assert sum(share.n for share in shares) == N
    # About a quarter of 450 users each, whose standard deviation is 9; decisions are not kept and stay together.
    assert cluster == "decision" or all(2 * 60 < share.n < 2 * 170 for share in shares)
    merged = shares[0]
    for share in shares[1:]:
        merged.merge(share)
    found = merged.report()
    assert (found.n, found.n_users) == (N, wanted.n_users)
    mine, its = found.support["policy"], wanted.support["policy"]
    assert (mine.verdict, mine.max_weight, mine.tail) == (its.verdict, its.max_weight, its.tail)
    assert mine.effective_users == pytest.approx(its.effective_users, rel=1e-9)
    assert found.values == pytest.approx(wanted.values, rel=1e-12)
    assert found.covariances == pytest.approx(wanted.covariances, rel=1e-9, abs=1e-18)


def test_functions_may_read_the_logs_own_columns(log: LoggedDataset, table: pa.Table) -> None:
    """Probabilities and predictions that stand in the log; candidates differ from row to row."""
    probs = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])[np.arange(N) % 2]
    short = (log.action < 2) & (np.arange(N) % 2 == 0)
    lists = [list(row[:2]) if cut else list(row) for row, cut in zip(probs, short, strict=True)]
    rows = table.append_column("new", pa.array(lists)).set_column(
        4, "eligible", pa.array([[True] * len(row) for row in lists])
    )  # fmt: skip
    found = evaluate_log(
        rows, {"new": lambda rows: rows.padded("new")}, objectives=["clicked"], estimators=("ips", "dr"),
        q_hat=lambda rows: 0.3 + 0.1 * rows.padded("new"),
    )  # fmt: skip
    weight = probs[np.arange(N), log.action] * 3
    assert found.estimate("clicked", "ips").value == pytest.approx((weight * log.reward[:, 0]).mean())
    model = (probs * (0.3 + 0.1 * probs)).sum(axis=1)
    left = log.reward[:, 0] - 0.3 - 0.1 * probs[np.arange(N), log.action]
    assert found.estimate("clicked", "dr").value == pytest.approx((model + weight * left).mean())


def _change(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("propensity", 0.0, r"propensity\[733\] == 0\.0, must be in \(0, 1\]"),
        ("propensity", None, r"propensity\[733\] == None, must be given"),
        ("clicked", float("nan"), r"reward\[733, 0\] == nan, must be finite"),
        ("eligible", [False] * 3, r"action\[733\] == \d, must be an eligible candidate"),
        ("eligible", [True], r"len\(eligible\[733\]\) == 1, must be 3, one per candidate"),
        ("action", 3, r"action\[733\] == 3, must be an eligible candidate"),
        ("eligible", [True, None, True], r"eligible\[733\] == \[True, None, True\], must not hold null"),
    ],
)
def test_a_bad_row_is_named_by_its_place_in_the_whole_log(
    name: str, value: object, message: str, world: Path, table: pa.Table
) -> None:
    action = 0 if value == [True] else table["action"][733].as_py()
    broken = _change(_change(table, "action", 733, action), name, 733, value)
    parts = [broken.slice(0, 500), broken.slice(500)]  # row 233 of the second part, in its second batch
    with pytest.raises(InvalidInputError, match=message):
        evaluated(world, parts)


def test_a_bad_answer_is_named_too(table: pa.Table) -> None:
    def answer(row: list[float], at: int = 733) -> Any:
        def probs(rows: Decisions) -> Iterable[Any]:
            return [row if number == at else [1 / 3] * 3 for number in range(rows.first, rows.first + len(rows))]

        return probs

    def evaluate(policy: Any, **options: Any) -> None:
        evaluate_log([table.slice(0, 500), table.slice(500)], {"new": policy}, objectives=["clicked"], **options)

    with pytest.raises(InvalidInputError, match=r"probabilities of 'new'\[733\]\.sum\(\) == 0\.75, must be 1"):
        evaluate(answer([0.25, 0.25, 0.25]))
    with pytest.raises(InvalidInputError, match=r"probabilities of 'new'\[733, 2\] == nan, must be finite"):
        evaluate(answer([0.5, 0.5, float("nan")]))
    with pytest.raises(InvalidInputError, match=r"q_hat\[733, 1, 0\] == inf, must be finite"):
        evaluate(answer([0.0, 1.0, 0.0]), q_hat=answer([0.0, float("inf"), 0.0]), estimators=("dr",))
    with pytest.raises(InvalidInputError, match=r"probabilities of 'new'\.shape == \(\d+, 2\), must be \(\d+, 3\)"):
        evaluate(lambda rows: [[0.5, 0.5]] * len(rows))


def test_what_is_missing_is_named(world: Path, log: LoggedDataset, table: pa.Table, tmp_path: Path) -> None:
    uniform = {"uniform": lambda rows: rows.eligible / rows.eligible.sum(axis=1, keepdims=True)}
    with pytest.raises(UnknownNameError, match=r"objective == 'clicks', .* Did you mean 'clicked'"):
        evaluate_log(log, uniform, objectives=["clicks"])
    with pytest.raises(UnknownNameError, match=r"column == 'clicks', .* Did you mean 'clicked'"):
        evaluate_log(table, uniform, objectives=["clicks"])
    with pytest.raises(InvalidInputError, match=r"parts == \[\], must be at least one"):
        evaluate_log([], uniform, objectives=["clicked"])
    with pytest.raises(InvalidInputError, match="part == 'int', must be a part of a log"):
        evaluate_log([3], uniform, objectives=["clicked"])
    with pytest.raises(InvalidInputError, match=r"file == '.*nowhere\.parquet', must be a readable file"):
        evaluate_log(tmp_path / "nowhere.parquet", uniform, objectives=["clicked"])
    with pytest.raises(InvalidInputError, match=r"dataset folder == .*, must hold manifest\.json"):
        evaluate_log(tmp_path, uniform, objectives=["clicked"])
    with pytest.raises(InvalidInputError, match=r"objectives of the reward model == \[.*\], must hold clicked"):
        evaluate_log(log, uniform, objectives=["clicked"], q_hat=load_policy(world / "baseline"))
    with pytest.raises(InvalidInputError, match="source == 'LoggedDataset', must be an Arrow batch to have columns"):
        evaluate_log(log, {"new": lambda rows: rows.padded("new")}, objectives=["clicked"])
    with pytest.raises(InvalidInputError, match="q_hat == None, is needed by dr"):
        evaluate_log(log, uniform, objectives=["clicked"], estimators=("ips", "dr"))
    with pytest.raises(InvalidInputError, match="estimators == 'mips-message', must use the weights"):
        evaluate_log(log, uniform, objectives=["clicked"], estimators=("mips-message",))
    none = table.set_column(
        table.schema.get_field_index("eligible"), "eligible", pa.array([[]] * N, pa.list_(pa.bool_()))
    )
    with pytest.raises(InvalidInputError, match=r"action\[0\] == \d, must be an eligible candidate"):
        evaluate_log(none, uniform, objectives=["clicked"])

    def untouched(rows: Decisions) -> Any:
        raise AssertionError("the log is not read for a call that is wrong")

    with pytest.raises(InvalidInputError, match=r"level == 95, must be in \(0, 1\)"):
        evaluate_log(log, {"new": untouched}, objectives=["clicked"], level=95)
    for name, kind, message in (
        ("user_id", "double", "must be text or integers"),
        ("action", "double", "must be an integer"),
        ("eligible", "double", "must be a list, with an entry for each candidate"),
        ("clicked", "string", "must be a number"),
    ):
        values = pa.array(["a" if kind == "string" else 0.5] * N)
        wrong = table.set_column(table.schema.get_field_index(name), name, values)
        with pytest.raises(InvalidInputError, match=rf"{name}\.type == '{kind}', {message}"):
            evaluate_log(wrong, uniform, objectives=["clicked"])
