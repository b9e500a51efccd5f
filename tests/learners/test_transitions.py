"""Where journeys go on and end, what they return, and how candidates are gathered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homing.errors import InvalidInputError
from homing.learners import make, transitions
from homing.learners.findings import Ranges, findings
from homing.learners.prepared_parts import PreparedParts
from homing.learners.transitions import Candidates, Gaps, Transitions, cache_limit
from homing.log import CandidateStore, LoggedDataset, PartedDataset
from homing.log.parted import Part
from homing.log.store import MANIFEST, file_digest
from homing.policies import save_policy

DAY = 86_400_000_000


def log(user, days, reward=None, **more) -> LoggedDataset:
    n = len(user)
    given = {
        "context": np.arange(n, dtype=float)[:, None], "candidates": np.broadcast_to(np.eye(2), (n, 2, 2)),
        "eligible": np.ones((n, 2), bool), "action": np.arange(n) % 2, "propensity": np.full(n, 0.5),
        "reward": np.arange(n, dtype=float)[:, None] if reward is None else np.asarray(reward, dtype=float),
        "objectives": ("session",), "user": user, "time": (np.asarray(days, dtype=float) * DAY).astype(np.int64),
    }  # fmt: skip
    return LoggedDataset(**(given | more))


def test_the_logs_end_cuts_and_long_silence_ends() -> None:
    data = log([0, 1, 2, 0, 1, 0], [0, 0.5, 1, 2, 2.5, 9])
    gaps = Gaps.of(data, gone_after_days=7.0)
    assert gaps.next.tolist() == [3, 4, 2, 5, 4, 5]
    assert gaps.days.tolist() == [2.0, 2.0, 0.0, 7.0, 0.0, 0.0]
    assert gaps.terminal.tolist() == [False, False, True, False, False, False]  # silent for 8 days
    assert gaps.truncated.tolist() == [False, False, False, False, True, True]  # for 6.5 and 0


def test_without_sequences_every_decision_is_an_end() -> None:
    gaps = Gaps.of(log([3, 1, 2], [0, 1, 2]))
    assert gaps.terminal.all()
    assert not gaps.truncated.any()


def test_returns_are_the_discounted_sums(rng) -> None:
    n = 60
    data = log(rng.integers(0, 8, n), np.sort(rng.random(n) * 20), reward=rng.normal(size=(n, 2)),
               objectives=("a", "b"))  # fmt: skip
    gaps = Gaps.of(data, gone_after_days=2.0)
    found = gaps.returns(data.reward, 0.9, data.user)
    going = ~(gaps.terminal | gaps.truncated)
    typical = (0.9 ** gaps.days[going]).mean()
    for row in range(n):
        total, factor, at = np.zeros(2), 1.0, row
        while True:
            total += factor * data.reward[at]
            if gaps.truncated[at]:
                total += factor * data.reward.mean(axis=0) * typical / (1 - typical)
            if not going[at]:
                break
            factor *= 0.9 ** ((data.time[data.next[at]] - data.time[at]) / DAY)
            at = data.next[at]
        np.testing.assert_allclose(found[row], total, rtol=1e-10)


@pytest.mark.parametrize("piece_bytes", [1, 100, 2**26], ids=["by the decision", "in pieces", "at once"])
def test_candidates_are_gathered_alike_however_they_are_kept(rng, monkeypatch, piece_bytes) -> None:
    monkeypatch.setattr(transitions, "PIECE_BYTES", piece_bytes)
    counts = np.array([2, 4, 1, 3])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    store = CandidateStore(
        rng.integers(-1, 3, (10, 1)).astype(np.int32), (3,), rng.normal(size=(10, 2)).astype(np.float32), offsets
    )
    rows = torch.tensor([3, 0, 1])
    cpu = torch.device("cpu")
    padded = Candidates.of(store, cpu)
    ragged = Candidates.of(store, cpu, cache_bytes=4 * 4 * 5 * 4 - 1)  # of 4 decisions, 4 candidates, 5 columns
    assert padded.padded is not None
    assert ragged.padded is None
    for kept in (padded, ragged):
        np.testing.assert_array_equal(kept.rows(rows).numpy(), store[rows.numpy()])
    alike = Candidates.of(CandidateStore.from_padded(np.broadcast_to(np.eye(3), (5, 3, 3))), cpu)
    assert alike.rows(rows).shape == (1, 3, 3)


def test_a_gpu_keeps_candidates_in_half_of_what_it_has_free(monkeypatch) -> None:
    found = {"mem_get_info": (700, 900), "memory_reserved": 150, "memory_allocated": 50}
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert cache_limit(torch.device("cuda")) == 400
    assert cache_limit(torch.device("cpu")) == 2**30


def test_a_fit_is_the_same_however_candidates_are_kept(rng, monkeypatch, tmp_path) -> None:
    n = 400
    counts = rng.integers(2, 5, n)
    real = np.arange(4) < counts[:, None]
    candidates = np.where(real[..., None], rng.normal(size=(n, 4, 2)), 0.0)
    data = log(np.arange(n) // 10, np.arange(n) % 10, context=rng.normal(size=(n, 3)), eligible=real,
               candidates=candidates, action=rng.integers(0, counts))  # fmt: skip
    digests, asked = [], []

    def limited(device: torch.device) -> int:
        asked.append(limit)
        return limit

    monkeypatch.setattr(transitions, "cache_limit", limited)
    for limit in (0, 2**30):
        learner = make("cql", steps=120, sizes=(8, 8), batch_rows=32, gone_after_days=2.0)
        policy = learner.fit(data, rng=np.random.default_rng(3))
        assert learner.report["warnings"].get("no-progress") is None
        digests.append(save_policy(policy, tmp_path / str(limit), objectives=data.objectives))
    assert asked == [0, 2**30]
    assert digests[0] == digests[1]


def test_a_batch_holds_what_followed() -> None:
    data = log([0, 1, 0, 1], [0, 1, 2, 5], eligible=[[1, 1], [1, 1], [1, 0], [0, 1]])
    batch = Transitions.of(data, Gaps.of(data, 1.0), torch.device("cpu")).batch(torch.tensor([1, 2]))
    assert batch.now.context[:, 0].tolist() == [1.0, 2.0]
    assert batch.later.context[:, 0].tolist() == [3.0, 2.0]
    assert batch.later.eligible.tolist() == [[False, True], [True, False]]
    assert batch.days.tolist() == [4.0, 0.0]
    assert batch.goes_on.tolist() == [1.0, 0.0]
    assert batch.later.only_eligible(torch.zeros(1, 2, 2)).tolist() == [[[-np.inf, 0.0], [0.0, -np.inf]]]


@pytest.mark.parametrize(
    ("more", "weights", "name"),
    [
        ({"user": [0, 1, 2, 3]}, [1.0], "contextual-bandit"),
        ({"days": [0, 0, 0, 0]}, [1.0], "no-time-between-decisions"),
        ({"reward": [[0, 1], [1, 1], [0, 1], [0, 1]], "objectives": ("a", "b")}, [1.0, 1.0], "constant-rewards"),
        ({"reward": [[0, 1], [1, 1], [0, 0], [0, 1]], "objectives": ("a", "b")}, [2.0, -2.0], "weights-sum-to-zero"),
        ({"context": np.ones((4, 2))}, [1.0], "constant-features"),
        ({"action": np.ones(4)}, [1.0], "one-action"),
        ({"candidates": np.ones((4, 2, 3))}, [1.0], "candidates-alike"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_oddities_are_named(more, weights, name) -> None:
    given = {"user": [0, 0, 1, 1], "days": [0, 1, 0, 1]} | more
    data = log(**given)
    found = findings(data, np.array(weights), Gaps.of(data))
    assert set(found) == {name} | ({"silence-not-random"} if name == "one-action" else set())


def test_an_end_that_the_logs_end_cuts_off_is_named() -> None:
    """Users 0 and 1 churn with their last decision; only who has been silent for long enough has left."""
    data = log([0, 1, 0, 1, 2], [0, 0, 1, 1, 3], reward=[[0, 0], [1, 0], [1, 1], [0, 1], [1, 0]],
               objectives=("clicked", "churned"))  # fmt: skip
    for gone_after_days, named in ((7.0, {"rewards-cut-off"}), (1.5, set())):
        gaps = Gaps.of(data, gone_after_days)
        found = Ranges.of(data, gaps).cut_off(data.objectives, data.reward[gaps.terminal])
        assert set(found) == named
        if named:
            assert found["rewards-cut-off"].startswith("churned: varies only in users' last decisions")


def test_learners_over_transitions_report_it(rng, tmp_path) -> None:
    """Forty users of five days, one in four churns on the last; all are within the time that silence may take."""
    user, day = np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40)
    reward = np.stack([rng.random(200), (day == 4) & (user % 4 == 0)], axis=1)
    data = log(user, day, reward=reward, objectives=("clicked", "churned"))
    learner = make("double-dqn", steps=5, sizes=(4, 4))
    learner.fit(data, rng=rng)
    assert "rewards-cut-off" in learner.report["warnings"]
    parts = []
    for number in range(2):
        some, folder = data.take(np.flatnonzero(data.user % 2 == number)), tmp_path / str(number)
        some.save(folder)
        parts.append(Part(folder.name, some.n, some.n_users, file_digest(folder / MANIFEST)))
    shape, moments = (1, 2), (tuple(reward.mean(axis=0)), tuple(reward.std(axis=0)))
    parted = PartedDataset(tmp_path, tuple(parts), data.objectives, shape, None, *moments, {})
    for gone_after_days, named in ((1.0, True), (-1.0, False)):
        begun = PreparedParts.of(parted, None, rng, validation_share=0.5, gone_after_days=gone_after_days)
        assert ("rewards-cut-off" in begun.warnings) == named


@pytest.mark.parametrize("n", [1, 63, 64, 200])
def test_ranges_are_those_of_all_rows(n, rng) -> None:
    """However many rows are looked at together, the extremes are found where they stand."""
    context, days = rng.normal(size=(n, 3)), np.arange(n)
    low, high = rng.integers(0, n, 2)
    context[low, 1], context[high, 2] = -9.0, 9.0
    data = log(np.arange(n) % 5, days, context=context)
    ranges = Ranges.of(data, Gaps.of(data))
    for name, edge in (("low", min), ("high", max)):
        found = getattr(ranges, name)
        assert found["context"].tolist() == [edge(data.context[:, j].tolist()) for j in range(3)]
        assert found["reward"].tolist() == [edge(data.reward[:, 0].tolist())]


def test_what_teaches_nothing_is_refused() -> None:
    data = log([0, 0], [0, 1], eligible=[[1, 0], [0, 1]])
    with pytest.raises(InvalidInputError, match="eligible candidates of a decision == 1, must be >= 2 somewhere"):
        findings(data, np.ones(1), Gaps.of(data))
    data = log([0, 0], [0, 1], reward=[[3.0, 0.0], [3.0, 1.0]], objectives=("a", "b"))
    with pytest.raises(InvalidInputError, match=r"rewards == \{'a': 3.0, .* must vary"):
        findings(data, np.array([1.0, 0.0]), Gaps.of(data))
    assert set(findings(data, np.array([1.0, 1.0]), Gaps.of(data))) == {"constant-rewards"}
