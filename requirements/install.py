"""Create the environment in .venv: CPU torch first, then the hashed lock, then this project. Standard library only.

Run by `make setup`. Fast when nothing changed: a stamp holds the digest of what was installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = Path(__file__).resolve().parent
TORCH = "2.13.0"
UV = "0.13.9"
#: PyTorch's own index of CPU wheels; on Linux, PyPI's default build brings gigabytes of CUDA packages.
CPU_INDEX = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")
#: Which lock an environment is installed from, and whether it holds torch.
PROFILES = {
    "dev": True,
    "train": True,
    "serve": False,
    "kserve": False,
    "monitor": False,
    "peers": True,
    "peers-experiments": False,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where to create it (default: .venv)")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="dev", help="what to install (default: dev)")
    parser.add_argument("--project", type=Path, default=ROOT, help="the project to install on top of the lock")
    parser.add_argument("--no-project", action="store_true", help="install only what the project needs, not itself")
    args = parser.parse_args()
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        return fail(
            f"python == {platform.python_version()}, must be 3.11 or 3.12. "
            "Install Python 3.11 and run: make setup PYTHON=python3.11"
        )
    stamp = args.venv / ".installed"
    wanted = digest(args.profile) + (" without the project" if args.no_project else "")
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    started = time.monotonic()
    print(f"● environment ({args.profile}) in {shown(args.venv)}: about two minutes the first time", flush=True)
    stamp.unlink(missing_ok=True)
    log = args.venv.parent / f".setup-{args.profile}.log"
    log.unlink(missing_ok=True)
    python = args.venv / "bin" / "python"
    steps: list[tuple[str, list[str]]] = []
    if not python.exists():
        steps.append(("python environment", [sys.executable, "-m", "venv", str(args.venv)]))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps.append((f"uv {UV}", [*pip, f"uv=={UV}"]))
    if PROFILES[args.profile]:
        # A local version (+cpu) can never be satisfied by a CUDA build; macOS wheels are CPU builds without the suffix.
        build = TORCH if sys.platform == "darwin" else f"{TORCH}+cpu"
        index = ["--extra-index-url", CPU_INDEX, "--retries", "2"]
        steps.append((f"torch {build}", [*pip, "--no-deps", *index, f"torch=={build}"]))
    uv = [str(args.venv / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python)]
    lock = LOCKS / f"{args.profile}.lock"
    count = sum(1 for line in lock.read_text().splitlines() if line[:1].isalnum())
    steps.append((f"{count} locked packages", [*uv, "--no-deps", "--require-hashes", "-r", str(lock)]))
    if not args.no_project:
        # The build backend is locked too: dev holds it, for the other profiles uv fetches it.
        how = (
            ["--no-build-isolation", "-e"]
            if args.profile == "dev"
            else ["--build-constraints", str(LOCKS / "build.lock")]
        )
        steps.append(("homing", [*uv, "--no-deps", *how, str(args.project)]))
        if args.profile != "dev":  # an image needs no installer
            steps.append(("clean-up", [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "uv"]))
    for name, command in steps:
        begun = time.monotonic()
        print(f"  {name} …", end=" ", flush=True)
        with log.open("a") as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=clean_environment())
        if done.returncode:
            print("failed", flush=True)
            tail = "\n".join(log.read_text().splitlines()[-12:])
            return fail(f"{tail}\n\n{name} could not be installed; the whole output is in {shown(log)}.")
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
    stamp.write_text(wanted)
    log.unlink(missing_ok=True)
    print(f"● environment ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def digest(profile: str) -> str:
    """What an installed environment depends on."""
    parts = [LOCKS / f"{profile}.lock", ROOT / "pyproject.toml", Path(__file__).resolve()]
    return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would lead an installer to another environment."""
    return {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    }


def shown(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
