"""The decision log: one contract that every part shares. Format 1 in Parquet, read, checked, and made into datasets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from homing.log.accept import accept
from homing.log.decision_log import DecisionLog, RefusedFile
from homing.log.files import read_log, write_log
from homing.log.ids import new_id, new_ids, user_hash_share
from homing.log.schema import (
    CANDIDATE_FIELDS,
    FORMAT_VERSION,
    OUTCOMES_SCHEMA,
    SILENCE,
    SLICES,
    STANDARD_KINDS,
    check_kind,
    decisions_schema,
    silence_candidate,
)
from homing.log.validation import ValidationReport, validate

if TYPE_CHECKING:
    from homing.log.build import build_dataset, build_dataset_with_report
    from homing.log.candidates import CandidateStore
    from homing.log.dataset import Batch, LoggedDataset
    from homing.log.dealing import write_parts
    from homing.log.features import FeatureEncoder
    from homing.log.join import JoinReport
    from homing.log.objectives import Objective, Objectives
    from homing.log.parted import PartedDataset
    from homing.log.split import split_by_user

#: Names that are imported when first used: what makes arrays of a log is not needed to write one.
_LATER = {
    "Batch": "dataset",
    "CandidateStore": "candidates",
    "FeatureEncoder": "features",
    "JoinReport": "join",
    "LoggedDataset": "dataset",
    "Objective": "objectives",
    "Objectives": "objectives",
    "PartedDataset": "parted",
    "build_dataset": "build",
    "build_dataset_with_report": "build",
    "split_by_user": "split",
    "write_parts": "dealing",
}

__all__ = [
    "CANDIDATE_FIELDS",
    "FORMAT_VERSION",
    "OUTCOMES_SCHEMA",
    "SILENCE",
    "SLICES",
    "STANDARD_KINDS",
    "Batch",
    "CandidateStore",
    "DecisionLog",
    "FeatureEncoder",
    "JoinReport",
    "LoggedDataset",
    "Objective",
    "Objectives",
    "PartedDataset",
    "RefusedFile",
    "ValidationReport",
    "accept",
    "build_dataset",
    "build_dataset_with_report",
    "check_kind",
    "decisions_schema",
    "new_id",
    "new_ids",
    "read_log",
    "silence_candidate",
    "split_by_user",
    "user_hash_share",
    "validate",
    "write_log",
    "write_parts",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"homing.log.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
