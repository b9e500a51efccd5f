"""Experiments: units or sums become a scorecard, and the scorecard a decision that the pipeline can branch on."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def experiment(
    readout: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    plan: str,
    data: str,
    exposures: str,
    aggregates: bool,
    as_of: str,
) -> str:
    """Analyse an experiment under its plan, and decide.

    Args:
        readout: plan.yaml as it was given; experiment.json: plan, scorecard and decision; the page.
        report: the decision in sentences, effects, the path of each bound over looks, for people.
        metrics: units by variant; every effect with its interval and what has been shown.
        plan: the experiment's plan as YAML, unchanged since its start; see docs/guides/experiments.md.
        data: Parquet or CSV file, or folder of Parquet files: one row a unit, or sums.
        exposures: exposure log, where the data hold outcomes alone; "" for none.
        aggregates: the data hold sums by variant and exposure day.
        as_of: the day until which outcomes are complete, a date or the data's own number; "" for the last of exposure.

    Returns:
        The verdict: "ship", "continue", "stop-harm", "stop-futility" or "invalid".
    """
    import shutil
    from pathlib import Path

    from components.pages import log_numbers
    from homing.experiments import read_out

    out = Path(readout.path)
    out.mkdir(parents=True, exist_ok=True)
    (out / "plan.yaml").write_text(plan, encoding="utf-8")
    found = read_out(out / "plan.yaml", data, exposures=exposures or None, aggregates=aggregates, as_of=as_of or None)
    found.write(out)
    shutil.copyfile(out / "experiment.html", report.path)
    log_numbers(metrics, found.numbers)
    return found.decision.verdict
