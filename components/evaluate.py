"""Step 3: what the policy would be worth, beside the registry's champion, on users it was not trained on."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    prepared: dsl.Input[dsl.Dataset],
    trained: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    registry: str,
    name: str,
    seed: int,
) -> str:
    """Estimate the values of challenger and champion off-policy.

    Args:
        prepared: what `prepare` wrote.
        trained: what `train` wrote.
        evaluation: folder with both reports, for the gate.
        report: values with intervals, weights and support, for people.
        metrics: the estimates.
        registry: URI of the registry that holds the champion.
        name: the policy's name there.
        seed: of anything random.

    Returns:
        The champion's version that was compared with; "" if there is none yet and the baseline stood in for it.
    """
    import shutil
    from pathlib import Path

    from components.pages import log_numbers
    from homing.ope import evaluate_artifacts
    from homing.registry import find_champion

    version, champion = find_champion(registry, name)
    models, out = Path(trained.path), Path(evaluation.path)
    done = evaluate_artifacts(
        Path(prepared.path) / "evaluation",
        out,
        challenger=models / "policy",
        champion=champion,
        baseline=models / "baseline",
        reward_model=models / "reward_model",
        seed=seed,
    )
    shutil.copyfile(out / "evaluation.html", report.path)
    log_numbers(metrics, done["metrics"])
    return version
