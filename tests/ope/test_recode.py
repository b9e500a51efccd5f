"""One log shown to policies of another encoder: as if it had been encoded with theirs from the start."""

import numpy as np
import pytest

from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder, Field
from homing.ope.recode import recode

#: Last month's encoder and this month's: other means, scales and levels, and one feature that only one has.
OLD = FeatureEncoder(
    context=(
        Field("age", "number", mean=30.0, scale=5.0, missing=True),
        Field("city", "category", ("Bern", "Rome"), missing=True),
        Field("paying", "flag"),
    ),
    candidate=(
        Field("message_id", "category", ("hello", "offer", "retired")),
        Field("value", "number", mean=1.0, scale=2.0),
    ),
)
NEW = FeatureEncoder(
    context=(
        Field("paying", "flag"),
        Field("city", "category", ("Bern", "Oslo", "Rome"), missing=True),
        Field("age", "number", mean=40.0, scale=10.0, missing=True),
    ),
    candidate=(
        Field("value", "number", mean=2.0, scale=4.0),
        Field("message_id", "category", ("fresh", "hello", "offer")),
    ),
)
CONTEXTS = [
    {"age": 50.0, "city": "Rome", "paying": True},
    {"age": None, "city": "Bern", "paying": False},
    {"age": 30.0, "city": None, "paying": False},
    {"age": 20.0, "city": "Oslo", "paying": True},
]
CANDIDATES = [
    [{"message_id": "silence"}, {"message_id": "hello", "value": 4.0}],
    [{"message_id": "silence"}, {"message_id": "fresh", "value": 0.0}, {"message_id": "offer", "value": 1.0}],
    [{"message_id": "silence"}],
    [{"message_id": "silence"}, {"message_id": "offer", "value": 2.0}],
]


def encoded(encoder):
    store = encoder.encode_candidates(CANDIDATES, 0)
    counts = store.counts
    return LoggedDataset(
        context=encoder.encode_context(CONTEXTS), candidates=store,
        eligible=np.arange(counts.max())[None, :] < counts[:, None], action=np.zeros(4, int),
        propensity=np.full(4, 0.5), reward=np.zeros((4, 1)), objectives=("clicked",), user=np.arange(4),
        time=np.zeros(4, int), encoder=encoder,
    )  # fmt: skip


@pytest.mark.parametrize(("source", "target"), [(NEW, OLD), (OLD, NEW)], ids=["to old", "to new"])
def test_translation_equals_encoding_from_the_start(source, target):
    """Except for levels that the source never knew: "Oslo" and "fresh" are unknown to OLD and stay so."""
    found = recode(encoded(source), target.to_dict())
    wanted = encoded(target)
    lost_context = [i for i, name in enumerate(target.context_names) if name == "city=Oslo"] if source is OLD else []
    context = wanted.context.copy()
    context[:, lost_context] = 0.0
    assert found.dataset.context == pytest.approx(context, abs=1e-5)
    candidates = wanted.candidates[np.arange(4)]
    if source is OLD:
        candidates[:, :, target.column("message_id=fresh")] = 0.0
    assert found.dataset.candidates[np.arange(4)] == pytest.approx(candidates, abs=1e-5)
    assert found.dataset.encoder == target
    assert found.notes == (
        "The policy was trained with another encoder: the log's columns were translated into its own.",
    )


def test_the_same_encoder_changes_nothing():
    log = encoded(OLD)
    assert recode(log, OLD.to_dict()).dataset is log
    assert recode(log, None).dataset is log


def test_what_the_log_lacks_counts_as_missing_and_is_said():
    wide = FeatureEncoder(
        context=(*OLD.context, Field("visits", "number", mean=3.0, scale=1.0, missing=True)),
        candidate=(*OLD.candidate, Field("discount", "number", scale=0.5)),
    )
    found = recode(encoded(NEW), wide.to_dict())
    assert found.notes[0].endswith(
        "; context.visits, candidates.discount have no column in the log and count as missing or average."
    )
    assert (found.dataset.context[:, wide.context_column("visits__missing")] == 1.0).all()
    assert (found.dataset.context[:, wide.context_column("visits")] == 0.0).all()
    assert (found.dataset.candidates[np.arange(4)][:, :, wide.column("discount")] == 0.0).all()


def test_what_was_constant_counts_as_average():
    """`paying` was the same for everyone when the log's encoder was fitted: it has no column there."""
    narrow = FeatureEncoder(context=(*NEW.context[1:], Field("paying", "flag", scale=0.0)), candidate=NEW.candidate)
    found = recode(encoded(narrow), OLD.to_dict())
    assert (found.dataset.context[:, OLD.context_column("paying")] == 0.0).all()
    assert "context.paying have no column" in found.notes[0]
