"""The planning pipeline: from scored candidates and budgets to a plan, its report, and the prices that serve."""

from kfp import dsl

from components.plan import plan


@dsl.pipeline(name="homing-planning", description="Plan under budgets, and publish the prices for the online service.")
def planning(problem: str, data: str, warm_start: str = "", publish_to: str = "") -> str:
    """Plan what `problem` (YAML) asks for over candidates in `data`; returns the digest of the prices."""
    made = plan(problem=problem, data=data, warm_start=warm_start, publish_to=publish_to)
    # Candidates and the service's file are states that the cache's key does not see.
    made.set_caching_options(False)
    return made.outputs["Output"]
