"""Step 1: a source or a decision log becomes a training and an evaluation set, split by user."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    prepared: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    dataset: str,
    data: str,
    options: dict,
    logs: list,
    objectives: str,
    evaluation_share: float,
    hold_back_share: float,
    seed: int,
    inputs_digest: str,
):
    """Accept or reject each row of the log, join outcomes, split by user.

    Args:
        prepared: folder: accepted log, rejected rows with reasons, training and evaluation set.
        report: what was read, refused and why, for people.
        metrics: row counts.
        dataset: a data set's name, or "" to read `logs`.
        data: where the data set's files lie; "" for its default.
        options: of the data set, such as {"campaign": "all"} for open-bandit.
        logs: folders in format 1, read instead of a data set.
        objectives: objectives as YAML; "" for the data set's own.
        evaluation_share: share of users to evaluate on, never trained on.
        hold_back_share: share of users left out of both.
        seed: of anything random.
        inputs_digest: digest of the code and the data, which the cache's key does not see by itself.
    """
    from pathlib import Path

    from components.numbers import whole
    from components.pages import data_page, log_numbers
    from homing.datasets import prepare as run
    from homing.log import Objectives
    from homing.plain_yaml import load_yaml

    done = run(
        Path(prepared.path),
        dataset=dataset or None,
        data=Path(data) if data else None,
        logs=[Path(log) for log in logs],
        objectives=Objectives.from_dict(load_yaml(objectives)) if objectives else None,
        seed=seed,
        evaluation_share=evaluation_share,
        hold_back_share=hold_back_share,
        **whole(options),
    ).to_dict()
    Path(report.path).write_text(data_page(done))
    log_numbers(
        metrics, {name: done[name] for name in ("read", "accepted", "rejected", "rows", "users", "mean_reward")}
    )
