"""Accepting a log: good rows out, bad rows beside them with reasons, nothing lost, nothing half done."""

import itertools
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.log import DecisionLog, accept, read_log, write_log
from tests.log._builders import make_log

BAD = {"propensity": 0.0}


def test_good_and_bad_rows_are_parted(tmp_path: Path) -> None:
    log = make_log(8, {1: BAD, 6: {"slice": "x"}}, {5: {"kind": "cliked"}})
    kept, report = accept(log, tmp_path, max_rejected_share=0.5)
    assert sorted(kept.decisions()["decision_id"].to_pylist()) == ["d0", "d2", "d3", "d4", "d5", "d7"]
    assert kept.paths == (tmp_path,)
    assert read_log(tmp_path).outcomes().num_rows == 7
    rows = pq.read_table(tmp_path / "rejected/decisions").to_pylist()
    assert [(row["decision_id"], row["reason"]) for row in rows] == [
        ("d1", "decisions.propensity must be in (0, 1]"),
        ("d6", "decisions.slice must be one of 'policy', 'uniform', 'holdout'"),
    ]
    assert {name: value for name, value in rows[0].items() if name != "reason"} == log.decisions().to_pylist()[1]
    (row,) = pq.read_table(tmp_path / "rejected/outcomes").to_pylist()
    assert (row["outcome_id"], row["kind"]) == ("o5", "cliked")
    assert (report.accepted_decisions, report.rejected_decisions, report.rejected_outcomes) == (6, 2, 1)


def test_rejected_rows_keep_the_columns_they_came_with(tmp_path: Path) -> None:
    table = make_log(2, {1: BAD}).decisions().append_column("note", [["a", "b"]]).drop_columns(["propensities"])
    accept(DecisionLog.from_tables(table), tmp_path / "out", max_rejected_share=0.5, rejected=tmp_path / "bad")
    (row,) = pq.read_table(tmp_path / "bad/decisions").to_pylist()
    assert list(row) == [*table.column_names, "reason"]
    assert row["note"] == "b"


def test_a_good_log_leaves_no_rejected_folder(tmp_path: Path) -> None:
    accept(make_log(3), tmp_path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["decisions", "outcomes"]


@settings(max_examples=15, deadline=None)
@given(
    decisions=st.lists(st.booleans(), max_size=12),
    outcomes=st.lists(st.booleans(), max_size=12),
    parts=st.integers(1, 3),
)
def test_nothing_is_lost(
    decisions: list[bool], outcomes: list[bool], parts: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out")
    n = max(len(decisions), len(outcomes))
    log = make_log(
        n,
        {i: BAD for i, bad in enumerate(decisions) if bad},
        {i: {"kind": "?"} for i, bad in enumerate(outcomes) if bad},
    )
    cuts = [n * i // parts for i in range(parts + 1)]
    pieces = [
        DecisionLog.from_tables(log.decisions()[low:high], log.outcomes()[low:high])
        for low, high in itertools.pairwise(cuts)
    ]
    kept, report = accept(DecisionLog.concat(*pieces), out, max_rejected_share=1.0)
    for name, table, bad in (("decisions", kept.decisions(), decisions), ("outcomes", kept.outcomes(), outcomes)):
        folder = out / "rejected" / name
        rejected = pq.read_table(folder).num_rows if folder.exists() else 0
        assert rejected == sum(bad)
        assert table.num_rows == n - sum(bad)
    assert sum(report.reasons.values()) == sum(decisions) + sum(outcomes)


def test_too_many_rejected_rows(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        accept(make_log(10, {1: BAD, 2: BAD}), tmp_path)
    assert str(error.value) == (
        "rejected decisions == '2 of 10 (20.0%)', must be at most 5.0%. Most often: propensity == 0.0, must be in "
        "(0, 1]. Log the probability with which the action was chosen. All of them, with reasons, are in "
        f"{tmp_path / 'rejected'}. Mend the log, or raise max_rejected_share."
    )
    assert pq.read_table(tmp_path / "rejected/decisions").num_rows == 2
    # Nothing that looks like an accepted log is left, not even temporary files.
    assert [file for file in tmp_path.rglob("*") if file.is_file() and "rejected" not in file.parts] == []


def test_the_share_itself_is_allowed(tmp_path: Path) -> None:
    accept(make_log(20, {1: BAD}), tmp_path, max_rejected_share=0.05)


def test_the_share_holds_for_each_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"rejected outcomes == '3 of 20 \(15\.0%\)'"):
        accept(make_log(20, outcomes={i: {"kind": "x"} for i in range(3)}), tmp_path, max_rejected_share=0.1)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_are_in_0_1(share: float) -> None:
    with pytest.raises(InvalidInputError, match=r"max_rejected_share == .*, must be in \[0, 1\]"):
        accept(make_log(1), None, max_rejected_share=share)


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    accept(make_log(2), tmp_path)
    with pytest.raises(InvalidInputError, match=r"must not hold Parquet files yet\. Choose another folder"):
        accept(make_log(2), tmp_path)


def test_refused_files_are_listed(tmp_path: Path) -> None:
    for i in range(4):
        write_log(make_log(2, {j: {"decision_id": f"{i}-{j}"} for j in range(2)}), tmp_path / "in", name=f"n{i}")
    victims = sorted((tmp_path / "in/decisions").rglob("*.parquet"))
    victims[0].write_bytes(victims[0].read_bytes()[:300])
    offset = pq.read_metadata(victims[1]).row_group(0).column(0).data_page_offset
    data = bytearray(victims[1].read_bytes())
    data[offset + 40] ^= 4
    victims[1].write_bytes(data)
    log = read_log(tmp_path / "in", set_aside=True)
    kept, report = accept(log, tmp_path / "out", max_rejected_share=0.6)
    assert (kept.n_decisions, report.n_decisions) == (4, 4)
    listed = json.loads((tmp_path / "out/rejected/files.json").read_text())
    assert [item["file"] for item in listed] == [file.relative_to(tmp_path / "in").as_posix() for file in victims[:2]]
    assert [item["rows"] for item in listed] == [None, 2]
    assert "truncated" in listed[0]["reason"]
    assert "CRC" in listed[1]["reason"]
    with pytest.raises(
        InvalidInputError, match=r"refused files of decisions == '2 of 4 \(.*% of the bytes\)', must be at most"
    ):
        accept(log, tmp_path / "strict")
    assert (tmp_path / "strict/rejected/files.json").exists()
    assert not (tmp_path / "strict/decisions").exists()


def test_ids_of_a_refused_file_are_not_taken(tmp_path: Path) -> None:
    # The same decisions stand in two files; the first proves damaged, so those of the second count.
    write_log(make_log(2), tmp_path / "in", name="a")
    write_log(make_log(2), tmp_path / "in", name="b")
    victim = next(file for file in (tmp_path / "in/decisions").rglob("part-a-*"))
    group = pq.read_metadata(victim).row_group(0)
    data = bytearray(victim.read_bytes())
    data[group.column(group.num_columns - 1).data_page_offset + 25] ^= 4
    victim.write_bytes(data)
    kept, report = accept(read_log(tmp_path / "in"), tmp_path / "out", max_rejected_share=0.6)
    assert (kept.n_decisions, report.reasons) == (2, {})


def test_in_memory_as_in_files(tmp_path: Path) -> None:
    log = make_log(8, {1: BAD, 3: {"decision_id": "d0"}}, {2: {"value": None}})
    memory, first = accept(log, None, max_rejected_share=0.5)
    files, second = accept(log, tmp_path, max_rejected_share=0.5)
    assert first == second
    assert memory.decisions().equals(files.decisions().sort_by("decision_id"))
    assert memory.outcomes().equals(files.outcomes().sort_by("outcome_id"))


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    class Stopping:
        name, n_rows, n_bytes = "decisions", 4, 1
        schema = make_log(1).schema

        def batches(self, columns, batch_rows):
            yield make_log(4, {1: BAD}).decisions().to_batches()[0]
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        accept(DecisionLog([Stopping()]), tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_everything_rejected_can_still_be_read(tmp_path: Path) -> None:
    kept, _ = accept(make_log(2, {0: BAD, 1: BAD}), tmp_path, max_rejected_share=1.0)
    assert (kept.n_decisions, kept.n_outcomes) == (0, 2)
    assert kept.schema == make_log(1).schema


def test_rows_and_open_files_do_not_add_up_over_parts(tmp_path: Path) -> None:
    # When a part is read, the rows of the parts before it are on disk, in files that are complete but not visible yet.
    complete: list[int] = []

    class Watching:
        name, n_rows, n_bytes = "decisions", 1, 1
        schema = make_log(1).schema

        def __init__(self, number: int) -> None:
            self.number = number

        def batches(self, columns, batch_rows):
            files = [file for file in tmp_path.rglob("*.tmp") if file.read_bytes().endswith(b"PAR1")]
            complete.append(len(files))
            changes = {"decision_id": f"d{self.number}", "propensity": 0.0 if self.number == 1 else 0.25}
            yield from make_log(1, {0: changes}).decisions().to_batches()

    kept, report = accept(DecisionLog([Watching(i) for i in range(4)]), tmp_path, max_rejected_share=0.5)
    assert complete == [0, 1, 2, 3]
    assert (kept.n_decisions, report.rejected_decisions) == (3, 1)


def test_a_refused_file_is_told_from_its_namesake_in_another_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        changes = {i: {"decision_id": f"{folder}{i}"} for i in range(2)}
        write_log(
            make_log(2, changes, {i: {"outcome_id": f"{folder}{i}"} for i in range(2)}), tmp_path / folder, name="x"
        )
    victim = next((tmp_path / "b/decisions").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1])
    log = read_log([tmp_path / "a", tmp_path / "b"], set_aside=True)
    assert [file.name for file in log.refused] == [victim.as_posix()]
    # Half of the decisions' bytes are lost, not all of them, although both files have the same name in their folders.
    kept, _ = accept(log, tmp_path / "out", max_rejected_share=0.51)
    assert kept.n_decisions == 2


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match=r"out == '.*file/decisions', must be a folder, but .*file is a file"):
        accept(make_log(1), tmp_path / "file")
