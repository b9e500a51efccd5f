"""Step 2: the training set becomes policies, the baseline they must beat, and a reward model to evaluate with."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    prepared: dsl.Input[dsl.Dataset],
    trained: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    learners: list,
    params: dict,
    weights: dict,
    seed: int,
    inputs_digest: str,
):
    """Fit one learner or several on the training users.

    Args:
        prepared: what `prepare` wrote.
        trained: folder: policies, baseline and reward model as artifacts, and how training went.
        report: loss by epoch and calibration, for people.
        metrics: last loss, calibration errors, seconds.
        learners: their names in `homing.learners`; several are trained in turn and judged on one log.
        params: settings by learner; {} for all defaults.
        weights: importance of each objective by name; {} for equal ones.
        seed: of the learner's random numbers.
        inputs_digest: digest of the code, which the cache's key does not see by itself.
    """
    from pathlib import Path

    from components.numbers import whole
    from components.pages import log_numbers, training_page
    from homing.learners import train as run

    done = run(
        Path(prepared.path) / "train",
        Path(trained.path),
        learner=learners,
        params=whole(params),
        weights=weights or None,
        seed=seed,
    ).to_dict()
    Path(report.path).write_text(training_page(done))
    log_numbers(metrics, done)
