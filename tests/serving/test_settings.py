"""Settings from the environment, each mistake with its message."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.errors import HomingError, InvalidInputError
from serving.settings import Settings

GOOD = {"HOMING_REGISTRY": "folder:models"}


def test_defaults_are_loopback_and_the_champion():
    settings = Settings.from_environment(GOOD)
    assert (settings.host, settings.port, settings.alias, settings.token()) == ("127.0.0.1", 8000, "champion", None)
    settings.check_exposure()


def test_settings_give_their_environment_back():
    given = {**GOOD, "HOMING_LEDGER": "a/b.db", "HOMING_PORT": "9001", "HOMING_ALLOW_ANONYMOUS": "true"}
    settings = Settings.from_environment(given)
    assert settings.ledger == Path("a/b.db")
    assert Settings.from_environment(settings.to_environment()) == settings


def test_variables_of_others_are_left_alone():
    # What a kubelet sets for services called homing and homing-decide-head-svc.
    kubernetes = {
        f"HOMING_{service}{name}": value
        for service in ("", "DECIDE_HEAD_SVC_")
        for name, value in {
            "PORT": "tcp://10.0.0.1:80",
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "80",
            "SERVICE_PORT_GCS_SERVER": "6379",
            "PORT_80_TCP": "tcp://10.0.0.1:80",
            "PORT_80_TCP_PROTO": "tcp",
            "PORT_80_TCP_PORT": "80",
            "PORT_80_TCP_ADDR": "10.0.0.1",
        }.items()
    }
    others = {"HOMING_DATA": "/data", "HOMING_IMAGE": "homing:1", "PATH": "/bin"}
    assert Settings.from_environment({**GOOD, **kubernetes, **others}).port == 8000


MISTAKES = {
    "no registry": ({}, "HOMING_REGISTRY == None, is required. Set it to folder:PATH"),
    "empty registry": ({"HOMING_REGISTRY": ""}, "HOMING_REGISTRY == None, is required"),
    "misspelt": ({**GOOD, "HOMING_LEGER": "x"}, "Did you mean 'HOMING_LEDGER'?"),
    "misspelt port": ({**GOOD, "HOMING_PROT": "8000"}, "Did you mean 'HOMING_PORT'?"),
    "port": ({**GOOD, "HOMING_PORT": "eighty"}, "HOMING_PORT == 'eighty', must be a valid integer"),
    "port range": ({**GOOD, "HOMING_PORT": "70000"}, "HOMING_PORT == '70000', must be less than or equal to 65535"),
    "nan": ({**GOOD, "HOMING_EXPORT_SECONDS": "nan"}, "HOMING_EXPORT_SECONDS == 'nan', must be"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_its_variable(case):
    environment, message = MISTAKES[case]
    with pytest.raises(HomingError) as caught:
        Settings.from_environment(environment)
    assert message in str(caught.value)


def test_listening_beyond_this_machine_needs_a_token(tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"HOMING_HOST == .0\.0\.0\.0., listens beyond this machine and needs a token"
    ):
        Settings(registry="x", host="0.0.0.0").check_exposure()
    Settings(registry="x", host="0.0.0.0", token_file=tmp_path / "token").check_exposure()
    Settings(registry="x", host="0.0.0.0", allow_anonymous=True).check_exposure()


def test_a_token_must_be_there_and_long_enough(tmp_path):
    with pytest.raises(InvalidInputError, match=r"HOMING_TOKEN_FILE == .* cannot be read"):
        Settings(registry="x", token_file=tmp_path / "token").token()
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(InvalidInputError, match="length of the token == 5, must be >= 16"):
        Settings(registry="x", token_file=tmp_path / "token").token()
