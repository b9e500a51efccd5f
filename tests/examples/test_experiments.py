"""Real randomised data as experiments: the pages' numbers against the raw files'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from examples.experiments import run


def test_hillstrom_is_a_three_arm_experiment(shared_data: Path, tmp_path: Path) -> None:
    found = run("hillstrom", shared_data / "hillstrom", tmp_path)
    raw = pl.read_parquet(next((shared_data / "hillstrom").glob("*.parquet")))
    arms = {"none": "No E-Mail", "mens": "Mens E-Mail", "womens": "Womens E-Mail"}
    assert found.scorecard.n == {name: len(raw.filter(pl.col("segment") == arm)) for name, arm in arms.items()}
    for metric in ("visit", "conversion", "spend"):
        by_arm = {name: raw.filter(pl.col("segment") == arm)[metric].to_numpy() for name, arm in arms.items()}
        for treatment in ("mens", "womens"):
            item = found.scorecard.comparison(metric, treatment)
            plain = by_arm[treatment].mean() - by_arm["none"].mean()
            error = np.sqrt(sum(by_arm[name].var(ddof=1) / len(by_arm[name]) for name in (treatment, "none")))
            # Covariates shift the estimate within chance and do not lengthen its interval.
            assert item.difference.value == pytest.approx(plain, abs=0.3 * error)
            assert item.difference.std_error <= error * 1.001
            # The whole set's published effects lie within four standard errors.
            published = {"visit": (0.0766, 0.0452), "conversion": (0.0068, 0.0031), "spend": (0.770, 0.424)}
            truth = published[metric][["mens", "womens"].index(treatment)]
            assert item.difference.value == pytest.approx(truth, abs=4 * error)
    assert found.decision.verdict == "ship"
    assert not any(item.rejected for item in found.scorecard.quality)
    assert (tmp_path / "experiment.html").read_text().count("<svg") == 3


@pytest.mark.slow
def test_starbucks_is_an_experiment_of_six_waves(shared_data: Path, tmp_path: Path) -> None:
    found = run("rewards", shared_data / "starbucks_rewards", tmp_path)
    units = pl.read_parquet(tmp_path / "units.parquet")
    assert units.height == 6 * units["user_id"].n_unique() == sum(found.scorecard.n.values())
    bounds = found.scorecard.comparison("spend_3d", "bogo").path.critical["superior"]
    # One look a wave, when its three days are over.
    assert np.isfinite(bounds).sum() == 6 and np.isfinite(bounds)[3]
    # Spend of the three days by another route, for the first wave: purchases before hour 72, by user.
    raw = pl.read_parquet(shared_data / "starbucks_rewards" / "events_dev.parquet")
    hours = next(name for name in ("hour", "time") if name in raw.columns)
    spent = raw.filter((pl.col("event") == "transaction") & (pl.col(hours) < 72)).group_by("user_id").len()
    assert units.filter(pl.col("wave") == "wave-0")["purchases"].sum() == spent["len"].sum()
    page = (tmp_path / "experiment.html").read_text()
    assert "Third-party simulated" in page and found.decision.verdict == "ship"
