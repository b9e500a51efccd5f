"""`evaluate_artifacts`: saved policies judged on a saved log, as reports, a page and metrics on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import ArtifactError, InvalidInputError, describe
from homing.log import Objectives
from homing.log.dataset import LoggedDataset
from homing.ope.deciding import Deciding
from homing.ope.diagnostics import PropensityCalibration, propensity_calibration, reward_model_calibration
from homing.ope.evaluate import evaluate_policy
from homing.ope.evaluation import Evaluation
from homing.ope.messages import SILENCE, Messages
from homing.ope.recode import recode
from homing.ope.report import OPEReport, compare
from homing.ope.storage import write_json
from homing.ope.support_map import Segments, SupportMap, support_map
from homing.pages import parts, percent

if TYPE_CHECKING:
    from homing.policies import PolicyArtifact

FloatArray = NDArray[np.float64]
#: Rows scored at a time.
BATCH_ROWS = 4096
#: Fixed arms shown as reference: one message for everyone.
MAX_FIXED_ARMS = 12
#: What an evaluation's folder holds.
CHALLENGERS, CHAMPION, METRICS = "challengers", "champion", "metrics.json"
#: A challenger's name, which is its folder's too.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: Objectives that a note on exploration tells of.
_TOLD = 2


def evaluate_artifacts(
    evaluation_dir: str | Path,
    out: str | Path,
    *,
    challengers: Mapping[str, str | Path],
    champion: str | Path | None = None,
    baseline: str | Path,
    reward_model: str | Path,
    deciding: Deciding | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Evaluate saved policies on a saved log of users that none of them was trained on.

    Writes `out/challengers/NAME` and `out/champion` (reports that `homing.promotion.gate_reports` reads),
    `out/metrics.json` and `out/evaluation.html`. Estimation is deterministic; `seed` is recorded.

    Args:
        evaluation_dir: a saved `LoggedDataset`; an `objectives.yaml` beside it says which objectives are harms.
        out: folder to write to.
        challengers: policy artifacts up for promotion, by name.
        champion: policy artifact in production; the baseline when there is none.
        baseline: policy artifact that does what the log already did.
        reward_model: artifact of a policy over the reward model fitted on the training users.
        deciding: which intervals decide, and are shown first (`PromotionRules.deciding`); DR at `level` by default.
        seed: recorded with the metrics.
        level: nominal coverage of the reports' own intervals.

    Returns:
        What `out/metrics.json` holds: `Evaluation.to_dict`, and `seed`.

    Raises:
        ArtifactError: if an artifact is altered, or the reward model predicts other objectives than the log holds.
        InvalidInputError: if there is no challenger, or a name is none for a folder.
        UnknownNameError: if the deciding estimator is none that was made.
    """
    from homing.policies import EpsilonGreedyPolicy, load_policy

    _check_names(challengers)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    dataset = LoggedDataset.load(Path(evaluation_dir))
    q_hat = predictions(dataset, load_policy(Path(reward_model)))
    messages = Messages.of(dataset)
    calibration = propensity_calibration(dataset, messages=messages)
    warnings = [reason for item in reward_model_calibration(dataset, q_hat) for reason in item.reasons]

    reports: list[OPEReport] = []
    maps: list[SupportMap] = []
    rows: list[OPEReport] = []

    def judge(
        probs: FloatArray, name: str, notes: tuple[str, ...], against: Mapping[str, FloatArray] | None = None
    ) -> tuple[OPEReport, SupportMap]:
        parts = Segments.telling(dataset, probs, messages)
        report = evaluate_policy(
            dataset, probs, q_hat=q_hat, level=level, policy=name, against=against, messages=messages,
            calibration=calibration, segments=parts.labels,
        )  # fmt: skip
        report = replace(report, notes=(*report.notes, *notes, *warnings))
        return report, support_map(dataset, probs, policy=name, messages=messages, segments=parts)

    other = load_policy(Path(baseline if champion is None else champion))
    role = "baseline" if champion is None else "champion"
    title = role if other.name in ("policy", role) else f"{role} ({other.name})"
    champion_probs, notes = probabilities(dataset, other)
    against, champion_map = judge(champion_probs, title, notes)
    for name, folder in challengers.items():
        artifact = load_policy(Path(folder))
        probs, notes = probabilities(dataset, artifact)
        # Differences know what decisions could weigh under both: shorter intervals where the policies are alike.
        report, drawn = judge(probs, name, notes, {title: champion_probs})
        maps.append(drawn)
        policy = artifact.policy
        if isinstance(policy, EpsilonGreedyPolicy) and policy.epsilon > 0:
            without = probabilities(dataset, replace(artifact, policy=policy.base))
            bare, _ = judge(without[0], f"{name} without exploration", without[1])
            rows.append(bare)
            report = replace(report, notes=(*report.notes, *exploration_notes(report, bare, policy.epsilon)))
        reports.append(report)
    rows += references(dataset, q_hat, messages, level=level, calibration=calibration)
    evaluation = Evaluation(
        challengers=tuple(reports),
        champion=against,
        deciding=deciding or Deciding.of(reports[0]),
        references=tuple(rows),
        champion_is_baseline=champion is None,
        maps=(*maps, champion_map),
        directions=directions(Path(evaluation_dir).parent / "objectives.yaml"),
    )
    for report in reports:
        report.save(out / CHALLENGERS / report.policy)
    against.save(out / CHAMPION)
    metrics = {"seed": int(seed), **evaluation.to_dict()}
    write_json(out / METRICS, metrics)
    (out / "evaluation.html").write_text(evaluation.to_html(), encoding="utf-8")
    return metrics


def _check_names(challengers: Mapping[str, str | Path]) -> None:
    """Names become folders and stand beside the champion's."""
    if not challengers:
        raise InvalidInputError(describe("challengers", {}, "must name at least one policy"))
    for name in challengers:
        if not NAME.fullmatch(name) or name == CHAMPION:
            bound = "must be letters, digits, '.', '_' and '-', at most 63 of them, and not 'champion'"
            raise InvalidInputError(describe("challenger", name, bound, "Name it after its learner."))


def directions(path: Path) -> dict[str, str]:
    """`maximize` or `minimize` by objective from an objectives file; empty if there is none."""
    if not path.is_file():
        return {}
    return {name: item.direction for name, item in Objectives.from_yaml(path).items()}


def probabilities(dataset: LoggedDataset, artifact: PolicyArtifact) -> tuple[FloatArray, tuple[str, ...]]:
    """A saved policy's probabilities (n, k) on a log, in the columns that it was trained on, and notes on that."""
    from homing.policies import dataset_probs

    shown = recode(dataset, artifact.features)
    return dataset_probs(artifact, shown.dataset, batch_size=BATCH_ROWS), shown.notes


def exploration_notes(report: OPEReport, bare: OPEReport, epsilon: float) -> tuple[str, ...]:
    """What exploration costs, in one sentence: a policy that explores earns less than what it knows.

    Named are the objectives that it moves most clearly, by the differences' own standard errors.
    """
    costs = []
    for objective in report.objectives:
        if all(("dr", objective) in item.estimates for item in (report, bare)):
            mine, other = (parts(item.estimate(objective, "dr"))[0] for item in (report, bare))
            difference = compare(report, bare, objective, "dr")
            value, lower, upper = parts(difference)
            clear = abs(difference.value) / difference.std_error if difference.std_error > 0 else 0.0
            costs.append((clear, f"{objective} {mine} instead of {other} (difference {value} [{lower}, {upper}])"))
    if not costs:
        return ()
    costs.sort(key=lambda item: -item[0])
    told = ", ".join(text for _, text in costs[:_TOLD])
    of_all = f" (the {_TOLD} of {len(costs)} objectives that move most clearly)" if len(costs) > _TOLD else ""
    head = f"{percent(epsilon)} of the choices are drawn uniformly, to learn from"
    return (f"{head}; against the policy without that, at {percent(report.level)}: {told}{of_all}.",)


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
