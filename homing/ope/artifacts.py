"""`evaluate_artifacts`: saved policies judged on a saved log, as reports, a page and metrics on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import ArtifactError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics import PropensityCalibration, propensity_calibration, reward_model_calibration
from homing.ope.estimate import Estimate
from homing.ope.evaluate import evaluate_policy
from homing.ope.messages import SILENCE, Messages
from homing.ope.recode import recode
from homing.ope.report import OPEReport, compare
from homing.ope.storage import write_json
from homing.ope.text import parts, percent

if TYPE_CHECKING:
    from homing.policies import PolicyArtifact

FloatArray = NDArray[np.float64]
#: Rows scored at a time.
BATCH_ROWS = 4096
#: Fixed arms shown as reference: one message for everyone.
MAX_FIXED_ARMS = 12


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was evaluated on one log.

    Attributes:
        challenger: the policy up for promotion.
        champion: the one in production, or the baseline where there is none.
        references: the challenger without its exploration, silence, uniform and single messages for everyone, for
            orientation.
        champion_is_baseline: whether `champion` stands in for a champion that does not exist yet.
    """

    challenger: OPEReport
    champion: OPEReport
    references: tuple[OPEReport, ...] = ()
    champion_is_baseline: bool = False

    @property
    def paired(self) -> dict[tuple[str, str], Estimate]:
        """Challenger minus champion by (estimator, objective), on all that both have."""
        keys = [key for key in self.challenger.estimates if key in self.champion.estimates]
        return {
            (estimator, objective): compare(self.challenger, self.champion, objective, estimator)
            for estimator, objective in keys
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON: full reports, paired differences, and flat `metrics` for a tracker."""
        policies = {"challenger": self.challenger, "champion": self.champion}
        metrics: dict[str, float] = {}
        for role, report in policies.items():
            for (estimator, objective), item in report.estimates.items():
                metrics |= _flat(f"{role}.{objective}.{estimator}", item)
            for objective, item in report.logged.items():
                metrics |= _flat(f"logged.{objective}", item)
            metrics |= {
                f"{role}.ess": report.support.ess,
                f"{role}.ess_share": report.support.ess_share,
                f"{role}.max_weight": report.support.max_weight,
                f"{role}.weight_mean": report.support.weight_mean,
                f"{role}.unsupported_share": report.support.share_of_mass_on_unsupported,
            }
        for (estimator, objective), item in self.paired.items():
            metrics |= _flat(f"gain.{objective}.{estimator}", item)
        return {
            "format": 1,
            "n": self.challenger.n,
            "n_users": self.challenger.n_users,
            "level": self.challenger.level,
            "fingerprint": self.challenger.fingerprint,
            "champion_is_baseline": self.champion_is_baseline,
            "metrics": metrics,
            "verdicts": {role: report.support.verdict for role, report in policies.items()},
            "paired": [
                {"estimator": estimator, "objective": objective, **item.to_dict()}
                for (estimator, objective), item in self.paired.items()
            ],
            "policies": {role: report.to_dict() for role, report in policies.items()},
            "references": [report.to_dict() for report in self.references],
        }

    def to_html(self) -> str:
        """A self-contained page."""
        from homing.ope.html import evaluation_page

        return evaluation_page(self)


def evaluate_artifacts(
    evaluation_dir: str | Path,
    out: str | Path,
    *,
    challenger: str | Path,
    champion: str | Path | None = None,
    baseline: str | Path,
    reward_model: str | Path,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Evaluate saved policies on a saved log of users that none of them was trained on.

    Writes `out/challenger` and `out/champion` (reports that `homing.promotion.gate_reports` reads),
    `out/metrics.json` and `out/evaluation.html`. Estimation is deterministic; `seed` is recorded.

    Args:
        evaluation_dir: a saved `LoggedDataset`.
        out: folder to write to.
        challenger: policy artifact up for promotion.
        champion: policy artifact in production; the baseline when there is none.
        baseline: policy artifact that does what the log already did.
        reward_model: artifact of a policy over the reward model fitted on the training users.
        seed: recorded with the metrics.
        level: nominal coverage of the intervals.

    Returns:
        What `out/metrics.json` holds: `Evaluation.to_dict`, and `seed`.

    Raises:
        ArtifactError: if an artifact is altered, or the reward model predicts other objectives than the log holds.
    """
    from homing.policies import EpsilonGreedyPolicy, load_policy

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    dataset = LoggedDataset.load(Path(evaluation_dir))
    q_hat = predictions(dataset, load_policy(Path(reward_model)))
    messages, calibration = Messages.of(dataset), propensity_calibration(dataset)
    warnings = [reason for item in reward_model_calibration(dataset, q_hat) for reason in item.reasons]

    def judge(artifact: PolicyArtifact, name: str) -> OPEReport:
        probs, notes = probabilities(dataset, artifact)
        report = evaluate_policy(
            dataset, probs, q_hat=q_hat, level=level, policy=name, messages=messages, calibration=calibration
        )
        return replace(report, notes=(*report.notes, *notes, *warnings))

    def titled(artifact: PolicyArtifact, role: str) -> str:
        return role if artifact.name in ("policy", role) else f"{role} ({artifact.name})"

    candidate = load_policy(Path(challenger))
    found = judge(candidate, titled(candidate, "challenger"))
    rows = references(dataset, q_hat, messages, level=level, calibration=calibration)
    policy = candidate.policy
    if isinstance(policy, EpsilonGreedyPolicy) and policy.epsilon > 0:
        bare = judge(replace(candidate, policy=policy.base), "challenger without exploration")
        rows = (bare, *rows)
        found = replace(found, notes=(*found.notes, *exploration_notes(found, bare, policy.epsilon)))
    other = load_policy(Path(baseline if champion is None else champion))
    against = judge(other, titled(other, "baseline" if champion is None else "champion"))
    evaluation = Evaluation(found, against, rows, champion is None)
    evaluation.challenger.save(out / "challenger")
    evaluation.champion.save(out / "champion")
    metrics = {"seed": int(seed), **evaluation.to_dict()}
    write_json(out / "metrics.json", metrics)
    (out / "evaluation.html").write_text(evaluation.to_html(), encoding="utf-8")
    return metrics


def probabilities(dataset: LoggedDataset, artifact: PolicyArtifact) -> tuple[FloatArray, tuple[str, ...]]:
    """A saved policy's probabilities (n, k) on a log, in the columns that it was trained on, and notes on that."""
    from homing.policies import dataset_probs

    shown = recode(dataset, artifact.features)
    return dataset_probs(artifact, shown.dataset, batch_size=BATCH_ROWS), shown.notes


def exploration_notes(report: OPEReport, bare: OPEReport, epsilon: float) -> tuple[str, ...]:
    """What exploration costs, a sentence for each objective: a policy that explores earns less than what it knows."""
    out = []
    for objective in report.objectives:
        if all(("dr", objective) in item.estimates for item in (report, bare)):
            mine, other = (parts(item.estimate(objective, "dr"))[0] for item in (report, bare))
            value, lower, upper = parts(compare(report, bare, objective, "dr"))
            out.append(
                f"{percent(epsilon)} of the choices are drawn uniformly, to learn from: {objective} is {mine}, without "
                f"this exploration it is {other}, difference {value}, {percent(report.level)} interval "
                f"[{lower}, {upper}]."
            )
    return tuple(out)


def predictions(dataset: LoggedDataset, artifact: PolicyArtifact) -> FloatArray:
    """A saved reward model's predictions (n, k, m), with the objectives in the log's order."""
    from homing.policies import dataset_values

    scorer = getattr(artifact.policy, "scorer", None)
    if scorer is None or not hasattr(scorer, "predict"):
        raise ArtifactError(
            describe(
                "reward model",
                type(artifact.policy).__name__,
                "must be a policy over a scorer that predicts rewards",
                "Train writes one to its `reward_model` folder.",
            )
        )
    lacking = [name for name in dataset.objectives if name not in artifact.objectives]
    if lacking:
        raise ArtifactError(
            describe(
                "objectives of the reward model",
                list(artifact.objectives),
                f"must hold {', '.join(lacking)}",
                "Train and evaluate with one objectives file.",
            )
        )
    values = dataset_values(scorer, recode(dataset, artifact.features).dataset, batch_size=BATCH_ROWS)
    return values[:, :, [artifact.objectives.index(name) for name in dataset.objectives]]


def references(
    dataset: LoggedDataset,
    q_hat: FloatArray | None,
    messages: Messages | None = None,
    *,
    level: float = 0.95,
    calibration: PropensityCalibration | None = None,
) -> tuple[OPEReport, ...]:
    """Silence, uniform, and each of the most sent messages for everyone: what simple rules would have earned.

    Messages are taken by how often the log sent them, at most `MAX_FIXED_ARMS`, never by how well they did: the best of
    many noisy estimates flatters itself. Silence is left out where it was never logged.
    """
    messages = messages or Messages.of(dataset)
    calibration = calibration or propensity_calibration(dataset, messages=messages)

    def judge(probs: FloatArray, name: str) -> OPEReport:
        return evaluate_policy(
            dataset, probs, q_hat=q_hat, level=level, policy=name, messages=messages, calibration=calibration
        )

    logged = np.bincount(messages.code[np.arange(dataset.n), dataset.action], minlength=len(messages.names))
    arms = [int(i) for i in np.argsort(-logged, kind="stable") if logged[i] > 0 and messages.names[i] != SILENCE]
    uniform = dataset.eligible / dataset.eligible.sum(axis=1, keepdims=True)
    policies: list[tuple[str, FloatArray]] = [("uniform", uniform)]
    if logged[0] > 0:
        policies.append((SILENCE, messages.always(SILENCE, dataset.eligible)[0]))
    out = [judge(probs, name) for name, probs in policies]
    for arm in arms[:MAX_FIXED_ARMS]:
        probs, share = messages.always(messages.names[arm], dataset.eligible)
        name = f"always {messages.names[arm]}" + ("" if share > 0.9995 else f" (eligible in {share:.0%})")
        out.append(judge(probs, name))
    return tuple(out)


def _flat(name: str, item: Estimate) -> dict[str, float]:
    return {f"{name}.value": item.value, f"{name}.lower": item.lower, f"{name}.upper": item.upper}
