"""The local runner: quiet, timed, and with the child's own message when a step fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homing.errors import HomingError
from pipelines.local import StepFailedError, _failure, run_local

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.filterwarnings("ignore:You may be attemping:RuntimeWarning"),
]

PIPELINE = """
from kfp import compiler, dsl

@dsl.component(base_image="ghcr.io/homing/any:1", install_kfp_package=False)
def first(text: str, out: dsl.Output[dsl.Artifact]) -> str:
    from pathlib import Path
    print("chatter")
    Path(out.path).write_text(text)
    return text

@dsl.component(base_image="ghcr.io/homing/any:1", install_kfp_package=False)
def second(text: str, made: dsl.Input[dsl.Artifact]):
    if text == "user":
        from homing.errors import InvalidInputError
        raise InvalidInputError("rows == 0, must be >= 1.\\nLook into the folder.")
    if text == "bug":
        {}["missing"]
    if text == "killed":
        import os
        os.kill(os.getpid(), 9)

@dsl.pipeline(name="two-steps")
def two(text: str):
    made = first(text=text)
    second(text=made.outputs["Output"], made=made.outputs["out"])

import sys
compiler.Compiler().compile(two, sys.argv[1])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "two.py").write_text(PIPELINE)
    subprocess.run([sys.executable, folder / "two.py", folder / "two.yaml"], check=True)
    return folder / "two.yaml"


@pytest.mark.slow
def test_each_step_is_one_line(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    run = run_local(package, {"text": "hello"}, tmp_path / "steps", log=tmp_path / "run.log", say=said.append)
    lines = "".join(said).splitlines()
    assert [line.split()[:2] for line in lines] == [["●", "first"], ["●", "second"]]
    assert all(line.endswith(" s") for line in lines)
    assert list(run.seconds) == ["first", "second"]
    assert run.output("first", "out").read_text() == "hello"
    assert capsys.readouterr().out == ""
    assert "chatter" in (tmp_path / "run.log").read_text()
    moved = run.moved(tmp_path)
    assert moved.output("first", "out").read_text() == "hello"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected", "traceback"),
    [
        ("user", "rows == 0, must be >= 1.\nLook into the folder.", False),
        ("bug", "KeyError: 'missing'", True),
    ],
    ids=["the user's mistake", "a bug of ours"],
)
def test_a_failure_shows_the_childs_message(
    package: Path, tmp_path: Path, text: str, expected: str, traceback: bool
) -> None:
    log = tmp_path / "run.log"
    with pytest.raises(StepFailedError) as caught:
        run_local(package, {"text": text}, tmp_path / "steps", log=log)
    assert caught.value.step == "second"
    assert isinstance(caught.value, HomingError)
    assert expected in str(caught.value)
    assert ("Traceback" in str(caught.value)) == traceback
    assert str(caught.value).endswith(f"\nEverything that was printed: {log}")


@pytest.mark.slow
def test_a_killed_step_points_to_the_log(package: Path, tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match=r"Everything that was printed: .*run\.log"):
        run_local(package, {"text": "killed"}, tmp_path / "steps", log=tmp_path / "run.log")


def test_the_last_traceback_counts() -> None:
    lines = """    Traceback (most recent call last):
          File "a.py", line 1, in <module>
    OSError: first
    During handling of the above exception, another exception occurred:

    Traceback (most recent call last):
          File "b.py", line 2, in <module>
            raise
    homing.errors.CorruptFileError: file == 'x', is truncated. Fetch it again.

    Task 'prepare' finished with status FAILURE""".splitlines()
    error = _failure("prepare", lines, Path("run.log"))
    assert str(error) == "file == 'x', is truncated. Fetch it again.\nEverything that was printed: run.log"
