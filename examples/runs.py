"""What a first run and the story of each data set print, and how long they take: writes docs/runs.md (`make docs`).

The first run is a stranger's: a fresh clone, no environment. Data sets that are not there are left out and named.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from examples.processes import ROOT, environment

#: What `make run` takes when nothing is named.
DEFAULT = "simulated-messaging"
LOOPS = (DEFAULT, "open-bandit", "hillstrom")


def told(command: Sequence[str], cwd: Path, hidden: Mapping[str, str]) -> tuple[str, float]:
    """What a command printed, machine paths shortened, and its seconds.

    Raises:
        SystemExit: if it fails.
    """
    begun = time.monotonic()
    # As a person would call it, not as a part of another make.
    variables = {name: value for name, value in environment({}).items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    text = done.stdout
    for path, name in hidden.items():
        text = text.replace(path, name)
    return text.strip(), time.monotonic() - begun


def block(title: str, text: str, seconds: float) -> str:
    """One command's section."""
    return f"## `{title}`\n\n{seconds:.0f} s.\n\n```text\n{text}\n```\n"


def fresh(folder: Path) -> str:
    """`make run` as the first command in a fresh clone of what is committed."""
    clone = folder / "homing"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    text, seconds = told(["make", "run"], clone, {str(clone): "."})
    return block("make run", text, seconds).replace("## `", "## In a fresh clone: `")


def sections(data: Path, folder: Path) -> Iterator[str]:
    """Every section of the page."""
    paths = {
        DEFAULT: None,
        "open-bandit": None,
        "hillstrom": data / "hillstrom" / "hillstrom_dev.parquet",
        "heartsteps": data / "heartsteps_v1" / "decisions_dev.parquet",
        "starbucks": data / "starbucks_rewards",
    }
    yield fresh(folder)
    for name, path in paths.items():
        if path is not None and not path.exists():
            print(f"{name} == not found at {path}, left out. Set HOMING_DATA to the folder with the data sets.")
            continue
        given = [] if path is None else [f"DATA={path}"]
        shown = f"DATASET={name}" + ("" if path is None else f" DATA={path.name}")
        hidden = {str(folder): ".", f"{data}/": "", str(ROOT): "."}
        for target in ("run", *(("loop",) if name in LOOPS else ())):
            if target == "run" and name == DEFAULT:
                continue  # the fresh clone's
            text, seconds = told(
                ["make", target, f"DATASET={name}", *given, f"RUNS={folder / 'runs'}", f"VENV={sys.prefix}"],
                ROOT,
                hidden,
            )
            yield block(f"make {target} {shown}", text, seconds)


def main() -> int:
    """The command line's entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HOMING_DATA", "data")), help="real data sets")
    parser.add_argument("--write", type=Path, help="also write it to this file")
    args = parser.parse_args()
    parts = ["# Runs\n\nWhat the commands print, on two cores. Written by `make docs`.\n"]
    with tempfile.TemporaryDirectory() as folder:
        for section in sections(args.data.resolve(), Path(folder)):
            parts.append(section)
            print(section, flush=True)
    if args.write:
        text = re.sub(r"[ \t]+$", "", "\n".join(parts), flags=re.MULTILINE)
        args.write.write_text(text.rstrip() + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
