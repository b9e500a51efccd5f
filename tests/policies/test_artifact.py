"""Artifacts: what does not match is refused, and says why."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from homing.errors import ArtifactError, InvalidInputError, UnknownNameError
from homing.policies import EpsilonGreedyPolicy, SilencePolicy, UniformPolicy, load_policy, save_policy


@pytest.fixture
def folder(instances, tmp_path) -> Path:
    save_policy(
        instances["softmax"], tmp_path / "policy", name="tilted", features={"version": 1}, objectives=("a", "b"),
        weights=[1.0, -1.0], trained={"seed": 3},
    )  # fmt: skip
    return tmp_path / "policy"


def seal(folder: Path) -> None:
    """Rewrite the manifest, as who tampers with all files would."""
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def edit(folder: Path, change) -> None:
    document = json.loads((folder / "policy.json").read_text())
    change(document)
    (folder / "policy.json").write_text(json.dumps(document))
    seal(folder)


def retensor(folder: Path, change) -> None:
    arrays = load_file(folder / "weights.safetensors")
    change(arrays)
    save_file(arrays, folder / "weights.safetensors")
    seal(folder)


def test_everything_comes_back(folder) -> None:
    found = load_policy(folder)
    assert (found.name, found.features, found.objectives, found.trained) == (
        "tilted", {"version": 1}, ("a", "b"), {"seed": 3},
    )  # fmt: skip
    assert found.weights.tolist() == [1.0, -1.0]
    assert found.digest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "policy.json", "weights.safetensors"]


@pytest.mark.parametrize("file", ["policy.json", "weights.safetensors"])
def test_any_flipped_bit_is_noticed(folder, file, rng) -> None:
    whole = (folder / file).read_bytes()
    for position in rng.integers(0, len(whole), 50):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        (folder / file).write_bytes(flipped)
        with pytest.raises(ArtifactError, match=f"sha256 of .*{file}.*must be .* as in the manifest"):
            load_policy(folder)


def test_an_exchanged_artifact_is_noticed_by_its_digest(folder, tmp_path) -> None:
    digest = load_policy(folder).digest
    save_policy(UniformPolicy(), folder)
    load_policy(folder)
    with pytest.raises(ArtifactError, match=f"must be {digest}"):
        load_policy(folder, digest=digest)


@pytest.mark.parametrize("file", ["manifest.json", "policy.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder, file) -> None:
    (folder / file).unlink()
    with pytest.raises(ArtifactError, match=f"has no file {file}"):
        load_policy(folder)


def test_a_link_is_not_followed(folder, tmp_path) -> None:
    (folder / "policy.json").rename(tmp_path / "elsewhere.json")
    (folder / "policy.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArtifactError, match=r"has no file policy\.json"):
        load_policy(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "extra.json"])
def test_the_manifest_names_no_other_file(folder, name) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"must name policy\.json and weights\.safetensors"):
        load_policy(folder)


CHANGES = {
    "format": (lambda d: d.update(format=2), "format of .* == 2, must be 1"),
    "extra key": (lambda d: d.update(code="print()"), "'code', is not a key of a policy"),
    "missing key": (lambda d: d.pop("features"), "'features', is missing"),
    "unknown type": (lambda d: d["policy"].update(type="sofmax"), "Did you mean 'softmax'"),
    "unknown parameter": (lambda d: d["policy"]["params"].update(exec=1), "parameter of 'softmax' == 'exec'"),
    "missing parameter": (lambda d: d["policy"]["params"].pop("temperature"), "'temperature', is missing"),
    "out of bounds": (lambda d: d["policy"]["params"].update(temperature=-1.0), "must be a finite number > 0"),
    "wrong part": (
        lambda d: d["policy"]["params"].update(scorer={"type": "uniform", "params": {}}), "must have a method scores",
    ),
    "scorer alone": (lambda d: d.update(policy=d["policy"]["params"]["scorer"]), "tensor|is missing"),
    "weights": (lambda d: d.update(weights=[1.0]), "must be 2 finite numbers"),
    "weights of words": (lambda d: d.update(weights=["a", "b"]), "could not convert"),
    "objectives": (lambda d: d.update(objectives="ab"), "wrong type"),
    "params": (lambda d: d["policy"].update(params=[]), 'must be {"type", "params"}'),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_sealed_but_wrong_policy_is_refused(folder, case) -> None:
    change, message = CHANGES[case]
    edit(folder, change)
    with pytest.raises(ArtifactError, match=message):
        load_policy(folder)


def deepen(document) -> None:
    for _ in range(20):
        document["policy"] = {"type": "epsilon-greedy", "params": {"base": document["policy"], "epsilon": 0.1}}


def test_endless_nesting_is_refused(folder) -> None:
    edit(folder, deepen)
    with pytest.raises(ArtifactError, match="nested deeper than 8"):
        load_policy(folder)
    (folder / "policy.json").write_text('{"policy":' * 100_000)
    seal(folder)
    with pytest.raises(ArtifactError, match="must be a JSON object"):
        load_policy(folder)


def test_nan_in_json_is_refused(folder) -> None:
    text = (folder / "policy.json").read_text().replace('"temperature": 0.3', '"temperature": NaN')
    (folder / "policy.json").write_text(text)
    seal(folder)
    with pytest.raises(ArtifactError, match="NaN is not a finite number"):
        load_policy(folder)


TENSORS = {
    "nan": (
        lambda a: a["scorer.interaction"].__setitem__((0, 0, 0), np.nan),
        "NaN or infinite, must be finite|must be finite",
    ),
    "shape": (lambda a: a.update({"scorer.candidate": np.zeros((2, 9), np.float32)}), r"candidate.shape == \(2, 9\)"),
    "rank": (lambda a: a.update({"scorer.interaction": np.zeros(3, np.float32)}), r"must be \(m, c, d\)"),
    "left over": (lambda a: a.update(stowaway=np.zeros(1)), "'stowaway', belongs to nothing"),
    "missing": (lambda a: a.pop("scorer.candidate"), "'candidate', is missing"),
    "negative share": (lambda a: a.update({"reference.shares": np.array([-1.0, 2.0])}), "must be finite and >= 0"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_sealed_but_wrong_arrays_are_refused(folder, case) -> None:
    change, message = TENSORS[case]
    retensor(folder, change)
    with pytest.raises(ArtifactError, match=message):
        load_policy(folder)


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 64], ids=["empty", "junk", "huge header"])
def test_what_is_not_safetensors_is_refused(folder, data) -> None:
    (folder / "weights.safetensors").write_bytes(data)
    seal(folder)
    with pytest.raises(ArtifactError, match="must be safetensors"):
        load_policy(folder)


def test_what_cannot_be_saved_is_refused(tmp_path) -> None:
    class Homemade:
        def action_probs(self, context, candidates, eligible, weights=None):
            return eligible / eligible.sum(axis=1, keepdims=True)

    with pytest.raises(UnknownNameError, match="'Homemade', must be registered"):
        save_policy(Homemade(), tmp_path)
    with pytest.raises(InvalidInputError, match="must be plain finite values"):
        save_policy(UniformPolicy(), tmp_path, trained={"loss": float("nan")})
    with pytest.raises(InvalidInputError, match=r"name == '\.\./up'"):
        save_policy(UniformPolicy(), tmp_path, name="../up")
    with pytest.raises(InvalidInputError, match="one per objective"):
        save_policy(UniformPolicy(), tmp_path, objectives=("a",), weights=[1.0, 2.0])
    policy = SilencePolicy()
    for _ in range(9):
        policy = EpsilonGreedyPolicy(policy)
    with pytest.raises(InvalidInputError, match="nested deeper than 8"):
        save_policy(policy, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_saving_over_an_artifact_replaces_it(folder) -> None:
    digest = save_policy(SilencePolicy(), folder, name="quiet")
    assert load_policy(folder, digest=digest).name == "quiet"


def test_serving_needs_no_torch(folder) -> None:
    code = (
        "import sys, numpy as np\nfrom homing.policies import load_policy\n"
        f"artifact = load_policy({str(folder)!r})\n"
        "probs = artifact.action_probs(np.ones((1, 3)), np.ones((1, 4, 5)), np.ones((1, 4), bool))\n"
        "print(round(probs.sum(), 9), sorted({'torch', 'mlflow', 'pandas', 'polars', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0 []"


def test_what_a_class_has_gained_since_is_none(instances, tmp_path) -> None:
    save_policy(instances["structured-advantage"], tmp_path / "old", name="old")
    retensor(tmp_path / "old", lambda arrays: arrays.pop("base.scorer.doubt"))
    scorer = load_policy(tmp_path / "old").policy.base.scorer
    assert not scorer.doubt.any()
    assert scorer.cost.tolist() == instances["structured-advantage"].base.scorer.cost.tolist()
