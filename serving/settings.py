"""Settings of the entry points, from environment variables; nothing else in the project reads the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homing.errors import InvalidInputError, describe, unknown_name

PREFIX = "HOMING_"
#: Variables of other parts of the project.
FOREIGN = ("HOMING_DATA", "HOMING_CRDS", "HOMING_IMAGE")
#: What Kubernetes injects for each service of the namespace, here homing and homing-… (homing-decide-head-svc).
SERVICE_LINK = re.compile(r"HOMING_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Settings(BaseModel):
    """What an entry point is told, one field a variable: `HOMING_REGISTRY`, `HOMING_ALIAS` …

    >>> Settings.from_environment({"HOMING_REGISTRY": "folder:models"}).alias
    'champion'

    Attributes:
        registry: `folder:PATH`, `mlflow+sqlite:///PATH`, `mlflow+http(s)://HOST`, or `policy:PATH` for one artifact.
        policy_name: which policy of the registry; not needed where there is only one.
        alias: which version is served; followed when it moves.
        refresh_seconds: how often the alias is looked up; 0 for never again.
        ledger: the SQLite file of decisions, outcomes and consents, on a local disk.
        log_dir: where decisions and outcomes are exported to, in format 1.
        export_seconds: how often; 0 for at shutdown only.
        guards: YAML file of `homing.decisions.GuardRules`; None for consent and expiry alone.
        prices: file that a plan's prices were published to (`homing plan`, or a pipeline's `publish_to`); followed when
            it is replaced. None for no population budgets.
        prices_digest: SHA-256 that the prices must have; "" for whatever is published.
        token_file: a file with the bearer token that callers must send; None for no authentication.
        allow_anonymous: lets it listen beyond loopback without a token (behind a proxy that authenticates).
        host, port: where it listens.
        max_body_bytes: larger request bodies are refused with 413.
        max_clock_skew_seconds: how far a request's `decided_at` may be from the clock.
        threads: requests decided at once in one process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    registry: Annotated[str, Field(min_length=1)]
    policy_name: str = ""
    alias: str = "champion"
    refresh_seconds: Annotated[float, Field(ge=0)] = 30.0
    ledger: Path = Path("runs/serving/ledger.db")
    log_dir: Path = Path("runs/serving/log")
    export_seconds: Annotated[float, Field(ge=0)] = 60.0
    guards: Path | None = None
    prices: Path | None = None
    prices_digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    token_file: Path | None = None
    allow_anonymous: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**26)] = 2**20
    max_clock_skew_seconds: Annotated[float, Field(ge=0)] = 300.0
    threads: Annotated[int, Field(ge=1, le=64)] = 8

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables that begin with HOMING_; an empty one counts as not set.

        Raises:
            InvalidInputError, UnknownNameError: naming the variable, its value and its bound.
        """
        known = {PREFIX + name.upper(): name for name in cls.model_fields}
        values: dict[str, str] = {}
        for variable, value in environment.items():
            if not variable.startswith(PREFIX) or variable in FOREIGN or not value or _is_service_link(variable, value):
                continue
            if variable not in known:
                raise unknown_name("environment variable", variable, known, "Unset it, or correct its name.")
            values[known[variable]] = value
        if "registry" not in values:
            step = "Set it to folder:PATH or mlflow+sqlite:///PATH; `make run` makes one."
            raise InvalidInputError(describe("HOMING_REGISTRY", None, "is required", step))
        if "prices_digest" in values and "prices" not in values:
            step = "Set it to the file that has this digest, or unset HOMING_PRICES_DIGEST."
            raise InvalidInputError(describe("HOMING_PRICES", None, "is required", step))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            raise InvalidInputError(
                describe(PREFIX + name.upper(), values.get(name), first["msg"].replace("Input should", "must"))
            ) from None

    def to_environment(self) -> dict[str, str]:
        """The variables that give these settings back."""
        return {PREFIX + name.upper(): str(value) for name, value in self.model_dump().items() if value is not None}

    def token(self) -> str | None:
        """The bearer token, read from its file; None when no authentication is asked for.

        Raises:
            InvalidInputError: if the file cannot be read, or holds fewer than 16 characters.
        """
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            bound = f"cannot be read ({type(error).__name__})"
            raise InvalidInputError(describe("HOMING_TOKEN_FILE", str(self.token_file), bound)) from None
        if len(token) < 16:
            step = "Write one with: openssl rand -hex 32."
            raise InvalidInputError(describe("length of the token", len(token), "must be >= 16", step))
        return token

    def check_exposure(self) -> None:
        """Refuse to listen beyond this machine without a token, unless that is asked for."""
        if self.host not in LOOPBACK and self.token_file is None and not self.allow_anonymous:
            bound = "listens beyond this machine and needs a token"
            step = "Set HOMING_TOKEN_FILE; behind a proxy that authenticates, HOMING_ALLOW_ANONYMOUS=true."
            raise InvalidInputError(describe("HOMING_HOST", self.host, bound, step))


def _is_service_link(variable: str, value: str) -> bool:
    if variable.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://")):
        return True
    return SERVICE_LINK.fullmatch(variable) is not None
