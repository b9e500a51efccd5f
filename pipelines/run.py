"""Run a pipeline: on this machine, or on a Kubeflow Pipelines server with `--host`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from homing.errors import HomingError, InvalidInputError, describe
from pipelines.settings import DEFAULT_DATASET, DEFAULT_LEARNER, Settings, settle

TOKEN_VARIABLES = ("KF_PIPELINES_TOKEN_FILE", "KF_PIPELINES_SA_TOKEN_PATH")
# Folders that a run makes in its own folder, and clears when it starts anew.
OUTPUTS = ("steps", "prepare", "train", "evaluate", "gate", "register")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when all steps went through, 1 otherwise."""
    args = parser().parse_args(argv)
    try:
        settings = settle(args)
        if args.host:
            return _submit(args, settings)
        return _local(settings, Path(args.out))
    except HomingError as error:
        print(f"homing: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # the steps run in processes of their own: this is about our own few files
        path, bound = error.filename or args.out, f"must be usable ({error.strerror or error})"
        step = "Check its rights and the free space, or pass another --out."
        print(f"homing: {describe('file', str(path), bound, step)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhoming: stopped; nothing was promoted unless the register step had begun", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    out.add_argument("--pipeline", choices=("training", "retraining"), default="training")
    out.add_argument(
        "--retrain", action="store_const", const="retraining", dest="pipeline", help="--pipeline retraining"
    )
    source = out.add_argument_group("input")
    source.add_argument(
        "--dataset",
        default="",
        help=f"data set to train on (default: {DEFAULT_DATASET}); with --log, the one whose objectives and rules hold",
    )
    source.add_argument(
        "--data", metavar="PATH", help="your copy of the data set, where it does not come with a package"
    )
    source.add_argument(
        "--log", action="append", default=[], metavar="DIR", help="decision log, instead of a data set; repeatable"
    )
    source.add_argument(
        "--options", type=_mapping, default={}, metavar="JSON", help='the data set\'s, {"campaign": "all"}'
    )
    source.add_argument("--objectives", type=Path, metavar="YAML", help="default: the data set's own")
    source.add_argument("--rules", type=Path, metavar="YAML", help="promotion rules; default: the data set's own")
    source.add_argument("--trigger", default="", help="why a retraining runs; the same trigger runs once")
    fit = out.add_argument_group("training")
    fit.add_argument(
        "--learner",
        default="",
        metavar="NAME,…",
        help="one, or several: all are judged on one log and at most one is promoted (default: what suits the data "
        f"set, else {DEFAULT_LEARNER})",
    )
    fit.add_argument(
        "--params", type=_mapping, default={}, metavar="JSON", help="the learner's settings; of several, by learner"
    )
    fit.add_argument(
        "--weights", type=_mapping, default={}, metavar="JSON", help='importance, {"visit": 1, "spend": 0}'
    )
    fit.add_argument(
        "--evaluation-share", type=float, default=0.4, help="of users, never trained on (default: %(default)s)"
    )
    fit.add_argument(
        "--hold-back-share", type=float, default=0.0, help="of users, left out altogether (default: %(default)s)"
    )
    fit.add_argument("--seed", type=int, default=0)
    keep = out.add_argument_group("output")
    keep.add_argument("--registry", default="mlflow+sqlite:///runs/mlflow.db", help="default: %(default)s")
    keep.add_argument(
        "--name", default="", help="the policy's name in the registry (default: the data set's, else homing)"
    )
    keep.add_argument(
        "--out", default="runs", metavar="DIR", help="this run's files go to DIR/RUN_NAME (default: %(default)s)"
    )
    keep.add_argument("--run-name", default="", help="default: from the input and the time, or the trigger")
    server = out.add_argument_group("on a Kubeflow Pipelines server")
    server.add_argument("--host", default="", metavar="URL", help="submit there instead of running here")
    server.add_argument("--namespace", default="", help="profile namespace, on a multi-user server")
    server.add_argument("--experiment", default="homing")
    server.add_argument("--token-file", type=Path, help="file with a bearer token; default: $KF_PIPELINES_TOKEN_FILE")
    return out


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(describe("value", text, "must be a JSON object", "Write '{\"name\": 1}'."))
    return value


def _local(settings: Settings, out: Path) -> int:
    from pipelines.compile import compile_pipeline
    from pipelines.local import StepFailedError, print_now, run_local
    from pipelines.report import write_report
    from pipelines.summary import Summary

    folder = out / settings.run_name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".lock").exists() and (found := [p.name for p in folder.iterdir() if p.name in OUTPUTS]):
        raise InvalidInputError(
            describe(str(folder), found, "must not hold what no run left there", "Pass another --out or --run-name.")
        )
    with _alone(folder / ".lock"):
        if (folder / "summary.json").is_file():
            print(f"Run {settings.run_name} is done already: {folder / 'report.html'}")
            return 0
        print(f"{settings.pipeline} on {settings.subject}, run {settings.run_name}", flush=True)
        _clear(folder)
        log = folder / "run.log"
        log.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            package = compile_pipeline(settings.pipeline, Path(scratch) / f"{settings.pipeline}.yaml")
            try:
                run = run_local(package, settings.arguments, folder / "steps", log=log, say=print_now)
            except StepFailedError as error:
                print(f"homing: step {error.step} failed.\n{error}", file=sys.stderr)
                return 1
        summary = Summary.of(
            run.moved(folder),
            run_name=settings.run_name,
            pipeline=settings.pipeline,
            registry=settings.registry,
            folder=folder,
        )
        (folder / "report.html").write_text(write_report(summary), encoding="utf-8")
        draft = folder / "summary.json.draft"
        draft.write_text(json.dumps(summary.to_dict(), indent=1), encoding="utf-8")
        draft.replace(folder / "summary.json")  # what marks the run as done comes last
    print(summary.to_text())
    return 0


def _clear(folder: Path) -> None:
    """Remove what an earlier attempt under this name left: steps run anew, and registering adds nothing twice."""
    for name in OUTPUTS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _submit(args: argparse.Namespace, settings: Settings) -> int:
    from pipelines.compile import compile_pipeline
    from pipelines.submit import submit

    token = _token(args.token_file)
    with tempfile.TemporaryDirectory() as scratch:
        package = compile_pipeline(settings.pipeline, Path(scratch) / f"{settings.pipeline}.yaml")
        done = submit(
            args.host,
            package,
            settings.arguments,
            run_name=settings.run_name,
            pipeline=f"homing-{settings.pipeline}",
            experiment=args.experiment,
            namespace=args.namespace,
            token=token,
        )
    print(f"{'Submitted' if done.new else 'Already there:'} run {done.run_name}\n{done.url}")
    return 0


def _token(option: Path | None) -> str:
    """The bearer token from the first file that is named; "" if none is."""
    named = [("--token-file", option), *((name, os.environ.get(name)) for name in TOKEN_VARIABLES)]
    for name, file in named:
        if file:
            try:
                return Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(describe(name, str(file), "must be a readable file with a token")) from error
    return ""


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that other processes on this machine wait for; it dies with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
