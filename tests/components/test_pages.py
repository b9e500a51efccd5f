"""The pages of the prepare and train steps: every count that is not zero is named in words."""

from __future__ import annotations

import re
from dataclasses import fields

from components.pages import DECISIONS, OUTCOMES, data_page, log_numbers, training_page
from homing.log import JoinReport


def text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


def test_every_count_of_the_join_has_words() -> None:
    assert {field.name for field in fields(JoinReport)} == {*OUTCOMES, *DECISIONS, "rows_with_outcome", "until"}


def test_the_data_page_names_what_was_lost_and_hides_what_was_not() -> None:
    both = {"decisions": 0, "outcomes": 0}
    shown = text(data_page({
        "dataset": None, "logs": ["a", "b"], "read": {"decisions": 1200, "outcomes": 9}, "accepted": both,
        "rejected": {"decisions": 3, "outcomes": 0}, "held_back": both, "reasons": {"propensity == 0 <b>": 3},
        "join": JoinReport(outcomes=9, joined=7, late=2, decisions=1197, rows=1197, rows_with_outcome={"click": 6})
        .to_dict(),
        "rows": {"train": 700, "evaluation": 497}, "users": {"train": 70, "evaluation": 50}, "objectives": ["click"],
        "mean_reward": {"train": {"click": 0.01}, "evaluation": {"click": 0.02}}, "shape": {"k": 3, "d": 2, "c": 4},
        "window": ["2026-03-01T00:03:13+00:00", None], "fingerprint": "f" * 64}))  # fmt: skip
    assert "Data: a and b" in shown and "from 2026-03-01 00:03 to – UTC" in shown
    assert "read 1,200 9" in shown and "propensity == 0 &lt;b&gt; 3" in shown
    assert "outcomes read 9 counted for an objective 7 too late: after the objective's window 2" in shown.replace(
        "&#x27;", "'"
    )
    assert "orphan" not in shown and "not in the log" not in shown
    assert "decisions read 1,197 used 1,197" in shown and "click 6" in shown


def test_the_training_page_shows_short_histories_as_numbers_and_long_ones_as_curves() -> None:
    page = training_page({
        "learners": ["linear"], "rows": 10, "users": 5, "seconds": 1.25, "seed": 0, "fingerprint": "f" * 64,
        "weights": {"click": 1.0}, "calibration": {"click": {"slope": 0.9, "loss_of_mean": 0.5}}, "params": {"a": 2},
        "settings": {"penalty": 10.0, "model": {"penalties": [100.0, 10.0]}},
        "warnings": {"cql": {"one-action": "The log always chose the same candidate."}},
        "history": {"held-out loss by penalty": [0.25, 0.5], "train loss": [1 / (i + 1) for i in range(20)]},
        "digests": {"policy": "ab"}})  # fmt: skip
    shown = text(page)
    assert "held-out loss by penalty 0.25 0.5" in shown and "model.penalties 100, 10" in shown
    assert page.count("<polyline") == 1 and "train loss: 1 → 0.05" in shown
    assert "objective weight slope loss of mean click 1 0.9 0.5" in shown


def test_numbers_are_logged_by_their_path_and_only_where_finite() -> None:
    class Metrics(dict[str, float]):
        log_metric = dict.__setitem__

    found = Metrics()
    log_numbers(found, {"a": {"b": 2, "c": float("nan")}, "d": True, "e": "x", "f": [1.0], "g": 0.5})
    assert found == {"a.b": 2.0, "g": 0.5}
