"""Step 4: may a challenger replace the champion? A verdict with its reasons; at most one is promoted."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    rules: str,
) -> str:
    """Hold the paired estimates against the promotion rules.

    Args:
        evaluation: what `evaluate` wrote.
        decision: folder with the verdict on each challenger and its reasons.
        report: the same for people, with the evidence behind it.
        rules: the promotion rules as YAML.

    Returns:
        The verdict: "promote", "hold" or "refuse".
    """
    import shutil
    from pathlib import Path

    from homing.plain_yaml import load_yaml
    from homing.promotion import PromotionRules, gate_reports

    out = Path(decision.path)
    verdict = gate_reports(Path(evaluation.path), PromotionRules.from_dict(load_yaml(rules)), out).verdict
    shutil.copyfile(out / "gate.html", report.path)
    return verdict
