"""Planning: candidates and budgets become who gets what, and the prices with which the online service decides alike."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan(
    planned: dsl.Output[dsl.Dataset],
    prices: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    problem: str,
    data: str,
    warm_start: str,
    publish_to: str,
) -> str:
    """Plan under population budgets, and publish the prices.

    Args:
        planned: folder: plan.parquet (who gets what; several files where it was planned in parts), the report and the
            problem.
        prices: prices.json, for the online service; nothing where the problem has priorities, which no price keeps.
        report: budgets, what one more unit of each buys, alternatives, silence and a sweep, for people.
        metrics: value, upper bound, gap; use and price of every limit.
        problem: the problem as YAML; see docs/guides/planning.md.
        data: folder that the problem's candidates, and its history, are relative to.
        warm_start: prices of an earlier plan, where the search begins; "" for none.
        publish_to: file that the online service reads its prices from, replaced as a whole at the end; "" for none.

    Returns:
        The digest of the prices; "" where there are none.
    """
    import shutil
    from pathlib import Path

    from components.pages import log_plan
    from homing.planning import load_prices, plan_from_file, save_prices

    out = Path(planned.path)
    out.mkdir(parents=True, exist_ok=True)
    (out / "problem.yaml").write_text(problem)
    log_plan(metrics, plan_from_file(out / "problem.yaml", out, data=data, warm_start=warm_start or None).to_dict())
    shutil.copyfile(out / "report.html", report.path)
    if not (out / "prices.json").is_file():
        return ""
    shutil.copyfile(out / "prices.json", prices.path)
    made = load_prices(prices.path)
    return save_prices(made, publish_to) if publish_to else made.digest
