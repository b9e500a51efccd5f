"""`export_world`: a public benchmark data set out of a world: a log to learn from, and the truth to be judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from homing.checks import check_count
from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog
from homing.simulation.baselines import baselines
from homing.simulation.datasheet import datasheet
from homing.simulation.delivery import Delivery
from homing.simulation.log import check_logged, log_decisions
from homing.simulation.rollout import steps_of
from homing.simulation.scores import Scores, score_policies
from homing.simulation.slices import Slices
from homing.simulation.world import World
from homing.simulation.wrappers import innermost, layers_of

#: Of what is exported: raised when the same command would write something else.
EXPORT_VERSION = 1
MANIFEST = "manifest.sha256"


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: where.
        log: the train log.
        scores: the baselines' true values.
        digest: SHA-256 of the manifest: the data set's identity.
    """

    folder: Path
    log: DecisionLog
    scores: Scores
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "folder": str(self.folder),
            "decisions": self.log.n_decisions,
            "outcomes": self.log.n_outcomes,
            "digest": self.digest,
            "scores": self.scores.to_dict(),
        }


def export_world(
    world: World,
    out: str | Path,
    *,
    days: int = 28,
    n_users: int = 20_000,
    horizon_days: int = 90,
    truth_users: int = 20_000,
    seed: int = 0,
    slices: Slices | None = None,
    delivery: Delivery | None = None,
    command: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> Export:
    """Write a world as a data set that others can cite; the same arguments give the same bytes.

    Writes `log/` (format 1, under the behaviour policy), `objectives.yaml` (how `build_dataset` reads it), `truth.json`
    (hidden from who competes: the world's parameters, and true values of the baselines on other users), `scores.md`,
    `README.md` (the data sheet) and `manifest.sha256`, which `sha256sum -c` checks.

    Args:
        world: that says how it is logged (`LoggedWorld`).
        out: a folder that is missing or empty.
        days: length of the log.
        n_users: in the log.
        horizon_days: over which true values are summed.
        truth_users: users of the true values, others than those of the log.
        seed: of the log; true values have the next.
        slices: users with uniform-random decisions and users who are held out; 5 % and 2 % when not given.
        delivery: how outcomes reach the log; late by six hours on average, one of a hundred twice, when not given.
        command: that wrote it, for the data sheet.
        progress: told what is simulated, the days done and the days there are.

    Raises:
        InvalidInputError: if the folder holds something, or a number is out of its bounds.

    Example:
        >>> import tempfile
        >>> from homing.simulation import make_world
        >>> small = {"days": 2, "n_users": 50, "horizon_days": 2, "truth_users": 50}
        >>> export = export_world(make_world("linkedin"), tempfile.mkdtemp(), **small)
        >>> sorted(path.name for path in export.folder.iterdir())
        ['README.md', 'log', 'manifest.sha256', 'objectives.yaml', 'scores.md', 'truth.json']
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError(describe("out", str(folder), "must be missing or empty", "Give another folder."))
    logged = check_logged(world)
    days, horizon_days = check_count("days", days), check_count("horizon_days", horizon_days)
    n_users, truth_users = check_count("n_users", n_users), check_count("truth_users", truth_users, least=2)
    for each in (days, horizon_days):
        steps_of(world, each)
    slices = Slices(uniform_share=0.05, holdout_share=0.02) if slices is None else slices
    delivery = Delivery(mean_hours=6.0, duplicate_share=0.01) if delivery is None else delivery
    told = None if progress is None else lambda day, of: progress("log", day, of)
    log = log_decisions(
        world, logged.behaviour_policy(), days=days, n_users=n_users, seed=seed, slices=slices, delivery=delivery,
        policy_name="behaviour@1", out=folder / "log", progress=told,
    )  # fmt: skip
    goals = yaml.safe_dump(logged.log_objectives.to_dict(), sort_keys=False)
    (folder / "objectives.yaml").write_text(goals, encoding="utf-8")
    scores = score_policies(
        world, baselines(world), horizon_days=horizon_days, n_users=truth_users, seed=seed + 1, reference="behaviour",
        progress=progress,
    )  # fmt: skip
    truth = {"version": EXPORT_VERSION, "parameters": _parameters(world), "scores": scores.to_dict()}
    if wrappers := [type(layer).__name__ for layer in layers_of(world)]:
        truth["wrappers"] = wrappers
    (folder / "truth.json").write_text(json.dumps(truth, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "scores.md").write_text(scores.to_markdown() + "\n", encoding="utf-8")
    page = datasheet(
        logged, log, scores, days=days, n_users=n_users, seed=seed, slices=slices, delivery=delivery, command=command,
        version=EXPORT_VERSION,
    )  # fmt: skip
    (folder / "README.md").write_text(page, encoding="utf-8")
    return Export(folder, log, scores, _manifest(folder))


def _manifest(folder: Path) -> str:
    """Write the digests of all files, as `sha256sum` has them; returns that of the list."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files)
    data = "".join(lines).encode()
    (folder / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _parameters(world: World) -> dict[str, Any]:
    parameters = getattr(innermost(world), "parameters", None)
    if not is_dataclass(parameters) or isinstance(parameters, type):
        return {}
    return json.loads(json.dumps(asdict(parameters), default=str))  # type: ignore[no-any-return]
