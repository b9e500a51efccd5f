"""Single flipped bits, anywhere in a file: an error, or the same rows; never other rows."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from homing.errors import CorruptFileError
from homing.log import accept, read_log, validate, write_log
from homing.log.seal import read_footer
from tests.log._builders import make_log


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One file of decisions."""
    write_log(make_log(2), tmp_path, name="x")
    return tmp_path / "decisions/day=2024-05-01/part-x-0000.parquet"


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


@pytest.mark.parametrize("part", ["pages", "footer"])
def test_300_flips_are_never_silently_wrong(file: Path, part: str, rng: np.random.Generator) -> None:
    root, good = file.parents[2], file.read_bytes()
    want = read_log(root).decisions()
    start = read_footer(file, "x")[1]
    low, high = (32, 8 * start) if part == "pages" else (8 * start, 8 * len(good))
    seen: Counter[str] = Counter()
    for bit in rng.integers(low, high, 300):
        file.write_bytes(flipped(good, int(bit)))
        try:
            rows = read_log(root).decisions()
        except CorruptFileError:
            seen["refused"] += 1
        else:
            assert rows.equals(want), f"bit {bit} changed rows silently"
            seen["same"] += 1
    # What may pass are statistics in page headers, and the name of the seal itself.
    assert seen["refused"] > 200


def test_a_flipped_page_of_a_foreign_file_is_refused_if_it_has_checksums(file: Path) -> None:
    root = file.parents[2]
    pq.write_table(read_log(root).decisions(), file, write_page_checksum=True)
    offset = pq.read_metadata(file).row_group(0).column(0).data_page_offset
    file.write_bytes(flipped(file.read_bytes(), 8 * (offset + 40)))
    log = read_log(root)
    with pytest.raises(CorruptFileError) as error:
        log.decisions()
    assert str(error.value).startswith(
        f"file == '{file.relative_to(root).as_posix()}', must be an intact Parquet file, but "
    )
    assert "CRC checksum verification failed" in str(error.value)


def test_columns_that_are_not_read_are_not_judged(file: Path) -> None:
    root = file.parents[2]
    offset = pq.read_metadata(file).row_group(0).column(0).data_page_offset
    file.write_bytes(flipped(file.read_bytes(), 8 * (offset + 40)))
    assert sum(map(len, read_log(root).decision_batches(columns=["action"]))) == 2


def test_a_flipped_page_refuses_the_whole_file_and_nothing_else(file: Path, tmp_path: Path) -> None:
    root = file.parents[2]
    write_log(make_log(12, {i: {"decision_id": f"e{i}"} for i in range(12)}), root, name="y")
    offset = pq.read_metadata(file).row_group(0).column(0).data_page_offset
    file.write_bytes(flipped(file.read_bytes(), 8 * (offset + 40)))
    log = read_log(root)
    report = validate(log)
    assert (report.n_decisions, report.accepted_decisions, report.ok) == (12, 12, False)
    (refused,) = report.refused_files
    assert (refused.name, refused.table, refused.n_rows) == (file.relative_to(root).as_posix(), "decisions", 2)
    kept, _ = accept(log, tmp_path / "out", max_rejected_share=0.5)
    assert sorted(kept.decisions()["decision_id"].to_pylist()) == sorted(f"e{i}" for i in range(12))


def test_a_file_that_changes_between_opening_and_reading_is_refused(file: Path) -> None:
    log = read_log(file.parents[2])
    pq.write_table(make_log(2).decisions().drop_columns(["slice"]), file)
    with pytest.raises(CorruptFileError, match="it changed since it was opened"):
        log.decisions()
