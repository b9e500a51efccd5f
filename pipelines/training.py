"""The training pipeline: from a data set to a registered policy."""

from kfp import dsl

from pipelines.chain import chain


@dsl.pipeline(name="homing-training", description="Prepare, train, evaluate, gate and register from a data set.")
def training(
    dataset: str,
    rules: str,
    registry: str,
    run_name: str,
    inputs_digest: str,
    data: str = "",
    options: dict = {},  # noqa: B006
    logs: list = [],  # noqa: B006
    objectives: str = "",
    learners: list = ["doubly-robust"],  # noqa: B006
    learner_params: dict = {},  # noqa: B006
    weights: dict = {},  # noqa: B006
    evaluation_share: float = 0.4,
    hold_back_share: float = 0.0,
    seed: int = 0,
    name: str = "homing",
    trigger: str = "manual",
):
    """Train on a data set, or on decision logs where `dataset` is ""."""
    chain(
        dataset=dataset,
        data=data,
        options=options,
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
