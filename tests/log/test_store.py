"""Datasets on disk: the same bytes for the same data, and no damaged file is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from homing.errors import CorruptFileError, InvalidInputError
from homing.log import LoggedDataset, Objectives, build_dataset
from homing.log.store import ARRAYS, MANIFEST, META
from tests.log.rows import SILENCE, candidate, decision, log_of, outcome

GOALS = Objectives.from_dict({"objectives": {"a": {"kinds": ["clicked"], "window_hours": 1, "aggregate": "any"}}})


@pytest.fixture(scope="module")
def data() -> LoggedDataset:
    three = [SILENCE, candidate("a", value=2.0, affinity=0.5), candidate("b", channel="email", affinity=0.1)]
    rows = [
        decision("d1", "úna", 0, context={"age": 1.5, "city": "Bern"}, candidates=three),
        decision("d2", "", 1, context={"age": None, "city": "Rome"}),
        decision("d3", "úna", 2, context={"age": 4.0, "vip": True}),
    ]
    return build_dataset(log_of(rows, [outcome("o", "d1", "úna", 5)]), GOALS)


@pytest.fixture
def folder(data, tmp_path) -> Path:
    data.save(tmp_path / "set")
    return tmp_path / "set"


def test_round_trip(data, folder):
    again = LoggedDataset.load(folder)
    for name in ("context", "eligible", "action", "propensity", "reward", "user", "time", "next", "probs", "user_ids"):
        left, right = getattr(again, name), getattr(data, name)
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert left.dtype == right.dtype
    for name in ("codes", "numeric", "offsets"):
        np.testing.assert_array_equal(getattr(again.candidates, name), getattr(data.candidates, name))
    assert (again.objectives, again.encoder, again.candidates.levels) == (
        data.objectives, data.encoder, data.candidates.levels,
    )  # fmt: skip
    assert again.fingerprint == data.fingerprint == json.loads((folder / META).read_text())["fingerprint"]


def test_a_dataset_from_arrays(tmp_path):
    bare = LoggedDataset(
        context=np.zeros((2, 0)), candidates=np.asfortranarray(np.arange(8.0).reshape(2, 2, 2)),
        eligible=np.ones((2, 2), bool, order="F"), action=[0, 1], propensity=[0.5, 0.5], reward=[[0.0], [1.0]],
        objectives=("a",), user=np.array([7, 3]), time=[0, 1],
    )  # fmt: skip
    bare.save(tmp_path)
    again = LoggedDataset.load(str(tmp_path))
    assert (again.encoder, again.user_ids, again.probs) == (None, None, None)
    assert again.user.tolist() == [7, 3]
    np.testing.assert_array_equal(np.asarray(again.candidates), np.asarray(bare.candidates))


def test_the_same_data_gives_the_same_bytes(data, folder, tmp_path):
    digest = LoggedDataset.load(folder).save(tmp_path / "again")
    assert digest == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == sorted([ARRAYS, META, MANIFEST])
    for name in (ARRAYS, META, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_saving_over_another_dataset(data, folder):
    part = data.take(np.array([1]))
    part.save(folder)
    assert LoggedDataset.load(folder).fingerprint == part.fingerprint


@pytest.mark.parametrize("name", [ARRAYS, META])
@pytest.mark.parametrize("where", [0, 0.5, -1], ids=["first byte", "middle", "last byte"])
def test_a_flipped_bit_is_refused(folder, name, where):
    content = bytearray((folder / name).read_bytes())
    content[int(where * len(content)) if 0 < where < 1 else where] ^= 4
    (folder / name).write_bytes(content)
    with pytest.raises(
        CorruptFileError, match=rf"sha256 of .*{name} == '[0-9a-f]{{64}}', must be [0-9a-f]{{64}}\. Write"
    ):
        LoggedDataset.load(folder)


def test_a_truncated_or_missing_file_is_refused(folder):
    content = (folder / ARRAYS).read_bytes()
    (folder / ARRAYS).write_bytes(content[:-10])
    with pytest.raises(CorruptFileError, match="sha256 of"):
        LoggedDataset.load(folder)
    (folder / ARRAYS).unlink()
    with pytest.raises(CorruptFileError, match=r"arrays\.safetensors', is listed in the manifest but missing"):
        LoggedDataset.load(folder)


def test_a_folder_that_was_not_finished_is_refused(data, folder, monkeypatch):
    # The machine stops after the arrays were written: the old manifest must not vouch for the new arrays.
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("homing.log.store._write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        data.take(np.array([0])).save(folder)
    with pytest.raises(InvalidInputError, match=r"dataset folder == .*, must hold manifest\.json\. Give a folder that"):
        LoggedDataset.load(folder)
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("manifest", "error", "message"),
    [
        ("{", CorruptFileError, "must be JSON"),
        ("[]", CorruptFileError, "must be a JSON object"),
        ('{"format": 2, "files": {}}', InvalidInputError, "must be of format 1 and list arrays"),
        ('{"format": 1, "files": {"../../etc/passwd": "0"}}', InvalidInputError, "must be of format 1 and list arrays"),
    ],
    ids=["no json", "list", "format", "other files"],
)
def test_other_manifests_are_refused(folder, manifest, error, message):
    (folder / MANIFEST).write_text(manifest)
    with pytest.raises(error, match=message):
        LoggedDataset.load(folder)


def test_digests_that_match_do_not_excuse_nonsense(folder):
    """Whoever rewrites the manifest too meets the same checks as any other data."""
    (folder / ARRAYS).write_bytes(b"\0" * 32)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][ARRAYS] = hashlib.sha256(b"\0" * 32).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptFileError, match=r"arrays\.safetensors', cannot be read"):
        LoggedDataset.load(folder)
