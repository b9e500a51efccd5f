"""The retraining pipeline: from the decision log to a challenger of the registry's champion."""

from kfp import dsl

from pipelines.chain import chain


@dsl.pipeline(
    name="homing-retraining", description="Train a challenger on the decision log and hold it against the champion."
)
def retraining(
    logs: list,
    objectives: str,
    rules: str,
    registry: str,
    trigger: str,
    run_name: str,
    inputs_digest: str,
    learners: list = ["doubly-robust"],  # noqa: B006
    learner_params: dict = {},  # noqa: B006
    weights: dict = {},  # noqa: B006
    evaluation_share: float = 0.4,
    hold_back_share: float = 0.0,
    seed: int = 0,
    name: str = "homing",
):
    """Train on decision logs. `trigger` says why: a drift episode's id, "schedule", "manual"."""
    chain(
        dataset="",
        data="",
        options={},
        logs=logs,
        objectives=objectives,
        rules=rules,
        learners=learners,
        learner_params=learner_params,
        weights=weights,
        evaluation_share=evaluation_share,
        hold_back_share=hold_back_share,
        seed=seed,
        registry=registry,
        name=name,
        run_name=run_name,
        trigger=trigger,
        inputs_digest=inputs_digest,
    )
