"""What stands between the network and KServe's routes: a token, a body limit, no unloading, no exception texts."""

from __future__ import annotations

import logging
import uuid
from collections.abc import MutableMapping
from typing import Any

from homing.errors import describe
from serving.http import HttpError, Receive, Scope, Send, check_token, header, read_body, send_response

logger = logging.getLogger(__name__)

#: Routes open without a token: what a kubelet asks.
HEALTH = ("/", "/v2/health/live", "/v2/health/ready")


class Shield:
    """ASGI middleware around KServe's application."""

    def __init__(self, app: Any, *, token: str | None, max_body_bytes: int) -> None:
        self._app, self._token, self._max = app, token, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def counted(event: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(event)

        try:
            await self._checked(scope, receive, counted)
        except HttpError as error:
            await send_response(send, error.response())
        except Exception:
            number = uuid.uuid4().hex[:12]
            logger.exception("error %s", number)
            if not begun:
                message = f"Internal error {number}. The server's log tells more."
                await send_response(send, HttpError(500, "internal", message).response())

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") or "/"
        if path not in HEALTH:
            check_token(scope, self._token)
        if path.startswith("/v2/repository"):
            raise HttpError(403, "forbidden", "Models are not loaded or unloaded over HTTP. Move the registry's alias.")
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if header(scope, "content-encoding") not in (None, "identity"):
            raise HttpError(415, "content_encoding", "content-encoding is not supported. Send the body as it is.")
        body = await read_body(scope, receive, self._max)
        if body.lstrip()[:1] not in (b"", b"{"):
            # KServe would answer 500. Binary V2 requests begin with an object, too.
            raise HttpError(400, "malformed", describe("body", body[:20], "must be a JSON object"))
        sent = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, _Quiet(send))


class _Quiet:
    """Replaces the body of a 500: KServe answers with the text of the exception."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._silenced = False

    async def __call__(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start" and event["status"] == 500:
            self._silenced = True
            message = "The policy could not score this. The server's log tells more."
            await send_response(self._send, HttpError(500, "internal", message).response())
        elif not self._silenced:
            await self._send(event)
