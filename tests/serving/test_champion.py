"""The champion is followed when the alias moves; files that do not match their digests are never taken over."""

from __future__ import annotations

import time

import pytest

from homing.errors import ArtifactError, UnknownNameError
from homing.policies import SilencePolicy, UniformPolicy, save_policy
from homing.registry import FolderRegistry, RunReport
from serving.champion import ChampionSource, Repeater
from serving.runtime import Runtime


@pytest.fixture
def registry(tmp_path):
    registry = FolderRegistry(tmp_path / "registry" / "homing")
    save_policy(UniformPolicy(), tmp_path / "one", name="uniform")
    registry.promote(registry.register(tmp_path / "one", RunReport(run_name="one")))
    return registry


@pytest.fixture
def add(registry, tmp_path):
    def add():
        save_policy(SilencePolicy(), tmp_path / "two", name="silence")
        version = registry.register(tmp_path / "two", RunReport(run_name="two"))
        registry.promote(version)
        return version

    return add


@pytest.fixture
def runtime(registry, make_settings, tmp_path):
    runtime = Runtime(make_settings(registry=f"folder:{tmp_path / 'registry'}", refresh_seconds=0, export_seconds=0))
    yield runtime
    runtime.close()


REQUEST = {"user_id": "u", "consent": {"push": True}, "candidates": [{"message_id": "m", "channel": "push"}]}


def test_a_new_champion_takes_over(runtime, add):
    assert runtime.refresh() is False
    assert runtime.service.decide(REQUEST).policy == "uniform@1"
    add()
    assert runtime.refresh() is True
    assert runtime.service.decide(REQUEST).policy == "silence@2"
    assert runtime.service.tally.total("policy_refreshes") == 1


def test_a_damaged_champion_is_refused_and_the_old_one_goes_on(runtime, registry, add, tmp_path):
    version = add()
    path = tmp_path / "registry" / "homing" / "versions" / version / "policy" / "policy.json"
    path.write_text(path.read_text().replace("silence", "uniform"))
    with pytest.raises(ArtifactError):
        runtime.refresh()
    assert runtime.service.decide(REQUEST).policy == "uniform@1"


def test_the_background_refresh_counts_failures_and_picks_up_what_comes(registry, make_settings, add, tmp_path):
    runtime = Runtime(make_settings(registry=f"folder:{tmp_path / 'registry'}", refresh_seconds=0.05, export_seconds=0))
    runtime.start()
    champion = tmp_path / "registry" / "homing" / "aliases" / "champion"
    good = champion.read_text()
    champion.write_text("99")
    wait(lambda: runtime.service.tally.total("policy_refresh_failures") > 0)
    assert runtime.service.decide(REQUEST).policy == "uniform@1"
    champion.write_text(good)
    add()
    wait(lambda: runtime.service.decide(REQUEST).policy == "silence@2")
    runtime.close()


def test_no_champion_says_what_to_do(make_settings, tmp_path):
    with pytest.raises(UnknownNameError, match="HOMING_ALIAS == 'champion', points at no version of the registry"):
        ChampionSource(make_settings(registry=f"folder:{tmp_path / 'empty'}")).load()


def test_a_plain_folder_serves_as_a_registry_of_one(make_settings, policy):
    source = ChampionSource(make_settings())
    champion = source.load()
    assert champion.version == champion.digest[:12]
    assert source.load(champion) is champion


def test_a_repeater_outlives_errors():
    calls, failures = [], []

    def call():
        calls.append(1)
        raise RuntimeError

    repeater = Repeater("test", 0.01, call, failures.append)
    repeater.start()
    wait(lambda: len(failures) >= 3)
    repeater.stop()
    assert len(calls) == len(failures)


def wait(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened for 10 s")
