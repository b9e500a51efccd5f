"""Build the images; where there is no container engine, check each one as far as that goes.

Without an engine: hadolint on the Dockerfile; its install steps run in an empty folder that holds only the files
that it copies; what must not be in the image is looked for; its entry point is started there. Prints what each image
installs and its size, and writes the same as Markdown with --write.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"


@dataclass(frozen=True)
class Image:
    """What an image must hold and must not hold, and how one sees that its entry point works."""

    name: str
    needs: tuple[str, ...]
    refuses: tuple[str, ...]
    #: Modules that its processes load: a lazy import that fails shows only then.
    loads: tuple[str, ...]
    #: Arguments for the entry point, and the path that answers 200 once it serves; None where it ends by itself.
    arguments: tuple[str, ...] = ()
    ready_path: str | None = None
    #: Where the entry point takes its port from: an option, or a variable.
    port_option: str | None = None
    port_variable: str | None = None


IMAGES = {
    "train": Image(
        "train",
        ("torch", "mlflow", "kfp", "polars", "ray", "psycopg2-binary", "boto3"),
        ("kserve", "evidently"),
        ("homing.datasets", "homing.learners", "homing.ope", "homing.promotion", "components.pages", "mlflow.server",
         "ray.data", "ray.train.torch", "psycopg2", "boto3", "pipelines.training", "pipelines.local",
         "pipelines.submit"),
        ("--help",),
    ),
    "serve": Image(
        "serve",
        ("ray", "fastapi", "mlflow-skinny"),
        ("torch", "kfp", "evidently", "kserve", "polars", "mlflow"),
        ("serving.ray_app", "mlflow"),
        ready_path="/readyz",
        port_variable="HOMING_PORT",
    ),
    "kserve": Image(
        "kserve",
        ("kserve", "mlflow-skinny"),
        ("torch", "kfp", "evidently", "polars", "mlflow"),
        ("mlflow",),
        ("--model_name=homing", "--enable_grpc=false"),
        ready_path="/v2/health/ready",
        port_option="--http_port",
    ),
    "monitor": Image(
        "monitor",
        ("evidently", "kfp", "prometheus-client"),
        ("torch", "ray", "kserve"),
        ("homing.datasets", "mlflow", "monitoring.evidently_metrics", "monitoring.exporter", "evidently.ui.workspace",
         "pipelines.retraining", "pipelines.submit", "kfp.client"),
        ("--help",),
    ),
}  # fmt: skip


def instructions(image: Image) -> list[dict[str, str]]:
    dockerfile = ROOT / "images" / f"Dockerfile.{image.name}"
    parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))  # it would leave a file open
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]


def lint(image: Image) -> list[str]:
    """What hadolint has against the Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--format", "json", str(ROOT / "images" / f"Dockerfile.{image.name}")],
        capture_output=True,
        text=True,
    )
    return [f"line {found['line']}: {found['code']} {found['message']}" for found in json.loads(done.stdout or "[]")]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the checkout out of the build."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return not any(path == keep or path.startswith(f"{keep}/") for keep in kept)


def replay(image: Image, folder: Path) -> tuple[Path, list[str]]:
    """Run the Dockerfile's COPY and RUN steps below `folder`; returns its root and the entry point's command.

    Folders of the image stand below `folder`, one root per stage; /opt/homing is shared, as a virtual environment knows
    its own path and cannot be copied outside an image.
    """
    stage = folder / "stage"
    workdir = stage
    environment = folder / "opt-homing"
    entry: list[str] = []

    def place(path: str) -> Path:
        if path.startswith("/opt/homing"):
            return environment / path.removeprefix("/opt/homing").lstrip("/")
        return stage / path.lstrip("/") if path.startswith("/") else workdir / path

    stages = 0
    for step in instructions(image):
        value = step["value"]
        match step["instruction"]:
            case "FROM":
                stages += 1
                stage = workdir = folder / f"stage{stages}"
                stage.mkdir()
            case "WORKDIR":
                workdir = stage / value.lstrip("/")
                workdir.mkdir(parents=True)
            case "COPY" if not value.startswith("--from"):
                *sources, target = value.split()
                for source in sources:
                    if ignored(source):
                        raise SystemExit(
                            f"images/Dockerfile.{image.name} copies {source}, which .dockerignore leaves out."
                        )
                    copy(ROOT / source, place(target) / Path(source).name if target.endswith("/") else place(target))
            case "RUN" if value.startswith("python "):
                words = [sys.executable if word == "python" else word for word in value.split()]
                words = [
                    str(place(word)) if word.startswith("/") and word != sys.executable else word for word in words
                ]
                words = [str(workdir) if word == str(stage / "src") else word for word in words]
                subprocess.run(words, cwd=workdir, check=True, stdout=subprocess.DEVNULL)
            case "ENTRYPOINT":
                entry = json.loads(value)
    entry[0] = str(environment / "bin" / entry[0])
    return workdir, entry


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif target.is_dir():
        shutil.copy(source, target / source.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def installed(environment: Path) -> list[Distribution]:
    (site,) = environment.glob("lib/python3.*/site-packages")
    return sorted(distributions(path=[str(site)]), key=lambda found: found.metadata["Name"].lower())


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def wrong_contents(image: Image, names: set[str]) -> Iterator[str]:
    for name in image.needs:
        if name not in names:
            yield f"{name} is missing"
    for name in image.refuses:
        if name in names:
            yield f"{name} must not be in it"
    yield from (f"{name} is a CUDA package" for name in names if re.match(r"(nvidia|cuda|triton)", name))


def variables(image: Image, workdir: Path, entry: list[str]) -> dict[str, str]:
    """The environment that the image's processes get, here."""
    lines = [step["value"].split() for step in instructions(image) if step["instruction"] == "ENV"]
    own = dict(part.split("=", 1) for line in lines for part in line)
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("HOMING_", "VIRTUAL_ENV"))}
    path = f"{Path(entry[0]).parent}:{os.environ['PATH']}"
    return {**outer, **own, "PYTHONPATH": str(workdir), "PATH": path}


def run_in(image: Image, command: list[str], workdir: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=workdir, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"images/Dockerfile.{image.name}: {' '.join(command)} failed:\n{done.stderr[-2000:]}")


def start(image: Image, workdir: Path, entry: list[str], registry: str | None) -> str:
    """Start the entry point as the image would; says what was seen."""
    environment = variables(image, workdir, entry)
    run_in(image, [entry[0], "-c", "import " + ", ".join(image.loads)], workdir, environment)
    command = [*entry, *image.arguments]
    if image.ready_path is None:
        run_in(image, command, workdir, environment)
        return f"`{' '.join(image.arguments)}` answers"
    port = free_port()
    if image.port_option:
        command.append(f"{image.port_option}={port}")
    if image.port_variable:
        environment[image.port_variable] = str(port)
    scratch = workdir.parent / "state"
    scratch.mkdir(exist_ok=True)
    environment |= {
        "HOMING_REGISTRY": registry or "",
        "HOMING_LEDGER": str(scratch / "ledger.db"),
        "HOMING_LOG_DIR": str(scratch / "log"),
    }
    output = scratch / "output.txt"
    with output.open("w") as out:
        process = subprocess.Popen(
            command, cwd=workdir, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < 180:
            if process.poll() is not None:
                raise SystemExit(
                    f"images/Dockerfile.{image.name}: the entry point ended:\n{output.read_text()[-3000:]}"
                )
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{image.ready_path}", timeout=5) as answer:
                    if answer.status == 200:
                        for command in health_checks(image, port):
                            run_in(image, command, workdir, environment)
                        return f"`{image.ready_path}` answers 200"
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        raise SystemExit(f"images/Dockerfile.{image.name}: not ready after 180 s:\n{output.read_text()[-3000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def health_checks(image: Image, port: int) -> Iterator[list[str]]:
    """The commands of HEALTHCHECK, with the port that is used here in place of the exposed one."""
    steps = {step["instruction"]: step["value"] for step in instructions(image)}
    if "HEALTHCHECK" in steps:
        text = steps["HEALTHCHECK"].split("CMD", 1)[1]
        yield json.loads(text.replace(f":{steps['EXPOSE']}/", f":{port}/"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_registry(folder: Path) -> str:
    """A registry with one champion: what a serving image needs to become ready."""
    from homing.policies import UniformPolicy, save_policy
    from homing.registry import RunReport, open_registry

    save_policy(UniformPolicy(), folder / "policy", name="uniform")
    uri = f"folder:{folder / 'registry'}"
    registry = open_registry(uri)
    registry.promote(registry.register(folder / "policy", RunReport(run_name="image check")))
    return uri


def has_engine() -> bool:
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def check(image: Image, folder: Path, registry: str | None) -> dict[str, Any]:
    """Lint, install, look inside, start; the facts of one image."""
    begun = time.monotonic()
    found = lint(image)
    if found:
        raise SystemExit(f"images/Dockerfile.{image.name}:\n" + "\n".join(found))
    workdir, entry = replay(image, folder)
    environment = Path(entry[0]).parent.parent
    packages = installed(environment)
    names = {package.metadata["Name"].lower().replace("_", "-") for package in packages}
    wrong = list(wrong_contents(image, names))
    if wrong:
        raise SystemExit(f"images/Dockerfile.{image.name}: " + "; ".join(wrong))
    total = size(environment) / 2**20
    seen = start(image, workdir, entry, registry)
    seconds = time.monotonic() - begun
    facts = f"lint clean, {len(packages)} packages, {total:.0f} MiB, {seen}"
    print(f"✓ {image.name}: {facts} ({seconds:.0f} s)", flush=True)
    return {
        "image": image.name,
        "packages": len(packages),
        "size_mib": round(total),
        "largest": largest(packages),
        "entry": seen,
    }


def largest(packages: list[Distribution], count: int = 6) -> list[tuple[str, int]]:
    """The packages that take most room, in MiB."""
    sizes = []
    for package in packages:
        files = [Path(str(package.locate_file(file))) for file in package.files or ()]
        sizes.append((package.metadata["Name"], round(sum(f.stat().st_size for f in files if f.is_file()) / 2**20)))
    return sorted(sizes, key=lambda row: -row[1])[:count]


def wheel(folder: Path) -> dict[str, Any]:
    """Build the project's wheel and look inside: it holds the library, and nothing beside it."""
    uv = Path(sys.executable).with_name("uv")
    build = [str(uv), "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*build, "--out-dir", str(folder), str(ROOT)], check=True)
    path = next(folder.glob("*.whl"))
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    inside = {member.filename for member in members if ".dist-info/" not in member.filename}
    wanted = {str(file.relative_to(ROOT)) for file in (ROOT / "homing").rglob("*") if file.is_file()}
    wanted = {name for name in wanted if "__pycache__" not in name}
    if inside != wanted:
        raise SystemExit(f"{path.name}: must hold homing/ whole and alone, differs in {sorted(inside ^ wanted)[:5]}")
    kinds = Counter(Path(name).suffix for name in inside)
    facts = {
        "name": path.name,
        "files": len(inside),
        "kib": round(path.stat().st_size / 1024),
        "unpacked_kib": round(sum(member.file_size for member in members) / 1024),
        "kinds": ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
    }
    print(f"✓ wheel: {facts['name']}, homing/ alone, {facts['files']} files, {facts['kib']} KiB", flush=True)
    return facts


def markdown(rows: list[dict[str, Any]], made: dict[str, Any]) -> str:
    """The page: what the wheel and each image hold, and how the serving ones compare with training."""
    size_of = {row["image"]: row["size_mib"] for row in rows}
    parts = [f"`homing-{name}` is {size_of[name] / size_of['train']:.0%}" for name in ("kserve", "serve", "monitor")]
    lines = [
        "# What the wheel and each image hold",
        "",
        "Packages and size of the environment in each image, installed in an empty folder by its Dockerfile, and what",
        "its entry point said when it was started there. `make docs` writes this page.",
        "",
        "| image | packages | MiB | largest packages (MiB) | entry point |",
        "|---|---:|---:|---|---|",
    ]
    for row in rows:
        most = ", ".join(f"{name} {mib}" for name, mib in row["largest"])
        lines.append(f"| `homing-{row['image']}` | {row['packages']} | {row['size_mib']} | {most} | {row['entry']} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Of the size of `homing-train`, {', '.join(parts)}.",
            "No serving image holds torch, kfp, Evidently or the full MLflow; none holds a CUDA package: `make images`",
            "fails otherwise. The base image (`python:3.11-slim`) comes on top of each.",
            "",
            f"The wheel `{made['name']}` holds `homing/` alone: {made['files']} files ({made['kinds']}),",
            f"{made['kib']} KiB, {made['unpacked_kib']} KiB unpacked.",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", choices=sorted(IMAGES), action="append", help="only this one (may be given again)")
    parser.add_argument("--write", type=Path, help="check all without an engine, and write contents and sizes there")
    parser.add_argument("--no-engine", action="store_true", help="check without an engine even where there is one")
    args = parser.parse_args()
    chosen = [IMAGES[name] for name in args.image or IMAGES]
    if args.write and args.image:
        parser.error("--write needs all images. Leave --image out.")
    if has_engine() and not (args.no_engine or args.write):
        for image in chosen:
            tag = f"ghcr.io/homing/homing-{image.name}:{VERSION}"
            dockerfile = f"images/Dockerfile.{image.name}"
            subprocess.run(["docker", "build", "-f", dockerfile, "-t", tag, "."], cwd=ROOT, check=True)
        return 0
    print("no container engine: linting, installing in a clean folder and starting the entry points", flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="homing-wheel-") as scratch:
        made = wheel(Path(scratch))
    for image in chosen:
        with tempfile.TemporaryDirectory(prefix="homing-image-") as scratch:
            folder = Path(scratch)
            rows.append(check(image, folder, make_registry(folder) if image.ready_path else None))
    if args.write:
        args.write.write_text(markdown(rows, made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
