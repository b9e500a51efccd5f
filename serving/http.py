"""HTTP for the decision API in plain ASGI: bounded bodies, strict JSON, errors as messages for people."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from homing.errors import describe

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: How much of a body that is too large is read and thrown away, so that the caller gets to read the answer.
DRAIN_BYTES = 2**25
BODY_SECONDS = 30.0


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """Ends a request with a status and a message."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """`{"error": {"code": …, "message": …}}`."""
        return json_response({"error": {"code": self.code, "message": self.message}}, self.status, self.headers)


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; NaN cannot leave the service."""
    return Response(status, json.dumps(data, allow_nan=False).encode(), headers=headers or {})


async def send_response(send: Send, response: Response) -> None:
    """Send it."""
    headers = {
        "content-type": response.content_type,
        "content-length": str(len(response.body)),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        **response.headers,
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


def header(scope: Scope, name: str) -> str | None:
    """The first header of that (lower-case) name."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == wanted), None)


def check_token(scope: Scope, token: str | None) -> None:
    """Refuse a request without the bearer token, when there is one; takes the same time wherever it differs."""
    if token is None:
        return
    given = (header(scope, "authorization") or "").encode("latin-1")
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        message = "Authorization is missing or wrong. Send the header 'Authorization: Bearer TOKEN'."
        raise HttpError(401, "unauthorized", message, www_authenticate="Bearer")


async def read_json(scope: Scope, receive: Receive, max_bytes: int) -> Any:
    """The request's JSON body.

    Raises:
        HttpError: 415 for another content type, 413 beyond `max_bytes` (also without a content length), 408 for a body
            that takes too long, 400 for what is no JSON.
    """
    kind = (header(scope, "content-type") or "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpError(415, "content_type", describe("content-type", kind, "must be application/json"))
    return parse_json(await read_body(scope, receive, max_bytes))


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The request's body; 413 beyond `max_bytes`, whatever the content length says, and 408 when it takes too long."""
    try:
        return await asyncio.wait_for(_read(scope, receive, max_bytes), BODY_SECONDS)
    except TimeoutError:
        bound = f"must arrive within {BODY_SECONDS:g} s"
        raise HttpError(408, "timeout", describe("body", "incomplete", bound), connection="close") from None


async def _read(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise HttpError(400, "disconnected", "The caller went away before the body was complete.")
        size += len(event.get("body", b""))
        if size <= max_bytes:
            body += event.get("body", b"")
        else:
            body.clear()
        if size > DRAIN_BYTES or not event.get("more_body", False):
            break
    if size > max_bytes:
        seen = f"{size} bytes" if size <= DRAIN_BYTES else f"more than {DRAIN_BYTES} bytes"
        message = describe("body", seen, f"must be at most {max_bytes} bytes", "Send fewer rows at a time.")
        raise HttpError(413, "too_large", message, connection="close")
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN or Infinity, no key twice.

    >>> parse_json(b'{"a": NaN}')
    Traceback (most recent call last):
    ...
    serving.http.HttpError: body == 'NaN', is not JSON. Leave a missing number out, or send null.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise HttpError(400, "malformed", describe("body", f"byte {error.start}", "must be UTF-8")) from None
    except RecursionError:
        raise HttpError(400, "malformed", describe("body", "nested too deeply", "must be flat JSON")) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        message = describe("body", where, f"is not JSON ({error.msg})", "Send one JSON object.")
        raise HttpError(400, "malformed", message) from None
    except ValueError:
        message = describe("body", "a number of too many digits", "must hold numbers of at most 2**53 in size")
        raise HttpError(400, "malformed", message) from None


def _constant(name: str) -> Any:
    message = describe("body", name, "is not JSON", "Leave a missing number out, or send null.")
    raise HttpError(400, "malformed", message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise HttpError(400, "malformed", describe("key", twice, "must not be written twice in one object"))
    return out
