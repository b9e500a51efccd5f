"""Step 5: the policy that the gate chose goes into the registry with its evidence; the champion alias moves last."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    prepared: dsl.Input[dsl.Dataset],
    trained: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    data_report: dsl.Input[dsl.HTML],
    training_report: dsl.Input[dsl.HTML],
    registration: dsl.Output[dsl.Artifact],
    registry: str,
    name: str,
    run_name: str,
    compared_with: str,
    trigger: str,
    inputs_digest: str,
) -> str:
    """Register the run.

    Args:
        prepared: what `prepare` wrote.
        trained: what `train` wrote.
        evaluation: what `evaluate` wrote.
        decision: what `gate` wrote.
        data_report: the page on the data.
        training_report: the page on the training.
        registration: what was registered, as JSON.
        registry: URI of the registry.
        name: the policy's name there.
        run_name: this run's name; a step that is retried under it registers nothing twice.
        compared_with: the champion's version at evaluation.
        trigger: what started the run, to be tracked.
        inputs_digest: digest of the code and the data, to be tracked.

    Returns:
        The registered version.
    """
    import json
    from pathlib import Path

    from components.evidence import collect
    from homing.registry import register_run

    models = Path(trained.path)
    evidence = collect(
        prepared=Path(prepared.path),
        trained=models,
        evaluation=Path(evaluation.path),
        decision=Path(decision.path),
        pages={"data.html": Path(data_report.path), "training.html": Path(training_report.path)},
        params={"run_name": run_name, "trigger": trigger, "inputs_digest": inputs_digest},
    )
    done = register_run(
        registry,
        name=name,
        baseline=models / "baseline",
        run_name=run_name,
        key=run_name,
        compared_with=compared_with,
        **evidence,
    )
    Path(registration.path).write_text(json.dumps(done.to_dict(), indent=1))
    return done.version
