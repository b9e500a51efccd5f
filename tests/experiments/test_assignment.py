"""Assignment and exposures: published hash vectors, uniformity and independence, nothing moves that should stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import chi2, chi2_contingency

from homing.errors import CorruptFileError, HomingError, InvalidInputError, UnknownNameError
from homing.experiments.assignment import Assignment, Layer
from homing.experiments.exposure import (
    ExposureLog,
    expose,
    for_analysis,
    merge_exposures,
    read_exposures,
    write_exposures,
)
from homing.experiments.hashing import _mix, place, unit_bits
from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan

IDS = [f"user-{number}" for number in range(60_000)]
BITS = unit_bits(IDS)
HALVES = {"control": 0.5, "warm": 0.5}
#: Ids are fixed, so that a test passes always or never: one in 10,000 sound hashes would fail it.
LEAST_P = 1e-4


def plan(**changes) -> ExperimentPlan:
    return ExperimentPlan("greeting", [Metric("visits", "mean", "visits")], variants=HALVES, **changes)


def reference_place(unit: str, *purpose: str) -> float:
    """The documented hash in Python's whole numbers, one id at a time."""
    import hashlib

    word = (1 << 64) - 1

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & word
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & word
        return x ^ (x >> 31)

    bits = 0xCBF29CE484222325
    for byte in unit.encode():
        bits = ((bits ^ byte) * 0x100000001B3) & word
    key = int.from_bytes(hashlib.blake2b("\x1f".join(purpose).encode(), digest_size=8).digest(), "big")
    return (mix(mix(bits ^ key) ^ key) >> 11) / 2**53


def test_the_hash_is_that_of_published_vectors() -> None:
    # FNV-1a, 64 bits, from its authors' test suite.
    expected = {"a": 0xAF63DC4C8601EC8C, "b": 0xAF63DF4C8601F1A5, "foobar": 0x85944171F73967E8}
    assert unit_bits(list(expected)).tolist() == list(expected.values())
    # SplitMix64's first output from seed 0.
    assert _mix(np.array([0x9E3779B97F4A7C15], dtype=np.uint64)).tolist() == [0xE220A8397B1DCDAF]


def test_places_are_the_documented_ones_and_never_change() -> None:
    units = ["u1", "Ünï-🙂", "0", "x" * 300]
    expected = [reference_place(unit, "experiment", "greeting", "", "variant") for unit in units]
    assert place(unit_bits(units), "experiment", "greeting", "", "variant").tolist() == expected
    # Frozen: another number here would move every running experiment's units.
    assert expected[0] == pytest.approx(0.761988, abs=5e-7)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([3, 17, 256]),
        ["3", "17", "256"],
        np.array(["3", "17", "256"]),
        pa.array([0, 3, 17, 256]).slice(1),
        pa.chunked_array([["3"], ["17", "256"]]),
        pl.Series([3, 17, 256]),
        pl.Series(["3", "17", "256"], dtype=pl.Categorical),
    ],
    ids=["numbers", "list", "numpy text", "slice", "chunks", "polars", "categories"],
)
def test_an_id_is_its_text_whatever_holds_it(ids) -> None:
    assert unit_bits(ids).tolist() == [int(unit_bits([text])[0]) for text in ("3", "17", "256")]


def test_batch_and_online_are_the_same() -> None:
    assignment = Assignment("greeting", {"control": 0.4, "a": 0.35, "b": 0.25}, holdout=0.1, traffic=0.7)
    names = [*assignment.variants]
    codes = assignment.codes(IDS[:200])
    assert set(codes.tolist()) == {-2, -1, 0, 1, 2}
    assert [assignment.variant(unit) for unit in IDS[:200]] == [None if c < 0 else names[c] for c in codes]


@pytest.mark.parametrize("ids", [IDS, range(60_000), [f"{n:032x}" for n in range(60_000)]], ids=["text", "ints", "hex"])
def test_places_are_uniform(ids) -> None:
    counts = np.bincount((place(unit_bits(list(ids)), "holdout") * 500).astype(int), minlength=500)
    statistic = ((counts - 120.0) ** 2 / 120.0).sum()
    assert LEAST_P < chi2.sf(statistic, 499) < 1 - LEAST_P


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("experiment", "a", "", "variant"), ("experiment", "b", "", "variant")),
        (("experiment", "a", "", "variant"), ("experiment", "a", "1", "variant")),
        (("experiment", "a", "", "variant"), ("experiment", "a", "", "traffic")),
        (("layer", "inbox"), ("layer", "home")),
        (("layer", "inbox"), ("experiment", "a", "", "variant")),
        (("holdout",), ("experiment", "a", "", "variant")),
    ],
    ids=["experiments", "salts", "traffic", "layers", "layer and variant", "holdout"],
)
def test_purposes_are_independent(one, two) -> None:
    cells = (place(BITS, *one) * 20).astype(int) * 20 + (place(BITS, *two) * 20).astype(int)
    p = chi2_contingency(np.bincount(cells, minlength=400).reshape(20, 20)).pvalue
    assert LEAST_P < p < 1 - LEAST_P


def test_shares_are_met_within_chance() -> None:
    codes = Assignment("greeting", {"control": 0.5, "a": 0.3, "b": 0.2}).codes(IDS)
    counts = np.bincount(codes, minlength=3)
    expected = len(IDS) * np.array([0.5, 0.3, 0.2])
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 2) > LEAST_P


def test_ramping_up_adds_units_and_moves_none() -> None:
    before = Assignment("greeting", HALVES, traffic=0.05)
    for traffic in (0.2, 0.7, 1.0):
        after = before.with_traffic(traffic)
        was, now = before.codes(IDS), after.codes(IDS)
        assert (now[was >= 0] == was[was >= 0]).all()
        # Four standard errors.
        assert (now >= 0).mean() == pytest.approx(traffic, abs=4 * np.sqrt(0.25 / len(IDS)))
        before = after


def test_layers_exclude_within_and_cross_between() -> None:
    inbox = Layer("inbox").with_experiment("one", 0.4).with_experiment("two", 0.6)
    one, two = (Assignment(name, HALVES, layer=inbox).codes(IDS) >= 0 for name in ("one", "two"))
    assert (one ^ two).all()
    other = Assignment("three", HALVES, layer=Layer("home").with_experiment("three", 0.5)).codes(IDS)
    table = np.array([[(one & (other == code)).sum(), (two & (other == code)).sum()] for code in (-1, 0, 1)])
    assert chi2_contingency(table).pvalue > LEAST_P


def test_a_part_of_a_layer_grows_into_what_others_left_and_keeps_its_units() -> None:
    layer = Layer("inbox").with_experiment("one", 0.3).with_experiment("two", 0.3).with_experiment("three", 0.2)
    was = {name: Assignment(name, HALVES, layer=layer).codes(IDS) for name in ("one", "three")}
    layer = layer.without("two").with_experiment("one", 0.5)
    for name, codes in was.items():
        now = Assignment(name, HALVES, layer=layer).codes(IDS)
        assert (now[codes >= 0] == codes[codes >= 0]).all()
    assert layer.parts == {"one": ((0.0, 0.5),), "three": ((0.6, 0.8),)} and layer.free == pytest.approx(0.3)
    grown = layer.with_experiment("one", 0.8).parts["one"]
    np.testing.assert_allclose(grown, [[0.0, 0.6], [0.8, 1.0]], atol=1e-12)
    assert Layer.from_dict(layer.to_dict()) == layer


def test_the_holdout_is_one_for_all_experiments_and_comes_first() -> None:
    layer = Layer("inbox").with_experiment("two", 0.5)
    out = [Assignment("one", HALVES, holdout=0.1), Assignment("two", HALVES, "salt", 0.1, layer, 0.5)]
    held = [set(np.flatnonzero(item.codes(IDS) == -2).tolist()) for item in out]
    assert held[0] == held[1] and len(held[0]) / len(IDS) == pytest.approx(0.1, abs=0.005)
    # A larger share only adds to it.
    assert held[0] < set(np.flatnonzero(Assignment("three", HALVES, holdout=0.2).codes(IDS) == -2).tolist())


def test_a_plan_assigns_as_its_assignment_does() -> None:
    one = plan(salt="s", holdout=0.05)
    codes = Assignment.of(one).codes(IDS[:200])
    assert [one.assign(unit) for unit in IDS[:200]] == [None if c < 0 else ["control", "warm"][c] for c in codes]
    layer = Layer("inbox").with_experiment("greeting", 0.5)
    assert plan(layer="inbox").assign(IDS[0], layer=layer) == Assignment("greeting", HALVES, layer=layer).variant(
        IDS[0]
    )
    with pytest.raises(InvalidInputError, match="layer == None, must be 'inbox', as in plan 'greeting'"):
        plan(layer="inbox").assign(IDS[0])


START = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_log_is_the_same_online_and_in_batch_whatever_the_order() -> None:
    one = plan(holdout=0.2)
    assignment, rng = Assignment.of(one, traffic=0.8), np.random.default_rng(1)
    units = [IDS[k] for k in rng.integers(0, 100, 300)]
    minutes = rng.integers(0, 10_000, 300).tolist()
    log = ExposureLog(assignment, one)
    for unit, minute in zip(units, minutes, strict=True):
        assert log.expose(unit, START + timedelta(minutes=minute)) == assignment.variant(unit)
    times = np.datetime64("2026-03-01") + np.array(minutes, dtype="m8[m]")
    batch = expose(assignment, one, units, times)
    assert log.table() == batch and len(log) == batch.num_rows
    parts = [expose(assignment, one, units[a:b], times[a:b]) for a, b in ((200, 300), (0, 200))]
    assert merge_exposures(*parts) == batch and merge_exposures(batch, batch) == batch
    # The first exposure of each unit by hand.
    first = {unit: min(m for u, m in zip(units, minutes, strict=True) if u == unit) for unit in units}
    for row in batch.to_pylist():
        assert row["exposed_at"] == START + timedelta(minutes=first[row["unit_id"]])
        assert row["variant"] == assignment.variant(row["unit_id"]) and row["plan_digest"] == one.digest
    assert {row["unit_id"] for row in batch.to_pylist()} == {u for u in first if assignment.variant(u) is not None}


def test_a_log_comes_back_from_files_and_goes_to_the_analysis(tmp_path) -> None:
    one = plan()
    whole = expose(Assignment.of(one), one, IDS[:1000], pl.Series([START] * 1000))
    for name, part in (("a", whole.slice(0, 400)), ("b", whole.slice(400))):
        write_exposures(part, tmp_path / "log" / f"{name}.parquet")
    back = read_exposures(tmp_path / "log" / "b.parquet", tmp_path / "log" / "a.parquet")
    assert back == whole
    assert for_analysis(back, one).columns == ["user_id", "variant", "exposed_at"]
    with pytest.raises(InvalidInputError, match="Analyse under the plan that was running"):
        for_analysis(back, plan(power=0.9))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_exposures(tmp_path / "c.parquet")


def exposures(**columns) -> pl.DataFrame:
    rows = {"unit_id": ["u", "u"], "experiment": "e", "variant": "a", "exposed_at": START, "plan_digest": "d"}
    return pl.DataFrame(rows | columns)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: unit_bits("u1"), InvalidInputError, "Put one id in a list"),
        (lambda: unit_bits(["u1", None]), InvalidInputError, r"unit_id\[1\] == None"),
        (lambda: unit_bits(["u1", ""]), InvalidInputError, r"unit_id\[1\] == ''"),
        (lambda: unit_bits([1.0, 2.0]), InvalidInputError, "type of unit ids == 'double'"),
        (lambda: unit_bits(["u1", 2]), InvalidInputError, "must be of one type"),
        (lambda: Assignment("e", {"a": 0.5, "b": 0.4}), InvalidInputError, "sum of variants == 0.9"),
        (lambda: Assignment("e", HALVES, traffic=0.0), InvalidInputError, "traffic == 0.0"),
        (lambda: Assignment("e", HALVES, holdout=1.0), InvalidInputError, "holdout == 1.0"),
        (lambda: Assignment("e", HALVES, layer=Layer("x").with_experiment("f", 0.5)), UnknownNameError, "Give it one"),
        (lambda: Layer("x", {"a": ((0, 0.5),), "b": ((0.4, 0.6),)}), InvalidInputError, "part of layer 'x'"),
        (lambda: Layer("x").with_experiment("a", 0.7).with_experiment("b", 0.4), InvalidInputError, "0.3 of layer"),
        (lambda: Layer("x").with_experiment("a", 0.7).with_experiment("a", 0.4), InvalidInputError, "stay in"),
        (lambda: Layer("x").without("a"), UnknownNameError, "experiment == 'a'"),
        (lambda: expose(Assignment("e", HALVES), plan(), ["u"], START), InvalidInputError, "must be 'greeting'"),
        (lambda: expose(Assignment.of(plan()), plan(), ["u"], [datetime(2026, 3, 1)]), InvalidInputError, "time zone"),
        (lambda: expose(Assignment.of(plan()), plan(), ["u"], [3.5]), InvalidInputError, "type of exposed_at"),
        (lambda: merge_exposures(exposures(variant=["a", "b"])), InvalidInputError, "units in two variants"),
        (lambda: merge_exposures(exposures(plan_digest=["d", "f"])), InvalidInputError, "plans of experiment 'e'"),
        (lambda: merge_exposures(exposures().drop("variant")), InvalidInputError, r"missing columns == \['variant'\]"),
        (lambda: for_analysis(exposures(), plan()), InvalidInputError, "Is this its log"),
    ],
)  # fmt: skip
def test_mistakes_are_named(call, error, message) -> None:
    with pytest.raises(HomingError, match=message) as caught:
        call()
    assert isinstance(caught.value, error)
