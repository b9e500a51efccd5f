"""The API's OpenAPI document, from the types that check the requests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from homing.decisions import Consent, DecideRequest, Outcome

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
_GUARD = {"type": "object", "properties": {"guard": {"type": "string"}, "reason": {"type": "string"}}}
_NUMBERS = {"type": ["object", "null"], "additionalProperties": {"type": "number"}}
_MESSAGE = {
    "message_id": {"type": "string"},
    "campaign": {"type": "string"},
    "domain": {"type": "string"},
    "channel": {"type": "string"},
    "slot": {"type": "string"},
    "value": {"type": "number"},
    "expires_at": {"type": ["string", "null"], "format": "date-time"},
    "features": {"type": "object"},
}
_SCORED = {
    **_MESSAGE,
    "eligible": {"type": "boolean"},
    "propensity": {"type": "number", "minimum": 0, "maximum": 1},
    "guards": {"type": "array", "items": _GUARD},
    "score": {"type": ["number", "null"]},
    "cost": {"type": ["number", "null"], "description": "What prices of budgets took off the score."},
    "values": _NUMBERS,
}
_DECISION: dict[str, Any] = {
    "type": "object",
    "description": "The decision and its receipt. Send candidate when action > 0; action 0 is silence.",
    "properties": {
        "decision_id": {"type": "string"},
        "user_id": {"type": "string"},
        "decided_at": {"type": "string", "format": "date-time"},
        "policy": {"type": "string"},
        "slice": {"enum": ["policy", "uniform", "holdout"]},
        "action": {"type": "integer", "minimum": 0},
        "candidate": {"type": "object", "properties": _MESSAGE},
        "propensity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "explored": {"type": "boolean"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "prices": _NUMBERS,
        "candidates": {"type": "array", "items": {"type": "object", "properties": _SCORED}},
        "context": {"type": "object"},
    },
}
_DECISION["required"] = list(_DECISION["properties"])
_COUNTS = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "conflicts": {"type": "array", "items": {"type": "string"}},
        "revoked": {"type": "integer"},
    },
    "required": ["accepted", "duplicates", "conflicts", "revoked"],
}


def openapi(*, authenticated: bool) -> dict[str, Any]:
    """OpenAPI 3.1; `authenticated` adds the bearer token."""
    models: tuple[type[BaseModel], ...] = (DecideRequest, Outcome, Consent)
    _, defined = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = {**defined.get("$defs", {}), "Decision": _DECISION, "OutcomeCounts": _COUNTS, "Error": _ERROR}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Homing", "version": "1", "description": "Which message to send, or that silence is better."},
        "paths": {
            "/v1/decide": {"post": _post("Decide for one user", _ref("DecideRequest"), _ref("Decision"))},
            "/v1/outcomes": {
                "post": _post("Report events after decisions", _many("outcomes", "Outcome"), _ref("OutcomeCounts"))
            },
            "/v1/consents": {
                "post": _post(
                    "Record consents given and withdrawn",
                    _many("consents", "Consent"),
                    {"type": "object", "required": ["changed"], "properties": {"changed": {"type": "integer"}}},
                )
            },
            "/v1/decisions/{id}": {
                "get": {
                    "summary": "The receipt of a decision",
                    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "responses": _responses(_ref("Decision"), 404),
                }
            },
            "/healthz": {
                "get": {"summary": "The process is alive", "security": [], "responses": _responses({"type": "object"})}
            },
            "/readyz": {
                "get": {
                    "summary": "Decisions can be made, and by which policy",
                    "security": [],
                    "responses": _responses({"type": "object"}, 503),
                }
            },
            "/metrics": {
                "get": {
                    "summary": "Prometheus metrics",
                    "responses": {
                        "200": {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
                    },
                }
            },
        },
        "components": {"schemas": schemas},
    }
    if authenticated:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _many(key: str, name: str) -> dict[str, Any]:
    items = {"type": "array", "minItems": 1, "maxItems": 1000, "items": _ref(name)}
    return {"type": "object", "required": [key], "additionalProperties": False, "properties": {key: items}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _responses(answer: dict[str, Any], *errors: int) -> dict[str, Any]:
    # The default covers what any route may answer: 401, 405, 500 and the server's own 503.
    failed = {str(s): {"description": "Error", "content": _json(_ref("Error"))} for s in (*errors, "default")}
    return {"200": {"description": "Answer", "content": _json(answer)}, **failed}


def _post(summary: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _json(body)},
        "responses": _responses(answer, 400, 408, 413, 415, 422, 503),
    }
