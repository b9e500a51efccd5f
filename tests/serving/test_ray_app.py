"""`python -m serving.ray_app` as people start it: decide over HTTP, stop it, and the log is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from homing.log import read_log

ROOT = Path(__file__).resolve().parents[2]


def environment(**keys: object) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}
    return {**own, "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in keys.items()}}


@pytest.mark.slow
def test_decisions_are_served_by_ray_and_exported_when_it_is_stopped(policy, tmp_path, port, body):
    # Relative paths: Ray's workers must find what the person who starts it means.
    env = environment(
        HOMING_REGISTRY="policy:policy", HOMING_PORT=port, HOMING_LEDGER="ledger.db", HOMING_LOG_DIR="log"
    )
    command = [sys.executable, "-m", "serving.ray_app"]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command, env=env, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            ready(client, process, tmp_path / "output.txt")
            made = [client.post("/v1/decide", json=body).json() for _ in range(20)]
            again = client.get(f"/v1/decisions/{made[0]['decision_id']}").json()
            bad = client.post("/v1/decide", json={**body, "candidates": []})
            large = client.post("/v1/decide", json={**body, "context": {"city": "x" * 10_000_000}})
            metrics = client.get("/metrics").text
        process.send_signal(signal.SIGTERM)  # of which Ray has a handler of its own; SIGINT goes the same way
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert again == made[0]
    assert bad.status_code == 422 and "must hold at least one candidate" in bad.text
    assert large.status_code == 413
    assert "homing_decisions_total" in metrics
    text = (tmp_path / "output.txt").read_text()
    assert f"curl -s http://127.0.0.1:{port}/v1/decide" in text
    assert "20 decisions and 0 outcomes are in log" in text
    assert "Traceback" not in text
    assert body["user_id"] not in text
    log = read_log(tmp_path / "log")
    assert set(log.decisions().column("decision_id").to_pylist()) == {d["decision_id"] for d in made}


def ready(client: httpx.Client, process: subprocess.Popen, output: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            raise AssertionError(output.read_text())
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(output.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("module", ["serving.ray_app", "serving.kserve_model"])
def test_a_mistake_ends_with_one_line_and_no_stack_trace(module, tmp_path):
    env = environment(HOMING_REGISTRY=f"folder:{tmp_path / 'nothing'}")
    done = subprocess.run(
        [sys.executable, "-m", module], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert (
        "HOMING_ALIAS == 'champion', points at no version of the registry. Run the training pipeline first"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", ["serving.ray_app", "serving.kserve_model"])
def test_serving_imports_nothing_of_training(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'kfp', 'evidently', 'mlflow', 'sklearn', 'matplotlib', 'polars'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=120)
