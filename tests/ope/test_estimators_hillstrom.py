"""The real randomised e-mail trial, with a cross-fitted model: the arms' observed means are the truth."""

import numpy as np
import pytest

from homing import datasets
from homing.log import build_dataset
from homing.ope import balanced_weights, cross_fit, evaluate_policy
from homing.ope.messages import Messages


def ridge(train, test):
    """Rewards linear in the context, message by message."""
    x, y = (np.column_stack([np.ones(part.n), part.context.astype(float)]) for part in (train, test))
    known, asked = Messages.of(train).code, Messages.of(test).code
    sent = known[np.arange(train.n), train.action]
    out = np.zeros((test.n, test.k, len(train.objectives)))
    for message in np.unique(sent):
        mine = x[sent == message]
        fitted = np.linalg.solve(mine.T @ mine + 10.0 * np.eye(x.shape[1]), mine.T @ train.reward[sent == message])
        out += (asked == message)[:, :, None] * (y @ fitted)[:, None, :]
    return out


@pytest.mark.slow
def test_every_arm_is_recovered_and_models_do_not_lose(shared_data):
    log = build_dataset(datasets.load("hillstrom", shared_data / "hillstrom"), datasets.objectives("hillstrom"))
    rng = np.random.default_rng(0)
    q_hat = cross_fit(log, ridge, 5, rng)
    messages = Messages.of(log)
    sent = messages.code[np.arange(log.n), log.action]
    which = (messages.code[:, :, None] == np.arange(len(messages.names))) * 1.0
    for arm, name in enumerate(messages.names):
        probs, _ = messages.always(name, log.eligible)
        ratios = {"balanced": balanced_weights(log, probs, which, folds=5, rng=rng)}
        chosen = ("ips", "snips", "dr", "sndr", "mrdr", "balanced-ips", "mips-message")
        report = evaluate_policy(log, probs, q_hat=q_hat, estimators=chosen, ratios=ratios, messages=messages)
        # Candidates are messages here, one each: nothing is shared.
        for j, objective in enumerate(log.objectives):
            found = {key: report.estimate(objective, key) for key in chosen}
            assert found["mips-message"] == found["ips"]
            observed = log.reward[sent == arm, j].mean()
            for key, item in found.items():
                assert item.lower <= observed <= item.upper, key
            # Propensities are right, so the weights that know none of them say the same, within a tenth of the error.
            assert abs(found["balanced-ips"].value - observed) < 0.1 * found["snips"].std_error
            spread = {key: item.std_error for key, item in found.items()}
            # In the span of its controls no mean has a smaller spread; all of these are in it up to O(1/√n), 1 % here.
            assert spread["mrdr"] <= 1.01 * min(spread[key] for key in ("ips", "snips", "dr", "sndr"))
