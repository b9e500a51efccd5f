"""Writing and reading format 1: round trips, other readers, partitions, appends, and what wrong input says."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import CorruptFileError, InvalidInputError
from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema, read_log, write_log
from homing.log import writing as writing_module
from tests.log._builders import NAMES, decision, make_log, silence, table

times = st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.one_of(st.none(), st.floats(allow_nan=False, width=64))


@st.composite
def decision_rows(draw: st.DrawFn) -> list[dict]:
    rows = []
    for i in range(draw(st.integers(1, 6))):
        extra = {"expires_at": st.one_of(st.none(), times), "price": numbers, "value": st.floats(-9, 9)}
        message = st.fixed_dictionaries({**dict.fromkeys(NAMES, texts), **extra})
        candidates = [silence(), *draw(st.lists(message, max_size=4))]
        size = len(candidates)
        rows.append({
            "decision_id": f"d{i}", "user_id": draw(texts), "decided_at": draw(times), "policy": draw(texts),
            "context": {"age": draw(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))), "score": draw(numbers),
                        "city": draw(st.one_of(st.none(), texts))},
            "candidates": candidates, "eligible": draw(st.lists(st.booleans(), min_size=size, max_size=size)),
            "action": draw(st.integers(0, size - 1)), "propensity": draw(st.floats(0, 1)),
            "propensities": draw(st.one_of(st.none(), st.lists(st.floats(0, 1), min_size=size, max_size=size))),
            "explored": draw(st.booleans()), "slice": draw(st.sampled_from(["policy", "uniform", "holdout"])),
        })  # fmt: skip
    return rows


@settings(max_examples=25, deadline=None)
@given(rows=decision_rows())
def test_what_is_written_is_read(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> None:
    schema = decisions_schema({"age": pa.int64(), "score": pa.float64(), "city": pa.string()}, {"price": pa.float64()})
    folder = tmp_path_factory.mktemp("log")
    write_log(DecisionLog.from_tables(table(rows, schema)), folder)
    back = read_log(folder).decisions().sort_by("decision_id")
    assert back.schema.equals(schema)
    assert back.to_pylist() == rows
    shutil.rmtree(folder)


def test_each_utc_day_has_its_folder(tmp_path: Path) -> None:
    # Row i is decided at 22:00 plus i hours: rows 0 and 1 on the first day, the others after midnight UTC.
    write_log(make_log(4), tmp_path)
    found = {file.parent.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.parquet")}
    assert found == {f"{name}/day=2024-05-0{day}" for name in ("decisions", "outcomes") for day in (1, 2)}
    first = read_log(tmp_path).decisions().filter(pa.compute.field("decision_id").isin(["d0", "d1"]))
    assert pq.read_metadata(next((tmp_path / "decisions/day=2024-05-01").iterdir())).num_rows == len(first)


def test_polars_reads_it_without_us(tmp_path: Path) -> None:
    write_log(make_log(6), tmp_path)
    rows = pl.scan_parquet(tmp_path / "decisions", hive_partitioning=True).sort("decision_id").collect()
    assert rows["propensity"].to_list() == [0.25, 0.75] * 3
    assert rows["day"].cast(pl.String).to_list() == ["2024-05-01"] * 2 + ["2024-05-02"] * 4
    assert rows["candidates"][0].struct.field("message_id").to_list() == ["silence", "message_id-a", "message_id-b"]
    assert rows["context"].struct.field("age").to_list() == list(range(30, 36))


def test_a_hive_dataset_reads_it_without_us(tmp_path: Path) -> None:
    write_log(make_log(6), tmp_path)
    data = ds.dataset(tmp_path / "decisions", format="parquet", partitioning="hive")
    assert data.count_rows() == 6
    assert data.to_table(columns=["decision_id"], filter=ds.field("day") == "2024-05-01").num_rows == 2
    assert data.schema.metadata[b"homing.format_version"] == b"1"


def test_pages_carry_checksums(tmp_path: Path) -> None:
    write_log(make_log(3), tmp_path)
    file = next((tmp_path / "decisions").rglob("*.parquet"))
    group = pq.read_metadata(file).row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    damaged = bytearray(file.read_bytes())
    damaged[group.column(0).data_page_offset + 40] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.ParquetFile(file, page_checksum_verification=True).read(columns=["decision_id"])


def test_writes_add_up(tmp_path: Path) -> None:
    write_log(make_log(2), tmp_path)
    write_log(make_log(3), tmp_path)
    log = read_log(tmp_path)
    assert (log.n_decisions, log.n_outcomes) == (5, 5)


def test_the_same_name_replaces(tmp_path: Path) -> None:
    for _ in range(2):
        write_log(make_log(4), tmp_path, name="batch-7")
    assert read_log(tmp_path).n_decisions == 4
    assert {file.name for file in tmp_path.rglob("*.parquet")} == {"part-batch-7-0000.parquet"}


def test_several_folders_are_one_log(tmp_path: Path) -> None:
    write_log(make_log(2), tmp_path / "a")
    write_log(make_log(3), tmp_path / "b")
    log = read_log([tmp_path / "a", str(tmp_path / "b")])
    assert log.n_decisions == 5
    assert log.paths == (tmp_path / "a", tmp_path / "b")


def test_many_days_in_bounded_memory_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "OPEN_FILES", 2)
    monkeypatch.setattr(writing_module, "BUFFERED_BYTES", 1)
    rows = [decision(i) | {"decided_at": datetime(2024, 1, 1 + i % 5, tzinfo=UTC)} for i in range(20)]
    schema = make_log(1).schema
    parts = [DecisionLog.from_tables(table(rows[i : i + 5], schema)) for i in range(0, 20, 5)]
    write_log(DecisionLog.concat(*parts), tmp_path)
    assert read_log(tmp_path).decisions().sort_by("decision_id").to_pylist() == sorted(
        rows, key=lambda row: row["decision_id"]
    )
    assert len({file.parent for file in tmp_path.rglob("*.parquet")}) == 5


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    good, late = make_log(2), make_log(1, outcomes={0: {"occurred_at": None}})
    with pytest.raises(
        InvalidInputError, match=r"occurred_at == None, must not be null\. Run homing\.log\.accept first"
    ):
        write_log(DecisionLog.concat(good, late), tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        if "decisions" in path.parts:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing_module, "_sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_log(make_log(2), tmp_path / "log")
    # Neither outcomes without their decisions, nor half a file, nor empty folders.
    assert [*(tmp_path / "log").rglob("*")] == []


def test_unfinished_files_are_not_data(tmp_path: Path) -> None:
    write_log(make_log(2), tmp_path)
    day = next((tmp_path / "decisions").iterdir())
    (day / ".part-x-0000.parquet.1234.tmp").write_bytes(b"half a fi")
    (day / "_metadata.parquet").write_bytes(b"not rows")
    assert read_log(tmp_path).n_decisions == 2


def test_a_context_without_features(tmp_path: Path) -> None:
    # Parquet stores no struct without fields.
    rows = [decision(0) | {"context": {}}]
    write_log(DecisionLog.from_tables(table(rows, decisions_schema({}, {"price": pa.float64()}))), tmp_path)
    assert read_log(tmp_path).decisions()["context"].to_pylist() == [{}]


# What a person sees --------------------------------------------------------------------------------------------------


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"path == '.*nowhere', must exist\. Check the path of the log\."):
        read_log(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        read_log(tmp_path)
    assert str(error.value) == (
        f"path == {str(tmp_path)!r}, must hold decisions/**/*.parquet. It is empty. "
        "docs/guides/your-own-data.md shows how to write a log."
    )


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InvalidInputError, match=r"It holds notes\.txt\."):
        read_log(tmp_path)


def test_a_missing_column_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "decisions/day=2024-05-01"
    folder.mkdir(parents=True)
    pq.write_table(make_log(2).decisions().drop_columns(["propensity"]), folder / "a.parquet")
    with pytest.raises(InvalidInputError) as error:
        read_log(tmp_path)
    assert str(error.value) == (
        "columns of decisions/day=2024-05-01/a.parquet == \"no 'propensity'\", must have it, of type double. "
        "Add or rename the column."
    )


def test_a_missing_field_of_candidates(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    folder.mkdir()
    rows = pl.from_arrow(make_log(2).decisions())
    rows = rows.with_columns(pl.col("candidates").list.eval(pl.struct(pl.element().struct.field("^[^c].*$"))))
    rows.write_parquet(folder / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"no 'campaign'\", must have it, of type string"):
        read_log(tmp_path)


def test_another_format_version(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    rows = make_log(1).decisions().replace_schema_metadata({"homing.format_version": "2"})
    pq.write_table(rows, tmp_path / "decisions/a.parquet")
    with pytest.raises(InvalidInputError, match=r"format_version of decisions/a\.parquet == '2', must be 1\."):
        read_log(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 500, -1], ids=["nothing", "7 bytes", "500 bytes", "all but one byte"])
def test_a_truncated_file(tmp_path: Path, keep: int) -> None:
    write_log(make_log(2), tmp_path)
    file = next((tmp_path / "outcomes").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CorruptFileError) as error:
        read_log(tmp_path)
    name = file.relative_to(tmp_path).as_posix()
    assert str(error.value).startswith(f"file == {name!r}, must be an intact Parquet file, but it ")
    assert str(error.value).endswith("It is refused, nothing of it is read: restore it.")


def test_damaged_files_are_set_aside_when_asked_for(tmp_path: Path) -> None:
    write_log(make_log(4), tmp_path)
    first, second = sorted((tmp_path / "decisions").rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-9])
    pq.write_table(pq.read_table(second, partitioning=None).drop_columns(["action"]), second)
    log = read_log(tmp_path, set_aside=True)
    assert (log.n_decisions, log.n_outcomes) == (0, 4)
    assert [(file.table, file.n_rows) for file in log.refused] == [("decisions", None), ("decisions", 2)]
    assert "truncated" in log.refused[0].reason
    assert "no 'action'" in log.refused[1].reason


def test_files_whose_features_disagree_are_set_aside(tmp_path: Path) -> None:
    write_log(make_log(1), tmp_path, name="a")
    texts = decisions_schema({"age": pa.string()}, {"price": pa.float64()})
    rows = [decision(7) | {"context": {"age": "old"}}]
    write_log(DecisionLog.from_tables(table(rows, texts), OUTCOMES_SCHEMA.empty_table()), tmp_path, name="b")
    with pytest.raises(InvalidInputError, match=r"context\.age in .* == 'string', must be int64 as in "):
        read_log(tmp_path)
    log = read_log(tmp_path, set_aside=True)
    assert (log.n_decisions, len(log.refused)) == (1, 1)
