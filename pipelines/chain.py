"""The chain that training and retraining share: prepare → train → evaluate → gate → register."""

from typing import Any

from components.evaluate import evaluate
from components.gate import gate
from components.prepare import prepare
from components.register import register
from components.train import train


def chain(
    *,
    dataset: Any,
    data: Any,
    options: Any,
    logs: Any,
    objectives: Any,
    rules: Any,
    learners: Any,
    learner_params: Any,
    weights: Any,
    evaluation_share: Any,
    hold_back_share: Any,
    seed: Any,
    registry: Any,
    name: Any,
    run_name: Any,
    trigger: Any,
    inputs_digest: Any,
) -> None:
    """Chain the five steps inside a pipeline; each argument is a pipeline parameter or a constant."""
    prepared = prepare(
        dataset=dataset,
        data=data,
        options=options,
        logs=logs,
        objectives=objectives,
        evaluation_share=evaluation_share,
        hold_back_share=hold_back_share,
        seed=seed,
        inputs_digest=inputs_digest,
    )
    trained = train(
        prepared=prepared.outputs["prepared"],
        learners=learners,
        params=learner_params,
        weights=weights,
        seed=seed,
        inputs_digest=inputs_digest,
    )
    evaluated = evaluate(
        prepared=prepared.outputs["prepared"],
        trained=trained.outputs["trained"],
        registry=registry,
        name=name,
        rules=rules,
        seed=seed,
    )
    judged = gate(evaluation=evaluated.outputs["evaluation"], rules=rules)
    registered = register(
        prepared=prepared.outputs["prepared"],
        trained=trained.outputs["trained"],
        evaluation=evaluated.outputs["evaluation"],
        decision=judged.outputs["decision"],
        data_report=prepared.outputs["report"],
        training_report=trained.outputs["report"],
        registry=registry,
        name=name,
        run_name=run_name,
        compared_with=evaluated.outputs["Output"],
        trigger=trigger,
        inputs_digest=inputs_digest,
    )
    # The registry's state is an input that the cache's key does not see.
    evaluated.set_caching_options(False)
    registered.set_caching_options(False)
