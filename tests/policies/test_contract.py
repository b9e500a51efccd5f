"""What every policy promises, run over the registry of types."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.policies import load_policy, sample_actions, save_policy, type_names

#: They ignore weights by design; all others must change their choice with them.
BLIND = {
    "uniform", "silence", "fixed", "message-shares", "clone", "weibull-visit", "column-scores", "recovering", "recency",
}  # fmt: skip


def test_every_type_has_an_instance(instances) -> None:
    assert set(instances) == set(type_names())


@pytest.mark.parametrize("name", type_names())
def test_rows_sum_to_one_on_what_is_eligible(name, instances, decisions) -> None:
    probs = decisions.probs(instances[name])
    assert probs.dtype == np.float64
    assert probs.shape == decisions.eligible.shape
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert (probs >= 0).all()
    assert (probs[~decisions.eligible] == 0.0).all()
    sample_actions(probs, np.random.default_rng(0))


@pytest.mark.parametrize("name", type_names())
def test_saved_and_loaded_gives_the_same_bits(name, instances, decisions, tmp_path) -> None:
    policy = instances[name]
    digest = save_policy(policy, tmp_path / "a", objectives=("clicked", "spend"), weights=[0.3, 0.7])
    loaded = load_policy(tmp_path / "a", digest=digest)
    np.testing.assert_array_equal(decisions.probs(loaded.policy), decisions.probs(policy))
    np.testing.assert_array_equal(decisions.probs(loaded), decisions.probs(policy, np.array([0.3, 0.7])))
    assert save_policy(loaded.policy, tmp_path / "b", objectives=("clicked", "spend"), weights=[0.3, 0.7]) == digest


@pytest.mark.parametrize("name", type_names())
def test_weights_are_a_dial(name, instances, decisions) -> None:
    one, other = (decisions.probs(instances[name], np.array(w)) for w in ([1.0, 0.0], [0.0, -1.0]))
    assert np.array_equal(one, other) == (name in BLIND)


@pytest.mark.parametrize("name", type_names())
def test_order_of_messages_does_not_matter(name, instances, decisions, rng) -> None:
    order = np.concatenate([[0], 1 + rng.permutation(decisions.eligible.shape[1] - 1)])  # silence stays first
    moved = type(decisions)(decisions.context, decisions.candidates[:, order], decisions.eligible[:, order])
    # float32 dot products may be summed in another order: 1e-6 relative to scores of up to about 30.
    np.testing.assert_allclose(decisions.probs(instances[name])[:, order], moved.probs(instances[name]), atol=1e-4)


@pytest.mark.parametrize("name", type_names())
def test_a_row_alone_is_as_in_the_batch(name, instances, decisions) -> None:
    whole = decisions.probs(instances[name])
    for i in range(len(whole)):
        alone = type(decisions)(
            *(getattr(decisions, part)[i : i + 1] for part in ("context", "candidates", "eligible"))
        )
        np.testing.assert_allclose(alone.probs(instances[name])[0], whole[i], atol=1e-4)


@pytest.mark.parametrize("name", type_names())
def test_padding_does_not_matter(name, instances, decisions) -> None:
    padded = type(decisions)(
        decisions.context,
        np.pad(decisions.candidates, ((0, 0), (0, 2), (0, 0))),
        np.pad(decisions.eligible, ((0, 0), (0, 2))),
    )
    probs = padded.probs(instances[name])
    np.testing.assert_allclose(probs[:, :-2], decisions.probs(instances[name]), atol=1e-4)
    assert (probs[:, -2:] == 0).all()


@pytest.mark.parametrize("name", type_names())
def test_no_decision_is_no_mistake(name, instances, decisions) -> None:
    """Everybody may have left."""
    none = type(decisions)(decisions.context[:0], decisions.candidates[:0], decisions.eligible[:0])
    assert none.probs(instances[name]).shape == (0, decisions.eligible.shape[1])


@pytest.mark.parametrize("name", type_names())
def test_nothing_eligible_is_refused(name, instances, decisions) -> None:
    decisions.eligible[3] = False
    with pytest.raises(InvalidInputError, match=r"eligible\[3\] == 'all False', must hold at least one True"):
        decisions.probs(instances[name])


@pytest.mark.parametrize("part", ["context", "candidates"])
@pytest.mark.parametrize("name", type_names())
def test_features_that_are_no_numbers_never_become_probabilities(name, part, instances, decisions) -> None:
    """Refused by who reads them; who does not, decides as before."""
    getattr(decisions, part)[:] = np.nan
    try:
        probs = decisions.probs(instances[name])
    except InvalidInputError as error:
        assert "== nan, must be finite. Look at that row's features." in str(error)
    else:
        np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(type_names()) - BLIND))
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"weights.shape == \(1,\), must be \(2,\)"),
        ([1.0, np.nan], "weights == .* must be finite"),
        (["a", "b"], "weights == .* must be numbers, one per objective"),
    ],
    ids=["length", "nan", "text"],
)
def test_wrong_weights_are_refused(name, instances, decisions, weights, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        decisions.probs(instances[name], np.array(weights))


@pytest.mark.parametrize("name", sorted(set(type_names()) - BLIND | {"weibull-visit", "column-scores"}))
def test_other_features_than_in_training_are_refused(name, instances, decisions) -> None:
    fewer = type(decisions)(decisions.context[:, :-1], decisions.candidates, decisions.eligible)
    with pytest.raises(InvalidInputError, match="context columns == 2, must be 3, as in training"):
        fewer.probs(instances[name])
