"""Write the documentation that commands produce: data sets, results, runs, mistakes, image contents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent


def main() -> int:
    data = Path(os.environ.get("HOMING_DATA", ROOT.parent / "shared" / "data"))
    paths = {
        "hillstrom": data / "hillstrom" / "hillstrom_dev.parquet",
        "heartsteps": data / "heartsteps_v1" / "decisions_dev.parquet",
        "starbucks": data / "starbucks_rewards",
    }
    found = [part for name, path in paths.items() if path.exists() for part in ("--path", f"{name}={path}")]
    guide = [sys.executable, "-m", "homing.cli", "datasets", "guide", *found]
    done = subprocess.run(guide, cwd=ROOT, capture_output=True, text=True, check=True)
    (DOCS / "guides" / "datasets.md").write_text(done.stdout)
    results = ["-m", "examples.evidence", "--data", str(data), "--write", str(DOCS / "results.md")]
    subprocess.run([sys.executable, *results], cwd=ROOT, check=True)
    runs = ["-m", "examples.runs", "--data", str(data), "--write", str(DOCS / "runs.md")]
    subprocess.run([sys.executable, *runs], cwd=ROOT, check=True)
    mistakes = ["-m", "examples.wrong_input", "--write", str(DOCS / "wrong-input.md")]
    subprocess.run([sys.executable, *mistakes], cwd=ROOT, check=True)
    images = ["images/check.py", "--no-engine", "--write", str(DOCS / "guides" / "images.md")]
    subprocess.run([sys.executable, *images], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
