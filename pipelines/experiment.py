"""The experiment pipeline: one readout of a running experiment, to be run on a schedule."""

from kfp import dsl

from components.experiment import experiment


@dsl.pipeline(name="homing-experiment", description="Analyse an experiment under its plan, and decide.")
def experiment_readout(plan: str, data: str, exposures: str = "", aggregates: bool = False, as_of: str = "") -> str:
    """Read an experiment out as `plan` (YAML) says, from what lies in `data` today; returns the verdict."""
    made = experiment(plan=plan, data=data, exposures=exposures, aggregates=aggregates, as_of=as_of)
    # Units are a state that the cache's key does not see.
    made.set_caching_options(False)
    return made.outputs["Output"]
