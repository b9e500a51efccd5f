"""Prices as a file: JSON with its digest, loaded only when it is what was published."""

from __future__ import annotations

import json
import os
from pathlib import Path

from homing.errors import ArtifactError, HomingError, InvalidInputError, describe
from homing.planning.prices import AGAIN, Prices

FORMAT = 1


def save_prices(prices: Prices, path: str | Path) -> str:
    """Write prices as JSON with their digest; the file appears whole. Returns the digest.

    Raises:
        InvalidInputError: if `source` holds what JSON cannot.

    Example:
        >>> import tempfile
        >>> from datetime import UTC, datetime
        >>> from homing.planning import PricedBudget
        >>> file = tempfile.mkdtemp() + "/prices.json"
        >>> prices = Prices((PricedBudget("push", 10, 0.1),), datetime(2026, 11, 23, tzinfo=UTC))
        >>> load_prices(file, digest=save_prices(prices, file)) == prices
        True
    """
    try:
        digest = prices.digest
        text = json.dumps({"format": FORMAT, "digest": digest, **prices.to_dict()}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(describe("source", str(error), "must be plain finite values")) from error
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(target)
    return digest


def load_prices(path: str | Path, *, digest: str | None = None) -> Prices:
    """Read prices; what they hold must match the digest in the file, and `digest` where it is known from elsewhere.

    Raises:
        ArtifactError: if the file is missing, changed or of another format.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(describe("prices", str(path), f"must be a JSON object ({error})", AGAIN)) from error
    found_format, said = document.pop("format", None), document.pop("digest", None)
    if found_format != FORMAT:
        bound = f"must be {FORMAT}"
        raise ArtifactError(describe(f"format of {path}", found_format, bound, "Install a version that reads it."))
    try:
        prices = Prices.from_dict(document)
    except HomingError as error:
        raise ArtifactError(f"{path}: {error}") from error
    for want in (said, *([] if digest is None else [digest])):
        if prices.digest != want:
            raise ArtifactError(describe(f"digest of {path}", prices.digest, f"must be {want}", AGAIN))
    return prices


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a finite number")
