"""What is checked before a server starts."""

from __future__ import annotations

import socket

import pytest

from homing.errors import InvalidInputError
from serving.runtime import preflight


def test_mistakes_are_found_before_a_server_starts(make_settings, port, tmp_path):
    (tmp_path / "file").touch()
    mistakes = {
        f"HOMING_LOG_DIR == '{tmp_path}/file', must be a folder that can be written": {"log_dir": tmp_path / "file"},
        f"ledger == '{tmp_path}', cannot be opened (Is a directory)": {"ledger": tmp_path},
        "none.yaml', cannot be read (FileNotFoundError)": {"guards": tmp_path / "none.yaml"},
        "HOMING_TOKEN_FILE == ": {"token_file": tmp_path / "none"},
    }
    for message, wrong in mistakes.items():
        with pytest.raises(InvalidInputError) as caught:
            preflight(make_settings(port=port, **wrong))
        assert message in str(caught.value)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(InvalidInputError, match=rf"HOMING_PORT == {port}, cannot be listened on at 127.0.0.1"):
            preflight(make_settings(port=port))
