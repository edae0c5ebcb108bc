"""`charter up` ends when it is told to, with everything put away."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["terminate", "interrupt"])
def test_a_server_that_is_told_to_stop_closes_its_house_first(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-m", "charter.cli.main", "-C", str(tmp_path), "up", "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        seen = [server.stdout.readline() for _ in range(4)]
        assert "stop it" in seen[-1], seen
        data = tmp_path / ".charter"
        assert (data / "control.sock").exists()
        server.send_signal(number)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.stdout.close()
        server.wait()
    assert not (data / "control.sock").exists()
    assert not (data / "charter.db-wal").exists()  # the database was closed, not dropped
