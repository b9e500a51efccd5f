"""Compile the pipelines to their golden files: `python -m pipelines.compile`; `--check` compares instead of writing."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

NAMES = ("training", "retraining", "planning", "experiment")
COMPILED = Path(__file__).parent / "compiled"


def compile_pipeline(name: str, path: Path) -> Path:
    """Compile one pipeline by name; returns `path`."""
    from kfp import compiler

    from pipelines.experiment import experiment_readout
    from pipelines.planning import planning
    from pipelines.retraining import retraining
    from pipelines.training import training

    pipelines = {
        "training": training,
        "retraining": retraining,
        "planning": planning,
        "experiment": experiment_readout,
    }
    compiler.Compiler().compile(pipelines[name], str(path))
    return path


def normalised(text: str) -> str:
    """Compiled text without the SDK's own version, which is no part of the definition."""
    return re.sub(r"(?m)^sdkVersion: .*$", "sdkVersion: any", text)


def stale() -> list[str]:
    """The pipelines whose golden file is missing or differs from the definition."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            golden = COMPILED / f"{name}.yaml"
            made = compile_pipeline(name, Path(folder) / golden.name)
            if not golden.is_file() or normalised(golden.read_text()) != normalised(made.read_text()):
                out.append(name)
    return out


def main(argv: list[str] | None = None) -> int:
    """Write or check the golden files."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the golden files and exit 1 on a difference")
    if parser.parse_args(argv).check:
        old = stale()
        for name in old:
            print(f"pipelines/compiled/{name}.yaml differs from its definition. Run: python -m pipelines.compile")
        return 1 if old else 0
    COMPILED.mkdir(exist_ok=True)
    for name in NAMES:
        print(compile_pipeline(name, COMPILED / f"{name}.yaml").relative_to(COMPILED.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
