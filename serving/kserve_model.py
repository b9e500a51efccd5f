"""The champion as a KServe predictor: probabilities over V1 and V2 (Open Inference), for who scores many decisions.

It scores; it neither draws nor logs, so nothing that it answers is a decision. Who decides calls `/v1/decide`.

`python -m serving.kserve_model --model_name=homing --http_port=8080` runs it. KServe's own server listens on all
interfaces, lets anybody unload the model, takes bodies of any size and answers with the text of exceptions: here the
same routes run behind `serving.shield`, on loopback unless HOMING_HOST says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import kserve
import numpy as np
import uvicorn
from kserve.errors import InferenceError, InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from prometheus_client import Counter, Gauge

from homing.errors import HomingError, describe
from serving.champion import Champion, ChampionSource, Repeater
from serving.http import HttpError, parse_json
from serving.scoring import Scored, score_arrays, score_requests
from serving.settings import LOOPBACK, Settings
from serving.shield import Shield

logger = logging.getLogger(__name__)

# In the process's own registry, which KServe's /metrics shows; named as in `serving.metrics`.
REFRESH_FAILURES = Counter(
    "homing_policy_refresh_failures", "Lookups of the champion that failed; the old policy goes on."
)
SERVED = Gauge("homing_policy_info", "1 for the policy that is served.", ("policy", "digest"))


class HomingModel(kserve.Model):  # type: ignore[misc]
    """A policy artifact behind KServe's protocols.

    V1: `{"instances": […]}`, each a decide request (features by name), or all of them
    `{"context": [d numbers], "candidates": [[c numbers] …], "eligible": [bool …]}` (columns as the policy sees them,
    silence first). V2: tensors `context` (n, d), `candidates` (n, k, c) and `eligible` (n, k), or one BYTES tensor
    `requests` (n,) of decide requests in JSON. The answer holds `probabilities` (n, k), silence first.
    """

    def __init__(self, name: str, source: ChampionSource) -> None:
        super().__init__(name)
        self._source = source
        self._champion: Champion | None = None

    def load(self) -> bool:
        """Load the champion, or take over another one; on an error the old one goes on."""
        before, self._champion = self._champion, self._source.load(self._champion)
        if self._champion is not before:
            SERVED.clear()
            artifact = self._champion.artifact
            SERVED.labels(f"{artifact.name}@{self._champion.version}", artifact.digest).set(1)
        self.ready = True
        return True

    def failed(self, error: Exception) -> None:
        """Count a refresh that failed."""
        REFRESH_FAILURES.inc()

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """Probabilities for one V1 or V2 request.

        Raises:
            InvalidInput: with the project's message, for the caller to correct.
        """
        champion = self._champion
        if champion is None:
            raise InferenceError("no policy is loaded")
        try:
            if isinstance(payload, kserve.InferRequest):
                return await asyncio.to_thread(self._v2, champion, payload)
            return await asyncio.to_thread(self._v1, champion, payload)
        except InvalidInput:
            raise
        except HomingError as error:
            raise InvalidInput(str(error)) from None
        except Exception:
            # KServe would answer with the text of the exception.
            logger.exception("scoring failed")
            raise InferenceError("The policy could not score this. The server's log tells more.") from None

    def get_input_types(self) -> list[dict[str, object]]:
        """For the V2 metadata route; -1 stands for any length."""
        return [
            {"name": "context", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "candidates", "datatype": "FP32", "shape": [-1, -1, -1]},
            {"name": "eligible", "datatype": "BOOL", "shape": [-1, -1]},
            {"name": "requests", "datatype": "BYTES", "shape": [-1]},
        ]

    def get_output_types(self) -> list[dict[str, object]]:
        """For the V2 metadata route."""
        return [{"name": "probabilities", "datatype": "FP64", "shape": [-1, -1]}]

    def _v1(self, champion: Champion, payload: Any) -> dict[str, object]:
        instances = payload.get("instances") if isinstance(payload, Mapping) else None
        if not isinstance(instances, list) or not instances:
            bound = "must be a list of at least one"
            raise InvalidInput(describe("instances", instances, bound, 'Send {"instances": [request, …]}.'))
        if isinstance(instances[0], Mapping) and "user_id" not in instances[0] and "eligible" in instances[0]:
            scored = score_arrays(champion, *(_column(instances, key) for key in ("context", "candidates", "eligible")))
        else:
            scored = score_requests(champion, instances, datetime.now(UTC))
        return {"predictions": [_prediction(scored, i) for i in range(len(instances))]}

    def _v2(self, champion: Champion, request: kserve.InferRequest) -> kserve.InferResponse:
        tensors = {item.name: item for item in request.inputs}
        if len(tensors) != len(request.inputs):
            raise InvalidInput(describe("inputs", [item.name for item in request.inputs], "must have different names"))
        if set(tensors) == {"requests"}:
            texts = _numpy(tensors["requests"]).reshape(-1).tolist()
            scored = score_requests(champion, [_json(i, text) for i, text in enumerate(texts)], datetime.now(UTC))
        elif set(tensors) == {"context", "candidates", "eligible"}:
            scored = score_arrays(champion, *(_numpy(tensors[key]) for key in ("context", "candidates", "eligible")))
        else:
            bound = "must be 'context', 'candidates' and 'eligible', or 'requests' alone"
            raise InvalidInput(describe("inputs", sorted(tensors), bound))
        output = kserve.InferOutput("probabilities", list(scored.probabilities.shape), "FP64")
        output.set_data_from_numpy(scored.probabilities, binary_data=False)
        # A request without an id is allowed; an answer without one is not.
        return kserve.InferResponse(
            response_id=request.id or str(uuid.uuid4()),
            model_name=self.name,
            infer_outputs=[output],
            parameters={"policy": scored.policy},
        )


def _prediction(scored: Scored, i: int) -> dict[str, object]:
    count = int(scored.counts[i])
    return {"probabilities": scored.probabilities[i, :count].tolist(), "policy": scored.policy}


def _column(instances: list[Any], key: str) -> list[Any]:
    for i, item in enumerate(instances):
        if not isinstance(item, Mapping) or set(item) != {"context", "candidates", "eligible"}:
            bound = "must hold context, candidates and eligible, like the first"
            raise InvalidInput(describe(f"instances[{i}]", item, bound))
    return [item[key] for item in instances]


def _numpy(tensor: kserve.InferInput) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(tensor.as_numpy())
    except Exception:  # KServe has no one type for it, and would answer 500
        shown = f"{tensor.datatype} {list(tensor.shape)}"
        bound = "must be a datatype and a shape that the data fit"
        raise InvalidInput(describe(f"input {tensor.name!r}", shown, bound)) from None


def _json(i: int, text: Any) -> Any:
    if not isinstance(text, str | bytes):
        raise InvalidInput(describe(f"requests[{i}]", text, "must be a text that holds JSON"))
    try:
        return parse_json(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    except HttpError as error:
        raise InvalidInput(f"requests[{i}]: {error.message}") from None


def main() -> int:
    """The entry point; takes KServe's --model_name and --http_port, and the HOMING_ variables."""
    from kserve.model_server import app, args

    try:
        settings = Settings.from_environment(os.environ)
        settings.check_exposure()
        token = settings.token()
        model = HomingModel(args.model_name, ChampionSource(settings))
        model.load()
    except HomingError as error:
        print(error, file=sys.stderr)
        return 2
    models = kserve.ModelRepository()
    models.update(model)
    rest = RESTServer("kserve.model_server:app", DataPlane(models), ModelRepositoryExtension(models), args.http_port)
    rest.create_application()
    shield = Shield(app, token=token, max_body_bytes=settings.max_body_bytes)
    refresh = Repeater("refresh", settings.refresh_seconds, model.load, model.failed)
    refresh.start()
    host = settings.host
    print(f"Homing scores on http://{host}:{args.http_port}/v1/models/{args.model_name}:predict", flush=True)
    if host in LOOPBACK:
        print("Only this machine can reach it; HOMING_HOST=0.0.0.0 opens it.", flush=True)
    config = uvicorn.Config(shield, host=host, port=args.http_port, log_level="warning", access_log=False)
    # uvicorn ends cleanly on SIGINT and SIGTERM and then raises them again; the process is done by then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        uvicorn.Server(config).run()
    finally:
        refresh.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
