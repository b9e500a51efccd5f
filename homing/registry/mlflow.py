"""The registry in MLflow: each version is a tracked run with its artifacts. The only file that imports MLflow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from homing.errors import ArtifactError, InvalidInputError, describe, missing_dependency
from homing.registry.artifact import verify_artifact
from homing.registry.registry import (
    ALIASES,
    CHALLENGER,
    CHAMPION,
    RegisteredVersion,
    RegistryUnavailableError,
    RunReport,
    check_alias,
    find_version,
    no_such_version,
)

# Where the policy artifact lies in its run, and the tags by which a version is checked and found again.
POLICY = "policy"
DIGEST = "homing.digest"
KEY = "homing.key"
PROBE_TIMEOUT_S = 10.0
# MLflow's own limits on one request of its logging interface.
METRICS_PER_REQUEST, PARAMS_PER_REQUEST, PARAM_CHARACTERS = 1000, 100, 500


class MlflowRegistry:
    """Versions of one policy in MLflow, found by the aliases `champion` and `challenger`.

    MLflow lets a version point at any source and calls it ready, so a version is believed only if its source is the
    policy folder of its own run in this registry's experiment, and its files have the digest of the version's tag.

    Needs full MLflow on `sqlite:///`; mlflow-skinny is enough against a server. Not meant for a request's path:
    resolve once, then score with `homing.policies` alone.

    Args:
        tracking_uri: `sqlite:///path/mlflow.db` or `http(s)://host`.
        name: of the registered model and of the experiment.
        artifact_root: where a new experiment on SQLite keeps its files; None for `artifacts` beside the database.
        cache: local copies of artifacts by digest; None for `~/.cache/homing/policies`.

    Raises:
        MissingDependencyError: if neither mlflow nor mlflow-skinny is installed, or SQLite is asked of mlflow-skinny.
        InvalidInputError: if the folder of a SQLite file cannot be made.
        RegistryUnavailableError: if the server does not answer within 10 s, or, from any method, fails.
    """

    def __init__(
        self,
        tracking_uri: str,
        name: str = "homing",
        *,
        artifact_root: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        self.tracking_uri, self.name = tracking_uri, name
        self._cache = cache or Path.home() / ".cache" / "homing" / "policies"
        self._artifact_root = artifact_root
        if tracking_uri.startswith("sqlite:///"):
            database = Path(tracking_uri.removeprefix("sqlite:///"))
            try:
                database.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                bound = f"must be a file in a folder that can be made ({error.strerror})"
                raise InvalidInputError(describe("registry", tracking_uri, bound, "Check the path.")) from error
            self._artifact_root = artifact_root or database.parent.resolve() / "artifacts"
        else:
            _probe(tracking_uri)
        self._client: Any = _client(tracking_uri)

    def names(self) -> list[str]:
        """Names of all registered models there, this one's or not."""
        out: list[str] = []
        token: str | None = None
        while True:
            page = self._client.search_registered_models(page_token=token)
            out += [model.name for model in page]
            token = page.token
            if not token:
                return out

    def register(self, directory: Path, report: RunReport, *, alias: str | None = CHALLENGER) -> str:
        """Track a run, add its policy as a new version, then point `alias` at it; see `ModelRegistry.register`."""
        check_alias(alias)
        digest = verify_artifact(Path(directory))
        version = self._same(digest, report.key)
        if version is None:
            run = self._client.create_run(self._experiment(), run_name=report.run_name or None, tags=dict(report.tags))
            try:
                self._track(run.info.run_id, Path(directory), digest, report)
            except BaseException:
                self._client.set_terminated(run.info.run_id, status="FAILED")
                raise
            self._ensure_model()
            version = str(
                self._client.create_model_version(
                    self.name,
                    source=_source(run.info.artifact_uri),
                    run_id=run.info.run_id,
                    tags={DIGEST: digest, KEY: report.key},
                    await_creation_for=None,
                ).version
            )
            self._client.set_terminated(run.info.run_id)
        if alias is not None:
            self._client.set_registered_model_alias(self.name, alias, version)
        return version

    def resolve(self, alias: str) -> Path:
        """A verified local copy of an alias's or a version's artifact; see `ModelRegistry.resolve`."""
        found = find_version(self, alias)
        if found is None:
            raise no_such_version(alias, self.versions())
        self._check_source(found)
        if len(found.digest) != 64 or not found.digest.isalnum():
            raise ArtifactError(
                describe(
                    f"tag {DIGEST} of version {found.version}", found.digest, "must be a SHA-256 in hex", _RUN_AGAIN
                )
            )
        target = self._cache / found.digest
        if target.is_dir():
            try:
                verify_artifact(target, found.digest)
                return target
            except ArtifactError:
                shutil.rmtree(target)  # a damaged copy is fetched anew
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".fetch-") as folder:
            local = Path(self._client.download_artifacts(found.run_id, POLICY, folder))
            verify_artifact(local, found.digest)
            try:
                local.rename(target)
            except OSError:  # another process was first: its copy must be as good
                verify_artifact(target, found.digest)
        return target

    def promote(self, version: str) -> None:
        """Make a version the champion; see `ModelRegistry.promote`."""
        self.resolve(version)
        found = find_version(self, version)
        assert found is not None  # resolve raises when there is none
        if CHALLENGER in found.aliases:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)
        self._client.set_registered_model_alias(self.name, CHAMPION, found.version)

    def versions(self) -> tuple[RegisteredVersion, ...]:
        """All versions, oldest first."""
        model = self._model()
        if model is None:
            return ()
        pointed: dict[str, str] = {alias: str(number) for alias, number in model.aliases.items() if alias in ALIASES}
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name='{self.name}'", max_results=1000, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                break
        return tuple(
            RegisteredVersion(
                version=str(item.version),
                digest=str(item.tags.get(DIGEST, "")),
                aliases=tuple(alias for alias in ALIASES if pointed.get(alias) == str(item.version)),
                created_at=float(item.creation_timestamp) / 1000,
                run_id=str(item.run_id or ""),
                key=str(item.tags.get(KEY, "")),
            )
            for item in sorted(found, key=lambda item: int(item.version))
        )

    def _same(self, digest: str, key: str) -> str | None:
        """The version that this very registration made before, if it did."""
        if not key:
            return None
        return next((v.version for v in self.versions() if (v.key, v.digest) == (key, digest)), None)

    def _check_source(self, found: RegisteredVersion) -> None:
        """Refuse a version whose source is not the policy folder of a run in this registry's experiment."""
        version = self._client.get_model_version(self.name, found.version)
        expected = None
        if found.run_id:
            run = self._client.get_run(found.run_id)
            experiment = self._client.get_experiment_by_name(self.name)
            if experiment is not None and run.info.experiment_id == experiment.experiment_id:
                expected = _source(run.info.artifact_uri)
        if version.source != expected:
            raise ArtifactError(
                describe(
                    f"source of version {found.version}",
                    version.source,
                    f"must be {expected or 'the policy of a run in this experiment'}",
                    _RUN_AGAIN,
                )
            )

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        root = None if self._artifact_root is None else (self._artifact_root / self.name).resolve().as_uri()
        return str(self._client.create_experiment(self.name, artifact_location=root))

    def _model(self) -> Any:
        found = self._client.search_registered_models(f"name='{self.name}'", max_results=1)
        return found[0] if found else None

    def _ensure_model(self) -> None:
        if self._model() is None:
            self._client.create_registered_model(self.name, description="Homing policy; see the versions' runs.")

    def _track(self, run_id: str, directory: Path, digest: str, report: RunReport) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, 0) for name, value in report.metrics.items()]
        for name, values in report.history.items():
            metrics += [Metric(name, float(value), now, step) for step, value in enumerate(values)]
        params = [Param(name, str(value)[:PARAM_CHARACTERS]) for name, value in report.params.items()]
        for some in _chunks(metrics, METRICS_PER_REQUEST):
            self._client.log_batch(run_id, metrics=some)
        for some in _chunks(params, PARAMS_PER_REQUEST):
            self._client.log_batch(run_id, params=some)
        self._client.log_batch(run_id, tags=[RunTag(DIGEST, digest)])
        self._client.log_artifacts(run_id, str(directory), POLICY)
        with tempfile.TemporaryDirectory() as folder:
            for name, source in report.artifacts.items():
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if Path(source).is_dir():
                    shutil.copytree(source, target)
                else:
                    shutil.copyfile(source, target)
            self._client.log_artifacts(run_id, folder)


_RUN_AGAIN = "Register the policy again through this project."


def _source(artifact_uri: str) -> str:
    return f"{artifact_uri.rstrip('/')}/{POLICY}"


def _chunks(items: list[Any], size: int) -> Sequence[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _probe(url: str) -> None:
    """Ask once whether anything answers: the client itself would go on asking for minutes."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=PROBE_TIMEOUT_S):
            return
    except urllib.error.HTTPError:
        return  # a proxy that wants credentials, or hides this path, answers too
    except (OSError, ValueError) as error:
        bound = f"must be an MLflow server that answers ({getattr(error, 'reason', error)})"
        raise RegistryUnavailableError(describe("registry", url, bound, "Check the address and the server.")) from error


def _client(tracking_uri: str) -> Any:
    # Before the import: no telemetry, and no code path of MLflow may execute a pickle.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise missing_dependency("mlflow", "train") from error
    if tracking_uri.startswith("sqlite") and importlib.util.find_spec("sqlalchemy") is None:
        raise missing_dependency("the whole of mlflow, for SQLite,", "train")
    with _translated(tracking_uri, "open"):
        return _Client(MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri), tracking_uri)


class _Client:
    """MLflow's client; what it or its database raises comes out as this project's error."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def translated(*args: Any, **kwargs: Any) -> Any:
            with _translated(self._uri, name):
                return call(*args, **kwargs)

        return translated


@contextmanager
def _translated(uri: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        why = str(error).strip().partition("\n")[0][:300]
        step = "Check the address, the credentials and the server."
        raise RegistryUnavailableError(describe("registry", uri, f"failed to {what} ({why})", step)) from error
