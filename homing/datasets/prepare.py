"""`prepare`: a data set or decision logs become a training set and an evaluation set of other users."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from homing.datasets import registry
from homing.datasets.describing import count
from homing.datasets.users import by_user
from homing.errors import InvalidInputError, describe
from homing.log import (
    DecisionLog,
    FeatureEncoder,
    LoggedDataset,
    Objectives,
    ValidationReport,
    accept,
    build_dataset_with_report,
    read_log,
    split_by_user,
    user_hash_share,
)

logger = logging.getLogger(__name__)

#: Names the split of evaluation users; the same in every run, so that no later run trains on them.
EVALUATION_SALT = "homing"
#: Names the users who are held back; another draw than the evaluation users.
HOLD_BACK_SALT = "homing-held-back"


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` read, refused and wrote; every row is accounted for.

    decisions: read = accepted + rejected; accepted = held_back + censored + train + evaluation.

    Attributes:
        dataset: the data set's name, None for logs alone.
        logs: the folders that were read.
        read: rows read, by table (`decisions`, `outcomes`).
        accepted: rows that keep the format.
        rejected: rows that break it; they are in `rejected/` with their reasons.
        reasons: how many rows were rejected for each reason.
        refused_files: damaged files, of which nothing was read; the reasons are in `rejected/files.json`.
        held_back: rows of users who were left out of training and evaluation, by table.
        join: how outcomes met decisions: joined, duplicates, late, orphans, …
        censored: decisions left out because their outcome window was still open.
        rows: decisions in `train` and in `evaluation`.
        users: distinct users in `train`, `evaluation`, `held_back`.
        objectives: names.
        mean_reward: of each objective, in `train` and in `evaluation`.
        shape: n, k, c, d and m of the training set: decisions, candidates, features of each and of the context,
            objectives.
        window: earliest and latest accepted decision.
        evaluation_share: of users.
        hold_back_share: of users.
        seed: as given; nothing in this step is random, users are split by a stable hash.
        fingerprint: SHA-256 over the training and the evaluation set.
    """

    dataset: str | None
    logs: tuple[str, ...]
    read: dict[str, int]
    accepted: dict[str, int]
    rejected: dict[str, int]
    reasons: dict[str, int]
    refused_files: tuple[str, ...]
    held_back: dict[str, int]
    join: dict[str, Any]
    censored: int
    rows: dict[str, int]
    users: dict[str, int]
    objectives: tuple[str, ...]
    mean_reward: dict[str, dict[str, float]]
    shape: dict[str, int]
    window: tuple[str | None, str | None]
    evaluation_share: float
    hold_back_share: float
    seed: int
    fingerprint: str

    def __post_init__(self) -> None:
        # Our own books must balance: a row that is in none of them would be lost silently.
        for table in ("decisions", "outcomes"):
            assert self.read[table] == self.accepted[table] + self.rejected[table], table
        kept = self.held_back["decisions"] + self.censored + sum(self.rows.values())
        assert self.accepted["decisions"] == kept, "decisions"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # tuples become lists

    def to_text(self) -> str:
        """For people."""
        source = " and ".join([*([self.dataset] if self.dataset else []), *self.logs])
        lines = [
            f"prepared {source}",
            f"read {self.read['decisions']:,} decisions and {self.read['outcomes']:,} outcomes: "
            f"accepted {self.accepted['decisions']:,} and {self.accepted['outcomes']:,}, "
            f"rejected {self.rejected['decisions']:,} and {self.rejected['outcomes']:,}",
            *(f"  rejected {n:,}: {reason}" for reason, n in self.reasons.items()),
            *(f"  refused as a whole: {name}" for name in self.refused_files),
            f"train {self.rows['train']:,} decisions of {self.users['train']:,} users, evaluation "
            f"{self.rows['evaluation']:,} of {self.users['evaluation']:,} others, held back "
            f"{self.held_back['decisions']:,} of {self.users['held_back']:,}, still open {self.censored:,}",
        ]
        return "\n".join(lines)


def prepare(
    out: str | Path,
    *,
    dataset: str | None = None,
    data: str | Path | None = None,
    logs: Sequence[str | Path] = (),
    objectives: Objectives | None = None,
    seed: int = 0,
    evaluation_share: float = 0.4,
    max_rejected_share: float = 0.05,
    hold_back_share: float = 0.0,
    until: datetime | None = None,
    **options: object,
) -> PrepareReport:
    """Accept or reject each row, join outcomes, split by user, write what training and evaluation read.

    Writes into `out`: `log/` (accepted rows, format 1), `rejected/` (the others with their reasons), `held_back/`
    (format 1, where a share is held back), `train/` and `evaluation/` (`LoggedDataset.load`), `objectives.yaml` and
    `prepare.json`. A user is either in training or in evaluation, by a hash that never changes; the encoder is fitted
    on training users alone.

    Args:
        out: a folder that holds no earlier preparation.
        dataset: a data set's name, or None to read `logs` alone.
        data: where the data set's files lie; None for its default.
        logs: folders in format 1; with `dataset`, read in addition to it.
        objectives: what decisions are judged on; None for the data set's own.
        seed: kept in the report; nothing here is random.
        evaluation_share: share of users to evaluate on, in (0, 1).
        max_rejected_share: more than this share of rows that break the format stops the run.
        hold_back_share: share of users left out of both, in [0, 1).
        until: leave out decisions whose outcome windows were still open then; None takes the log as complete.
        options: of the data set, see `load`.

    Raises:
        InvalidInputError: if there is nothing to read, `out` holds an earlier preparation, too many rows break the
            format (`rejected/` is written by then), or a part has no users.

    Example:
        >>> prepare("prepared")
        Traceback (most recent call last):
            ...
        homing.errors.InvalidInputError: dataset == None, must be a name, or logs must be given. ...
    """
    out = Path(out)
    _check(out, dataset, logs, objectives, evaluation_share, hold_back_share)
    goals = registry.objectives(str(dataset)) if objectives is None else objectives
    out.mkdir(parents=True, exist_ok=True)

    source = _source(dataset, data, logs, options)
    reports: list[ValidationReport] = []
    held: DecisionLog | None = None
    if hold_back_share > 0:
        # Before anything else sees the rows; a row without a user stays here, to be rejected with its reason.
        apart, source = by_user(source, lambda user: user_hash_share(user, HOLD_BACK_SALT) < hold_back_share)
        aside = out / "rejected" / "held_back"
        held, checked = accept(apart, out / "held_back", max_rejected_share=max_rejected_share, rejected=aside)
        reports.append(checked)
    log, checked = accept(source, out / "log", max_rejected_share=max_rejected_share, rejected=out / "rejected")
    reports.append(checked)

    def trains(user: str) -> bool:
        return user_hash_share(user, EVALUATION_SALT) >= evaluation_share

    whole, joined = build_dataset_with_report(log, goals, until=until, encoder=FeatureEncoder.fit(log, users=trains))
    evaluation, train = split_by_user(whole, evaluation_share, salt=EVALUATION_SALT)
    parts = {"train": _part(whole, train, "train"), "evaluation": _part(whole, evaluation, "evaluation")}
    for name, part in parts.items():
        part.save(out / name)

    counts = count(log)
    shape = (*parts["train"].candidates.shape, parts["train"].context.shape[1], len(goals.names))
    report = PrepareReport(
        dataset=dataset,
        logs=tuple(str(path) for path in logs),
        read=_rows(reports, "n"),
        accepted=_rows(reports, "accepted"),
        rejected=_rows(reports, "rejected"),
        reasons=dict(sum((Counter(checked.reasons) for checked in reports), Counter())),
        refused_files=tuple(dict.fromkeys(file.name for checked in reports for file in checked.refused_files)),
        held_back={
            "decisions": 0 if held is None else held.n_decisions,
            "outcomes": 0 if held is None else held.n_outcomes,
        },
        join=joined.to_dict(),
        censored=joined.censored_decisions,
        rows={name: part.n for name, part in parts.items()},
        users={
            **{name: part.n_users for name, part in parts.items()},
            "held_back": 0 if held is None else count(held).users,
        },
        objectives=goals.names,
        mean_reward={
            name: dict(zip(part.objectives, part.reward.mean(axis=0).tolist(), strict=True))
            for name, part in parts.items()
        },
        shape=dict(zip("nkcdm", shape, strict=True)),
        window=(counts.first, counts.last),
        evaluation_share=evaluation_share,
        hold_back_share=hold_back_share,
        seed=seed,
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in parts.values()).encode()).hexdigest(),
    )
    (out / "objectives.yaml").write_text(yaml.safe_dump(goals.to_dict(), sort_keys=False), encoding="utf-8")
    (out / "prepare.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    logger.info("%s", report.to_text())
    return report


def _rows(reports: Sequence[ValidationReport], what: str) -> dict[str, int]:
    """Rows of each table over several reports; `what` is `n`, `accepted` or `rejected`."""
    return {
        table: sum(int(getattr(report, f"{what}_{table}")) for report in reports) for table in ("decisions", "outcomes")
    }


def _part(whole: LoggedDataset, rows: NDArray[np.int64], name: str) -> LoggedDataset:
    if not len(rows):
        bound = "must hold at least one decision"
        raise InvalidInputError(describe(f"{name} rows", 0, bound, "Read more users, or change evaluation_share."))
    return whole.take(rows)


def _check(
    out: Path,
    dataset: str | None,
    logs: Sequence[str | Path],
    objectives: Objectives | None,
    evaluation_share: float,
    hold_back_share: float,
) -> None:
    if dataset is None and not logs:
        raise InvalidInputError(
            describe(
                "dataset",
                None,
                "must be a name, or logs must be given",
                f"Data sets: {', '.join(registry.names())}. Logs: folders in format 1.",
            )
        )
    if dataset is None and objectives is None:
        raise InvalidInputError(
            describe("objectives", None, "must be given for logs of your own", "Write an objectives.yaml.")
        )
    if not 0.0 < evaluation_share < 1.0:
        raise InvalidInputError(
            describe("evaluation_share", evaluation_share, "must be in (0, 1)", "0.4 leaves 60 % for training.")
        )
    if not 0.0 <= hold_back_share < 1.0:
        raise InvalidInputError(describe("hold_back_share", hold_back_share, "must be in [0, 1)"))
    for left in ("prepare.json", "log", "held_back", "train", "evaluation"):
        if (out / left).exists():
            raise InvalidInputError(
                describe("out", str(out), f"must hold no earlier preparation, holds {left}", "Give another folder.")
            )


def _source(
    dataset: str | None, data: str | Path | None, logs: Sequence[str | Path], options: dict[str, object]
) -> DecisionLog:
    """One log over everything that is to be read; a damaged file among several is set aside, not the end of the run."""
    parts = [] if dataset is None else [registry.load(dataset, data, **options)]
    if logs:
        parts.append(read_log([Path(path) for path in logs], set_aside=True))
    return DecisionLog.concat(*parts)
