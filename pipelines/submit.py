"""Submit a compiled pipeline to a Kubeflow Pipelines server, once per run name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homing.errors import HomingError, InvalidInputError, describe

PROBE_TIMEOUT_S = 10.0


class PipelinesServerError(HomingError, ConnectionError):
    """A Kubeflow Pipelines server does not answer, or refuses."""


@dataclass(frozen=True)
class Submitted:
    """A run on a server.

    Attributes:
        run_id: the server's id.
        run_name: the name that it was asked for by.
        new: False if a run of this name was there already and nothing was submitted.
        url: its page.
    """

    run_id: str
    run_name: str
    new: bool
    url: str


def submit(
    host: str,
    package: Path,
    arguments: Mapping[str, Any],
    *,
    run_name: str,
    pipeline: str,
    experiment: str = "homing",
    namespace: str = "",
    token: str = "",
) -> Submitted:
    """Submit a run unless one of this name exists.

    The definition is uploaded as a version of a named pipeline, under a version name that holds its digest, so that
    the same definition is uploaded once; the run then refers to it by id.

    Args:
        host: URL of the server.
        package: compiled pipeline.
        arguments: its parameters.
        run_name: the same for the same reason to run: a second call finds the first one's run.
        pipeline: the pipeline's name on the server.
        experiment: the experiment's name, made if missing.
        namespace: the profile's namespace on a multi-user server; "" on a single-user one.
        token: bearer token; "" for none.

    Raises:
        PipelinesServerError: if the server does not answer or refuses the token.
    """
    probe(host, token)
    import kfp_server_api
    from kfp import Client

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # The SDK's default namespace makes it ask the server about users first; the probe has shown that it answers.
        client = Client(host=host, namespace=namespace or "kubeflow", existing_token=token or None)
    scope = {"namespace": namespace} if namespace else {}
    try:
        with _quiet():
            experiment_id = client.create_experiment(experiment, **scope).experiment_id
            existing = _find_run(client, run_name, experiment_id, namespace or None)
            if existing is not None:
                return Submitted(existing, run_name, False, _url(host, existing))
            pipeline_id, version_id = _upload(client, package, pipeline, namespace or None)
            run = client.run_pipeline(
                experiment_id, run_name, params=dict(arguments), pipeline_id=pipeline_id, version_id=version_id
            )
    except kfp_server_api.ApiException as error:
        raise PipelinesServerError(
            describe("host", host, f"answered {error.status} {error.reason}", _advice(error.status))
        ) from error
    return Submitted(run.run_id, run_name, True, _url(host, run.run_id))


def probe(host: str, token: str = "") -> None:
    """Ask the server for its health once.

    Raises:
        InvalidInputError: if `host` is no http(s) URL.
        PipelinesServerError: if it does not answer within 10 s, or refuses.
    """
    if not host.startswith(("http://", "https://")):
        raise InvalidInputError(describe("host", host, "must be an http:// or https:// URL"))
    request = urllib.request.Request(f"{host.rstrip('/')}/apis/v2beta1/healthz")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        raise PipelinesServerError(
            describe("host", host, f"answered {error.code} to a health check", _advice(error.code))
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise PipelinesServerError(
            describe("host", host, f"must be a Kubeflow Pipelines server that answers ({reason})", _advice(0))
        ) from error


def _advice(status: int | None) -> str:
    if status in (401, 403):
        return "Pass a token: --token-file, or KF_PIPELINES_SA_TOKEN_PATH for a projected service-account token."
    if status == 404:
        return "Is this the API's address? It serves /apis/v2beta1."
    return "Check the address, or forward the port: kubectl port-forward svc/ml-pipeline 8888 -n kubeflow."


def _named(name: str) -> str:
    """The filter for one display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _find_run(client: Any, run_name: str, experiment_id: str, namespace: str | None) -> str | None:
    found = client.list_runs(page_size=100, experiment_id=experiment_id, namespace=namespace, filter=_named(run_name))
    # Names are compared here too: a server that ignored the filter would make every run look done already.
    return next((str(run.run_id) for run in found.runs or () if run.display_name == run_name), None)


def _upload(client: Any, package: Path, pipeline: str, namespace: str | None) -> tuple[str, str]:
    """The pipeline's and the version's id on the server, uploaded if they are not there yet."""
    version = f"{pipeline}-{hashlib.sha256(package.read_bytes()).hexdigest()[:16]}"
    listed = client.list_pipelines(page_size=100, namespace=namespace, filter=_named(pipeline))
    pipeline_id = next((str(p.pipeline_id) for p in listed.pipelines or () if p.display_name == pipeline), None)
    if pipeline_id is None:
        pipeline_id = str(client.upload_pipeline(str(package), pipeline_name=pipeline, namespace=namespace).pipeline_id)
    found = client.list_pipeline_versions(pipeline_id, page_size=100, filter=_named(version))
    for item in found.pipeline_versions or ():
        if item.display_name == version:
            return pipeline_id, str(item.pipeline_version_id)
    uploaded = client.upload_pipeline_version(str(package), pipeline_version_name=version, pipeline_id=pipeline_id)
    return pipeline_id, str(uploaded.pipeline_version_id)


def _url(host: str, run_id: str) -> str:
    return f"{host.rstrip('/')}/#/runs/details/{run_id}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The client prints links and logs; callers print what they want."""
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
