"""The last step of a run: what was trained, judged and decided becomes versions, and the verdict moves the alias."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe
from homing.registry.artifact import verify_artifact
from homing.registry.opening import open_registry
from homing.registry.registry import CHALLENGER, CHAMPION, RunReport, find_version

VERDICTS = ("promote", "hold", "refuse")


@dataclass(frozen=True)
class RegisterReport:
    """What registering did.

    Attributes:
        name: the policy's name in the registry.
        version: the challenger's version.
        digest: its artifact's SHA-256.
        run_id: the tracked run.
        verdict: the gate's.
        promoted: whether the challenger is the champion now.
        champion_version: the champion's version after this step.
        baseline_version: the version under which the baseline became the first champion; "" if there was one already.
        note: a sentence where the outcome is not plain from the verdict; else "".
    """

    name: str
    version: str
    digest: str
    run_id: str
    verdict: str
    promoted: bool
    champion_version: str
    baseline_version: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """As JSON types."""
        return asdict(self)

    def to_text(self) -> str:
        """The outcome in a sentence or two.

        >>> RegisterReport("homing", "2", "ab" * 32, "r", "hold", False, "1").to_text()
        'Registered homing version 2, the challenger; version 1 stays champion.'
        """
        parts = []
        if self.baseline_version:
            parts.append(
                f"The first champion is version {self.baseline_version}, the baseline that does what the log did."
            )
        role = {"promote": "", "hold": ", the challenger", "refuse": ", with no alias"}[self.verdict]
        if self.promoted:
            parts.append(f"Registered {self.name} version {self.version} and made it the champion.")
        else:
            parts.append(
                f"Registered {self.name} version {self.version}{role}; version {self.champion_version} stays champion."
            )
        return " ".join([*parts, self.note] if self.note else parts)


def register_run(
    registry_uri: str,
    *,
    name: str,
    policy: Path,
    baseline: Path,
    verdict: str,
    compared_with: str = "",
    run_name: str = "",
    key: str = "",
    params: Mapping[str, object] | None = None,
    metrics: Mapping[str, object] | None = None,
    history: Mapping[str, object] | None = None,
    artifacts: Mapping[str, Path] | None = None,
) -> RegisterReport:
    """Register a run's policy with its evidence, and promote it where the gate said so.

    The first run in a registry registers the baseline first and makes it the champion, so that serving starts from
    what the log does already. A refused policy is kept with its evidence, without an alias.

    The verdict holds against the champion that the policy was compared with. If another run promoted in between,
    the policy becomes the challenger and the report says so: evaluate it again.

    Args:
        registry_uri: see `open_registry`.
        name: the policy's name in the registry.
        policy: the challenger's artifact.
        baseline: the artifact that becomes the first champion.
        verdict: "promote", "hold" or "refuse".
        compared_with: version of the champion at evaluation; "" if there was none and the baseline stood in for it.
        run_name: a name that a person recognises.
        key: registering the same artifact under the same key again (a retried step) adds no second version.
        params: settings; nested ones are joined with "/".
        metrics: numbers; nested ones are joined with "/"; those that are not finite are left out.
        history: lists of numbers by name, nested or not.
        artifacts: name → file or folder.

    Raises:
        ArtifactError: if an artifact does not match its manifest.

    Example:
        >>> import tempfile
        >>> from homing.policies import SilencePolicy, UniformPolicy, save_policy
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = save_policy(UniformPolicy(), folder / "policy"), save_policy(SilencePolicy(), folder / "baseline")
        >>> register_run(f"folder:{folder}/registry", name="homing", policy=folder / "policy",
        ...              baseline=folder / "baseline", verdict="promote").champion_version
        '2'
    """
    check_one_of("verdict", verdict, VERDICTS)
    report = RunReport(
        run_name=run_name,
        params=flatten(params or {}),
        metrics=numbers(flatten(metrics or {})),
        history=series(history or {}),
        tags={"homing.verdict": verdict},
        artifacts=artifacts or {},
        key=key,
    )
    registry = open_registry(registry_uri, name)
    champion = find_version(registry, CHAMPION)
    baseline_version = ""
    if champion is None:
        first = RunReport(
            f"{run_name} baseline".strip(), tags={"homing.role": "baseline"}, key=f"{key}/baseline" if key else ""
        )
        baseline_version = registry.register(Path(baseline), first, alias=None)
        registry.promote(baseline_version)
        champion = find_version(registry, CHAMPION)
        assert champion is not None  # just promoted
        compared_with = compared_with or baseline_version
    version = registry.register(Path(policy), report, alias=CHALLENGER if verdict != "refuse" else None)
    note = ""
    if champion.version == version and verdict != "promote":
        # An earlier attempt got this far, and this one compared the champion with itself. It keeps its one alias.
        registry.promote(version)
        note = "An earlier attempt of this run had done so already; its verdict stands, not this one's."
    elif verdict == "promote" and champion.version not in (version, compared_with):
        note = (
            f"It was compared with version {compared_with or 'of the baseline'}, but version {champion.version} is the "
            "champion by now: run again to compare with that one."
        )
    elif verdict == "promote":
        registry.promote(version)
    after, made = find_version(registry, CHAMPION), find_version(registry, version)
    assert after is not None and made is not None  # registered and promoted above
    return RegisterReport(
        name=name,
        version=version,
        digest=verify_artifact(Path(policy)),
        run_id=made.run_id,
        verdict=verdict,
        promoted=after.version == version,
        champion_version=after.version,
        baseline_version=baseline_version,
        note=note,
    )


def find_champion(registry_uri: str, name: str) -> tuple[str, Path | None]:
    """The champion's version and its verified artifact; ("", None) where no version is champion yet.

    Raises:
        ArtifactError: if the champion's files are not those that were registered.
    """
    registry = open_registry(registry_uri, name)
    champion = find_version(registry, CHAMPION)
    return ("", None) if champion is None else (champion.version, registry.resolve(champion.version))


def flatten(nested: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, keys joined with "/"; empty values are left out.

    >>> flatten({"dr": {"visit": {"value": 0.2}}, "none": None})
    {'dr/visit/value': 0.2}
    """
    out: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            out |= flatten(value, f"{prefix}{key}/")
        elif value is not None:
            out[f"{prefix}{key}"] = value
    return out


def numbers(flat: Mapping[str, object]) -> dict[str, float]:
    """The finite numbers of a flat mapping."""
    return {
        _metric_name(key): float(value)
        for key, value in flat.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def series(nested: Mapping[str, object]) -> dict[str, list[float]]:
    """The non-empty lists of finite numbers of a nested mapping."""
    out = {}
    for key, values in flatten(nested).items():
        if isinstance(values, list) and values and all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            out[_metric_name(key)] = [float(v) for v in values]
    return out


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file of an earlier step.

    Raises:
        InvalidInputError: if the file is missing or not a JSON object.
    """
    try:
        value = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            describe("file", str(path), "must be a JSON file that an earlier step wrote")
        ) from error
    if not isinstance(value, dict):
        raise InvalidInputError(describe("file", str(path), "must hold a JSON object"))
    return value


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits and `_-. :/` in a metric's name."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
