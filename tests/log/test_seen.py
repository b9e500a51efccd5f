"""Digests of ids, and the memory of them, against Python's own sets."""

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homing.log import new_ids
from homing.log.seen import SeenIds, id_digests

ids = st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=30)


@settings(deadline=None)  # Arrow loads its functions at the first call
@given(ids, st.integers(0, 5))
@example([None, "\x03"], 0)
def test_equal_texts_have_equal_digests_and_others_do_not(texts: list[str | None], skip: int) -> None:
    whole = id_digests(pa.array(texts, pa.string()))
    assert len(set(whole.tolist())) == len({text or "" for text in texts})
    assert id_digests(pa.array(texts, pa.string())[skip:]).tolist() == whole[skip:].tolist()


def test_similar_ids_do_not_collide(rng: np.random.Generator) -> None:
    # 200,000 ids: a collision of 64-bit digests has probability 200000² / 2⁶⁵ = 1e-9.
    counters = [f"user-{i}" for i in range(100_000)]
    digests = id_digests(pa.array(counters + new_ids(np.zeros(100_000, np.int64), rng)))
    assert len(np.unique(digests)) == 200_000
    # Every bit is set in half of them: standard deviation 0.5/√200000 = 0.0011, six of them 0.0067.
    shares = [np.mean((digests >> np.uint64(bit)) & np.uint64(1)) for bit in range(64)]
    assert np.abs(np.array(shares) - 0.5).max() < 0.0067


@given(st.lists(st.lists(st.integers(0, 40), max_size=15), max_size=12))
def test_remembers_as_a_set_does(batches: list[list[int]]) -> None:
    seen, known = SeenIds(), set()
    for batch in batches:
        digests = np.array(batch, dtype=np.uint64)
        wanted = [item in known or item in batch[:i] for i, item in enumerate(batch)]
        assert seen.repeated(digests).tolist() == wanted
        seen.add(digests)
        known |= set(batch)
    assert {int(item) for run in seen._runs for item in run} == known


def test_few_runs_hold_many_batches() -> None:
    seen = SeenIds()
    for start in range(0, 100_000, 100):
        seen.add(np.arange(start, start + 100, dtype=np.uint64))
    assert len(seen) == 100_000
    assert len(seen._runs) <= 11  # log2(1000 batches), and one
