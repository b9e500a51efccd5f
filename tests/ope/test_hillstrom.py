"""The real randomised e-mail trial: each arm's observed mean is the truth that estimates of that arm must hold."""

import numpy as np
import pytest

from homing import datasets
from homing.log import build_dataset
from homing.ope import evaluate_policy
from homing.ope.messages import Messages


@pytest.mark.slow
def test_every_arm_is_recovered(shared_data):
    log = build_dataset(datasets.load("hillstrom", shared_data / "hillstrom"), datasets.objectives("hillstrom"))
    messages = Messages.of(log)
    sent = messages.code[np.arange(log.n), log.action]
    assert set(messages.names) == {"silence", "mens-email", "womens-email"}
    # A model that knows nothing of the arms: the mean reward for all candidates.
    q_hat = np.broadcast_to(log.reward.mean(axis=0), (log.n, log.k, len(log.objectives)))
    for arm, name in enumerate(messages.names):
        probs, share = messages.always(name, log.eligible)
        assert share == 1.0
        report = evaluate_policy(log, probs, q_hat=q_hat, messages=messages)
        assert report.support.verdict == "fine"
        for j, objective in enumerate(log.objectives):
            observed = log.reward[sent == arm, j]
            for estimator in report.estimators:
                found = report.estimate(objective, estimator)
                assert found.lower <= observed.mean() <= found.upper
            assert report.estimate(objective, "snips").value == pytest.approx(observed.mean(), rel=1e-12)
            # Its interval is that of the arm's own mean: the delta method with a random arm size.
            standard_error = observed.std(ddof=1) / np.sqrt(len(observed))
            assert report.estimate(objective, "snips").std_error == pytest.approx(standard_error, rel=1e-3)
