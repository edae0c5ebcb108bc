"""`charter demo`: every claim it ticks is true, and it says so when one is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from terminal import BIN, ROOT, Terminal

SECONDS = 600  # of a machine that is busy with other things


def at_a_terminal() -> None:
    """Let Ctrl-C end it: whoever runs the tests in the background ignores that, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 20)
def test_the_demo_keeps_every_claim_and_stays_until_it_is_interrupted(tmp_path: Path) -> None:
    """With --keep, which differs from the plain demo in nothing before its last claim was made."""
    terminal = Terminal.at(tmp_path)
    demo = subprocess.Popen(
        [BIN / "charter", "demo", "--keep", "--folder", "demo"],
        cwd=tmp_path,
        env=dict(terminal.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=at_a_terminal,  # noqa: PLW1509 - it sets one signal
    )
    timer = threading.Timer(SECONDS, os.killpg, (demo.pid, signal.SIGKILL))
    timer.start()
    try:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if line.startswith("Stop it with Ctrl-C"):
                break
        (console,) = re.findall(r"^Still running\. Console: (http://127\.0\.0\.1:\d+/sign-in/\S+)$", said, re.MULTILINE)
        page = httpx.get(console)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        said += demo.stdout.read()
        code = demo.wait()
    finally:
        timer.cancel()
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
        if demo.stdout is not None:
            demo.stdout.close()

    assert code == 0, said
    assert "✗" not in said
    (claims,) = re.findall(r"^All (\d+) claims held, in \d+ seconds\.$", said, re.MULTILINE)
    assert int(claims) == said.count("✓") >= 49
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", said, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 12
    assert (page.status_code, "Charter" in page.text) == (200, True)
    with pytest.raises(httpx.ConnectError):
        httpx.get(console)
    assert not (tmp_path / "demo" / "estate" / ".charter" / "control.sock").exists()


@pytest.mark.slow
def test_a_part_that_does_not_do_what_is_claimed_fails_the_demo(tmp_path: Path) -> None:
    """One public server is broken, as an update might break it: it starts, and ends at once."""
    for name in (".venv-servers", ".venv-servers-v1"):
        (tmp_path / name / "bin").mkdir(parents=True)
        for program in ("python", "mcp-server-git", "mcp-server-time", "mcp-server-sqlite"):
            if (ROOT / name / "bin" / program).exists():
                (tmp_path / name / "bin" / program).symlink_to(ROOT / name / "bin" / program)
    broken = tmp_path / ".venv-servers-v1" / "bin" / "mcp-server-sqlite"
    broken.unlink()
    terminal = Terminal.at(tmp_path / "work")
    absent = terminal.charter("demo", "--servers", str(tmp_path), expect=4)
    assert "the demo needs `mcp-server-sqlite`" in absent.err
    assert "run make demo" in absent.err

    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    done = terminal.charter("demo", "--servers", str(tmp_path), "--folder", "demo", expect=1)

    assert "✓ git: 12 tool definitions pinned" in done.out
    assert "All" not in done.out
    assert re.search(r"✗ `charter systems import ledger --accept` ended with 6, not 0", done.err)
    assert "out of order" in done.err
    assert f"its folder is kept at {terminal.folder / 'demo'}" in done.err
    assert terminal.charter("demo", "--folder", "demo", expect=5).err.startswith("error: there is something in ")
