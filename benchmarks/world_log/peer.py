"""The peer: a row at a time, as a Python loop over users writes it; features by the encoder's path for requests."""

from __future__ import annotations

import sys
from datetime import timedelta

import numpy as np
import pyarrow as pa

from benchmarks.measure import report
from benchmarks.world_log import inputs
from homing.log import new_ids, silence_candidate
from homing.simulation import plain_encoder
from homing.simulation.acting import Step
from homing.simulation.arrow import LogRows
from homing.simulation.world import Feature

task, n_users = sys.argv[1], int(sys.argv[2])
world, steps = inputs.steps(n_users)
schema = LogRows(world, n_users=1, seed=inputs.SEED, policy="behaviour@1").schema
names = ("message_id", "campaign", "domain", "channel", "slot")
extra = {feature.name: None for feature in world.candidate_features}


def value(feature: Feature, raw: float) -> object:
    if raw != raw:
        return None
    return bool(raw) if feature.flag else feature.levels[int(raw)] if feature.levels else float(raw)


def rows(step: Step) -> list[dict]:
    seen, out = step.observation, []
    now = world.start + timedelta(hours=step.index * world.step_hours)
    ids = new_ids(np.full(len(seen), int(now.timestamp() * 1e6)), np.random.default_rng(step.index))
    for i, user in enumerate(seen.user.tolist()):
        real = np.flatnonzero(seen.message[i] >= 0).tolist()
        candidates = [silence_candidate(extra)]
        for j in real[1:]:
            message, hours = int(seen.message[i, j]), float(seen.expires_hours[i, j])
            candidate = {name: getattr(world.catalogue, name)[message] for name in names}
            candidate["value"] = float(seen.value[i, j])
            candidate["expires_at"] = None if hours != hours else now + timedelta(hours=hours)
            for f, feature in enumerate(world.candidate_features):
                candidate[feature.name] = value(feature, seen.features[i, j, f])
            candidates.append(candidate)
        context = {
            feature.name: value(feature, seen.context[i, f]) for f, feature in enumerate(world.context_features)
        }  # fmt: skip
        shares = step.probs[i, real].tolist()
        out.append(
            {
                "decision_id": ids[i], "user_id": f"u{inputs.SEED}-{user:07d}", "decided_at": now,
                "policy": "behaviour@1", "context": context, "candidates": candidates,
                "eligible": seen.eligible[i, real].tolist(), "action": real.index(int(step.action[i])),
                "propensity": float(step.propensity[i]), "propensities": shares,
                "explored": shares[real.index(int(step.action[i]))] < max(shares), "slice": "policy",
            }
        )  # fmt: skip
    return out


def log() -> float:
    return float(sum(pa.Table.from_pylist(rows(step), schema=schema).num_rows for step in steps))


made = [rows(step) for step in steps]
encoder = plain_encoder(world)


def features() -> float:
    out = 0.0
    for decisions in made:
        store = encoder.encode_candidates([row["candidates"] for row in decisions], decisions[0]["decided_at"])
        out += inputs.total(encoder.encode_context([row["context"] for row in decisions]), np.asarray(store))
    return out


report({"log": log, "encode": features}[task], repeats=1)
