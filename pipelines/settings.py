"""From the command line's words to a pipeline's parameters."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe
from homing.plain_yaml import load_yaml
from homing.registry.opening import DEFAULT_NAME
from pipelines.digests import inputs_digest

T = TypeVar("T")
#: What is run when nothing is named: the only one that has silence, opt-outs and sequences together. Simulated.
DEFAULT_DATASET = "simulated-messaging"
#: What is trained on a log of one's own.
DEFAULT_LEARNER = "doubly-robust"
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


@dataclass(frozen=True)
class Settings:
    """One run, settled.

    Attributes:
        pipeline: "training" or "retraining".
        run_name: deterministic where the run has a trigger or goes to a server.
        arguments: the pipeline's parameters.
        subject: what the run is about, for people.
    """

    pipeline: str
    run_name: str
    arguments: dict[str, Any]
    subject: str

    @property
    def registry(self) -> str:
        """URI of the registry."""
        return str(self.arguments["registry"])


def settle(args: argparse.Namespace) -> Settings:
    """Fill in defaults, read the files that are passed by value, and check what can be checked before anything runs.

    Raises:
        HomingError: in one sentence, for anything that the user got wrong.
    """
    remote = bool(args.host)
    logs = [str(log) for log in args.log]
    if args.pipeline == "retraining" and not logs:
        raise InvalidInputError(describe("--log", logs, "must name at least one folder in format 1", "Pass --log DIR."))
    if args.trigger and args.pipeline != "retraining":
        raise InvalidInputError(describe("--trigger", args.trigger, "is for --pipeline retraining"))
    registry = args.registry if remote else _absolute(args.registry)
    if remote and registry.startswith("mlflow+sqlite"):
        raise InvalidInputError(
            describe(
                "--registry", registry, "must be reachable from the cluster", "Pass --registry mlflow+http://HOST."
            )
        )
    if args.seed < 0:
        raise InvalidInputError(describe("--seed", args.seed, "must be at least 0"))
    dataset = args.dataset or ("" if logs else DEFAULT_DATASET)
    objectives, rules, weights = _defaults(dataset)
    learners, params = _learners(args, dataset)
    arguments: dict[str, Any] = {
        "objectives": _text("--objectives", args.objectives, objectives),
        "rules": _text("--rules", args.rules, rules),
        "registry": registry,
        # A champion of another data set is no one to compare with: each has a name of its own.
        "name": args.name or dataset or DEFAULT_NAME,
        "learners": learners,
        "learner_params": params,
        "weights": args.weights or ({} if args.objectives else weights),
        "evaluation_share": args.evaluation_share,
        "hold_back_share": args.hold_back_share,
        "seed": args.seed,
        "logs": logs if remote else [str(Path(log).resolve()) for log in logs],
    }
    _check(args, arguments)
    if args.pipeline == "training":
        data = args.data or ""
        arguments |= {
            "dataset": "" if logs else dataset,
            "options": args.options,
            "data": data if remote or not data else str(Path(data).resolve()),
        }
    subject = dataset if not logs else f"{len(logs)} decision log{'s' if len(logs) > 1 else ''}"
    run_name = args.run_name or _run_name(args, arguments, dataset)
    if not SAFE_NAME.fullmatch(run_name):
        raise InvalidInputError(
            describe("--run-name", run_name, "must be lower-case letters, digits, '-' and '.', at most 63 of them")
        )
    read = [] if remote else [Path(p) for p in [*arguments["logs"], arguments.get("data")] if p]
    arguments |= {
        "trigger": args.trigger or (run_name if args.pipeline == "retraining" else "manual"),
        "run_name": run_name,
        "inputs_digest": inputs_digest(read, nonce=run_name if remote else ""),
    }
    return Settings(args.pipeline, run_name, arguments, subject)


def _check(args: argparse.Namespace, arguments: Mapping[str, Any]) -> None:
    """Refuse now what a step would refuse minutes later."""
    from homing import learners
    from homing.learners.train import settings_by_learner
    from homing.log import Objectives
    from homing.promotion import PromotionRules
    from homing.registry import open_registry

    for name in arguments["learners"]:
        check_one_of("--learner", name, learners.names())
    settings_by_learner(arguments["learners"], arguments["learner_params"], nested=True)
    if not str(args.registry).startswith("mlflow+"):  # opening one of MLflow's takes seconds
        open_registry(arguments["registry"], arguments["name"])
    objectives = _parsed("--objectives", args.objectives, arguments["objectives"], Objectives.from_dict).names
    rules = _parsed("--rules", args.rules, arguments["rules"], PromotionRules.from_dict)
    for option, chosen in (("--weights", args.weights), ("--rules", {**rules.objectives, **rules.guardrails})):
        for name in chosen:
            check_one_of(f"objective of {option}", name, objectives)


def _parsed(option: str, path: Path | None, text: str, build: Callable[..., T]) -> T:
    source = str(path or option)
    try:
        return build(load_yaml(text), source=source)
    except yaml.YAMLError as error:
        raise InvalidInputError(describe(option, source, f"must be YAML ({' '.join(str(error).split())})")) from error


def _run_name(args: argparse.Namespace, arguments: dict[str, Any], dataset: str) -> str:
    """One name per reason to run: the trigger, the parameters sent to a server, or now."""
    if args.trigger:
        plain = re.sub(r"[^a-z0-9.-]+", "-", args.trigger.lower()).strip("-.")[:30]
        return f"retraining-{plain}-{hashlib.sha256(args.trigger.encode()).hexdigest()[:8]}"
    stem = f"{args.pipeline}-" if args.pipeline != "training" else ""
    stem += re.sub(r"[^a-z0-9-]+", "-", dataset if not arguments["logs"] else "log")
    if args.host:
        return f"{stem}-{hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:12]}"
    return f"{stem}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"


def _absolute(registry: str) -> str:
    """A registry's URI that means the same in every folder."""
    for prefix in ("mlflow+sqlite:///", "folder:"):
        if registry.startswith(prefix) and registry != prefix:
            return f"{prefix}{Path(registry.removeprefix(prefix)).resolve()}"
    return registry


def _text(option: str, path: Path | None, default: str) -> str:
    if path is None and not default:
        raise InvalidInputError(
            describe(option, None, "is needed for a log of your own", "Or pass --dataset NAME to take that data set's.")
        )
    if path is None:
        return default
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(describe(option, str(path), f"must be a readable text file ({error})")) from error


def _learners(args: argparse.Namespace, dataset: str) -> tuple[list[str], dict[str, Any]]:
    """The learners, and their settings by learner: those given, else those that suit the data set."""
    from homing import datasets

    usual, suited = datasets.default_learner(dataset) if dataset else (DEFAULT_LEARNER, {})
    names = [name.strip() for name in (args.learner or usual).split(",")]
    if args.params:
        return names, args.params if len(names) > 1 else {names[0]: args.params}
    return names, {name: suited.get(name, {}) for name in names}


def _defaults(dataset: str) -> tuple[str, str, dict[str, float]]:
    """A data set's objectives and promotion rules as YAML, and its weights; empty for a log of one's own."""
    from homing import datasets

    if not dataset:
        return "", "", {}
    objectives = datasets.objectives_path(dataset).read_text(encoding="utf-8")
    rules = datasets.default_rules(dataset).read_text(encoding="utf-8")
    return objectives, rules, datasets.default_weights(dataset)
