"""Quality metrics: tests of the experiment itself, which can only veto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from homing.experiments.metrics import Covariate, as_covariates, check_flag


@dataclass(frozen=True)
class SampleRatio:
    """Whether units arrived in the planned shares: the sample ratio mismatch test.

    A mismatch says that units were lost or counted differently by variant, after which no comparison of the rest can
    be trusted.

    Attributes:
        sequential: valid at every look (multinomial test martingale), the default: experiments are watched daily, and
            the chi-square test at .001, looked at daily, raises nine times its false alarms. False for chi-square.
    """

    sequential: bool = True
    name: ClassVar[str] = "sample_ratio"

    def __post_init__(self) -> None:
        check_flag("sequential", self.sequential)


@dataclass(frozen=True)
class PreExposureBias:
    """Whether the variants were alike before exposure: one joint test on pre-exposure columns.

    Attributes:
        covariates: which; none for all covariates of the plan's metrics.
        sequential: valid at every look (normal mixture), the default. False for the chi-square test of one look.
    """

    covariates: tuple[Covariate, ...] = ()
    sequential: bool = True
    name: ClassVar[str] = "pre_exposure_bias"

    def __post_init__(self) -> None:
        check_flag("sequential", self.sequential)
        object.__setattr__(self, "covariates", as_covariates(self.covariates))


Quality = SampleRatio | PreExposureBias
#: By name, as a plan in YAML says it.
QUALITY: dict[str, type[Quality]] = {item.name: item for item in (SampleRatio, PreExposureBias)}
