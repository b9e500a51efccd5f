"""What a decision log says could have been sent, with a policy's values: candidates to plan for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog, FeatureEncoder, read_log
from homing.log.columns import flatten_lists, times
from homing.log.schema import CANDIDATE_FIELDS, CANDIDATE_NAMES
from homing.policies import PolicyArtifact, load_policy
from homing.policies.scorer import RewardModel, Scorer, checked_scores


def opportunities(
    log: DecisionLog | str | Path, policy: PolicyArtifact | str | Path, *, per: str = "user", batch_rows: int = 4096
) -> Any:
    """Every candidate that a log's decisions could have sent, a row each, with its value by a policy.

    The value is the policy's score of the candidate less that of silence: what the service compares, too, so that
    prices made with it fit this policy (`horizon: {policy: DIGEST}`). What the log chose, and what came of it, plays no
    part.

    Wrong to use with a policy that was trained on these very decisions where values are to be believed: they are then
    fitted, not predicted.

    Args:
        log: decisions, or the folder that they are read from.
        policy: an artifact with a scorer inside, or its folder.
        per: `user`: all decisions of a user are planned together, within the user's cap; `decision`: each by itself.
            Rows of one stand together, in the order of first occurrence.
        batch_rows: decisions that are scored at once.

    Returns:
        An Arrow table: `user_id`, `decision_id`, `candidate` (its place in the decision), `message_id`, `campaign`,
        `domain`, `channel`, `slot`, `hour` (of the decision, UTC), `value`; the candidates' features; `objective.NAME`,
        what the policy expects over silence (at least 0), where it says; and the features of the context. A feature
        whose name is taken is `feature.NAME`, or `context.NAME`.

    Raises:
        InvalidInputError: if the log is empty, or the policy has no scores.

    Example:
        >>> import pyarrow as pa
        >>> from homing.log import decisions_schema, silence_candidate
        >>> from homing.log.features import Field
        >>> from homing.planning import Budget, PlanningProblem, solve
        >>> from homing.policies import ColumnScorer, GreedyPolicy, save_policy
        >>> import tempfile
        >>> encoder = FeatureEncoder(context=(), candidate=(Field("worth", "number"),))
        >>> values = np.zeros(len(encoder.candidate_names)); values[encoder.column("worth")] = 1.0
        >>> folder = tempfile.mkdtemp()
        >>> digest = save_policy(GreedyPolicy(ColumnScorer(values, width=0)), folder, name="g",
        ...                      features=encoder.to_dict())
        >>> push = {**silence_candidate({"worth": pa.float64()}), "message_id": "m", "channel": "push"}
        >>> rows = [{"decision_id": f"d{i}", "user_id": f"u{i}", "decided_at": i, "policy": "p@1", "context": {},
        ...          "candidates": [silence_candidate({"worth": pa.float64()}), {**push, "worth": i / 2}],
        ...          "eligible": [True, True], "action": 0, "propensity": 1.0, "explored": False, "slice": "policy"}
        ...         for i in (1, 2)]
        >>> log = DecisionLog.from_tables(pa.Table.from_pylist(rows, decisions_schema({}, {"worth": pa.float64()})))
        >>> table = opportunities(log, folder)
        >>> table["value"].to_pylist()
        [0.5, 1.0]
        >>> problem = PlanningProblem.from_table(table, codes=["channel"], budgets=[Budget(1, {"channel": "push"})])
        >>> table.take(solve(problem).chosen)["decision_id"].to_pylist()
        ['d2']
    """
    import pyarrow as pa

    if per not in ("user", "decision"):
        raise InvalidInputError(describe("per", per, "must be user or decision"))
    log = log if isinstance(log, DecisionLog) else read_log(log)
    artifact = policy if isinstance(policy, PolicyArtifact) else load_policy(policy)
    scorer = _scorer_of(artifact)
    if artifact.features is None:
        step = "Save the policy with the features of the encoder that it was trained with."
        raise InvalidInputError(describe("features of the policy", None, "must be given", step))
    encoder = FeatureEncoder.from_dict(artifact.features)
    tables = [
        _scored(batch.slice(begin, batch_rows), artifact, scorer, encoder)
        for batch in log.decision_batches(
            columns=["decision_id", "user_id", "decided_at", "context", "candidates", "eligible"]
        )
        for begin in range(0, batch.num_rows, batch_rows)
    ]
    if not tables:
        raise InvalidInputError(describe("decisions", 0, "must be >= 1", "The log holds no decision."))
    table = pa.concat_tables(tables).combine_chunks()
    coded = table[f"{per}_id"].combine_chunks().dictionary_encode()
    return table.take(pa.array(np.argsort(coded.indices.to_numpy(), kind="stable")))


def _scorer_of(artifact: PolicyArtifact) -> Scorer:
    """The scorer inside, through the policies that wrap each other."""
    part: Any = artifact.policy
    while part is not None and not hasattr(part, "scores"):
        part = getattr(part, "scorer", None) or getattr(part, "base", None)
    if part is None:
        bound = "has no scores that could be planned with"
        raise InvalidInputError(describe("policy", artifact.name, bound, "Name a policy over a scorer."))
    out: Scorer = part
    return out


def _scored(batch: Any, artifact: PolicyArtifact, scorer: Scorer, encoder: FeatureEncoder) -> Any:
    """Rows of some decisions' candidates."""
    import pyarrow as pa

    n = batch.num_rows
    at = times(batch.column("decided_at"), n)
    context = encoder.encode_context(batch.column("context"))
    store = encoder.encode_candidates(batch.column("candidates"), at)
    lengths = np.diff(store.offsets)
    row = np.repeat(np.arange(n), lengths)
    place = np.arange(len(row)) - store.offsets[row]
    allowed = batch.column("eligible").flatten().to_numpy(zero_copy_only=False).astype(bool)
    if len(allowed) != len(row):
        raise InvalidInputError(describe("len(eligible)", len(allowed), f"must be {len(row)}, one a candidate"))
    eligible = np.zeros((n, int(lengths.max())), dtype=bool)
    eligible[row, place] = allowed
    candidates = store[np.arange(n)]
    scores = checked_scores(scorer, context, candidates, eligible, artifact.weights)
    kept = np.flatnonzero(allowed & (place > 0))
    row, place = row[kept], place[kept]
    items = flatten_lists(batch.column("candidates"))[0].take(pa.array(kept))
    columns: dict[str, Any] = {
        "user_id": batch.column("user_id").take(pa.array(row)),
        "decision_id": batch.column("decision_id").take(pa.array(row)),
        "candidate": place,
        **{name: items.field(name) for name in CANDIDATE_NAMES},
        "hour": at[row] // 3_600_000_000 % 24,
        "value": scores[row, place] - scores[row, 0],
    }
    for name, column in _fields(items).items():
        if name not in CANDIDATE_FIELDS:
            columns["feature." + name if name in columns else name] = column
    if isinstance(scorer, RewardModel):
        expected = scorer.predict(context, candidates)
        over = np.maximum(expected[row, place] - expected[row, 0], 0.0)
        columns |= {f"objective.{name}": over[:, i] for i, name in enumerate(artifact.objectives)}
    for name, column in _fields(batch.column("context").take(pa.array(row))).items():
        columns["context." + name if name in columns else name] = column
    return pa.table(columns)


def _fields(structs: Any) -> dict[str, Any]:
    return {structs.type.field(i).name: column for i, column in enumerate(structs.flatten())}
