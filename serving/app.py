"""The decision API as one plain ASGI application; Ray Serve and the tests run it as it is."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from homing.decisions import DecisionService
from homing.errors import HomingError, describe, unknown_name
from serving.http import HttpError, Receive, Response, Scope, Send, check_token, json_response, read_json, send_response
from serving.metrics import Metrics
from serving.openapi import openapi

logger = logging.getLogger(__name__)

Handler = Callable[[Scope, Receive], Awaitable[Response]]
DECISIONS = "/v1/decisions/"


def create_app(
    service: DecisionService,
    *,
    info: Callable[[], Mapping[str, object]] = dict,
    token: str | None = None,
    max_body_bytes: int = 2**20,
    threads: int = 8,
    on_start: Callable[[], object] = lambda: None,
    on_stop: Callable[[], object] = lambda: None,
) -> App:
    """The ASGI application around a decision service.

    Args:
        service: decides.
        info: what is served; stands in the answer of /readyz.
        token: bearer token asked of every route but /healthz and /readyz; None for no authentication.
        max_body_bytes: larger bodies get 413.
        threads: requests that wait for the ledger at once.
        on_start, on_stop: called (on a thread) with the server's start and end.
    """
    return App(service, info, token, max_body_bytes, threads, on_start, on_stop)


class App:
    """See `create_app`."""

    def __init__(
        self,
        service: DecisionService,
        info: Callable[[], Mapping[str, object]],
        token: str | None,
        max_body_bytes: int,
        threads: int,
        on_start: Callable[[], object],
        on_stop: Callable[[], object],
    ) -> None:
        self._service, self._info, self._token, self._max = service, info, token, max_body_bytes
        self._hooks = {"startup": on_start, "shutdown": on_stop}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decide")
        self.metrics = Metrics(service)
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/decide"): self._decide,
            ("POST", "/v1/outcomes"): self._outcomes,
            ("POST", "/v1/consents"): self._consents,
            ("GET", DECISIONS + "{id}"): self._decision,
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/openapi.json"): self._openapi,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            started = time.perf_counter()
            # A template, never the path itself: labels stay few, and logs free of ids.
            route = route_of(scope["path"])
            response = await self._answer(route, scope, receive)
            self.metrics.observe(route, response.status, time.perf_counter() - started)
            await send_response(send, response)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"].removeprefix("lifespan.")
            await asyncio.to_thread(self._hooks[event])
            await send({"type": f"lifespan.{event}.complete"})
            if event == "shutdown":
                self._pool.shutdown()
                return

    async def _answer(self, route: str, scope: Scope, receive: Receive) -> Response:
        try:
            handler = self._routes.get((scope["method"], route))
            if handler is None:
                raise self._no_route(route, scope)
            if route not in ("/healthz", "/readyz"):
                check_token(scope, self._token)
            return await handler(scope, receive)
        except HttpError as error:
            return error.response()
        except HomingError as error:
            return HttpError(422, "invalid", str(error)).response()
        except sqlite3.OperationalError as error:
            logger.error("ledger: %s", error)
            message = "The ledger cannot be used now, so nothing was decided or kept. Try again soon."
            return HttpError(503, "unavailable", message, retry_after="1").response()
        except Exception:
            # The caller gets a number to quote; what went wrong stays in the log.
            number = uuid.uuid4().hex[:12]
            logger.exception("error %s on %s", number, route)
            return HttpError(500, "internal", f"Internal error {number}. The service's log tells more.").response()

    def _no_route(self, route: str, scope: Scope) -> HttpError:
        allowed = sorted(method for method, path in self._routes if path == route)
        if allowed:
            message = describe("method", scope["method"], f"must be {' or '.join(allowed)} for {route}")
            return HttpError(405, "method", message, allow=", ".join(allowed))
        return HttpError(404, "not_found", str(unknown_name("path", scope["path"][:200], {p for _, p in self._routes})))

    async def _run(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    # Routes --------------------------------------------------------------------------------------------------------

    async def _decide(self, scope: Scope, receive: Receive) -> Response:
        body = await read_json(scope, receive, self._max)
        return json_response((await self._run(self._service.decide, body)).to_dict())

    async def _outcomes(self, scope: Scope, receive: Receive) -> Response:
        items = _items("outcomes", await read_json(scope, receive, self._max))
        return json_response((await self._run(self._service.record_outcomes, items)).to_dict())

    async def _consents(self, scope: Scope, receive: Receive) -> Response:
        items = _items("consents", await read_json(scope, receive, self._max))
        return json_response({"changed": await self._run(self._service.record_consents, items)})

    async def _decision(self, scope: Scope, receive: Receive) -> Response:
        decision_id = scope["path"].removeprefix(DECISIONS)[:200]
        decision = await self._run(self._service.get, decision_id)
        if decision is None:
            raise HttpError(404, "not_found", describe("decision_id", decision_id, "is not in this service's ledger"))
        return json_response(decision.to_dict())

    async def _healthz(self, scope: Scope, receive: Receive) -> Response:
        return json_response({"status": "alive"})

    async def _readyz(self, scope: Scope, receive: Receive) -> Response:
        await self._run(self._service.ledger.check)
        return json_response({"status": "ready", **self._info()})

    async def _metrics(self, scope: Scope, receive: Receive) -> Response:
        response: Response = await self._run(self.metrics.response)
        return response

    async def _openapi(self, scope: Scope, receive: Receive) -> Response:
        return json_response(openapi(authenticated=self._token is not None))


def route_of(path: str) -> str:
    """The template of a path, and one name for all others.

    >>> route_of("/v1/decisions/0198"), route_of("/wp-admin")
    ('/v1/decisions/{id}', 'other')
    """
    if path.startswith(DECISIONS) and len(path) > len(DECISIONS) and "/" not in path[len(DECISIONS) :]:
        return DECISIONS + "{id}"
    known = ("/v1/decide", "/v1/outcomes", "/v1/consents", "/healthz", "/readyz", "/metrics", "/openapi.json")
    return path if path in known else "other"


def _items(name: str, body: object) -> list[object]:
    """The list in `{name: […]}`."""
    if not isinstance(body, dict):
        raise HttpError(422, "invalid", describe("body", body, f'must be an object: {{"{name}": […]}}'))
    for key in body:
        if key != name:
            raise HttpError(422, "invalid", str(unknown_name("key", key, [name])))
    items = body.get(name)
    if not isinstance(items, list):
        raise HttpError(422, "invalid", describe(name, items, "must be a list"))
    return items
