"""Step 3: what the policies would be worth, beside the registry's champion, on users they were not trained on."""

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
    rules: str,
    seed: int,
) -> str:
    """Estimate the values of challengers and champion off-policy, all on one log.

    Args:
        prepared: what `prepare` wrote.
        trained: what `train` wrote.
        evaluation: folder with all reports, for the gate; of simulated data with the truth beside them.
        report: values with intervals, trade-offs, weights and support, for people.
        metrics: the estimates.
        registry: URI of the registry that holds the champion.
        name: the policy's name there.
        rules: the promotion rules as YAML: what they decide on is shown first.
        seed: of anything random.

    Returns:
        The champion's version that was compared with; "" if there is none yet and the baseline stood in for it.
    """
    import shutil
    from pathlib import Path

    from components.judging import judge
    from components.pages import log_numbers
    from homing.registry import find_champion

    version, champion = find_champion(registry, name)
    out = Path(evaluation.path)
    done = judge(
        prepared=Path(prepared.path), trained=Path(trained.path), out=out, champion=champion, rules=rules, seed=seed
    )
    shutil.copyfile(out / "evaluation.html", report.path)
    log_numbers(metrics, done["metrics"])
    return version
