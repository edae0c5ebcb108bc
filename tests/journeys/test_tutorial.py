"""README's "Your own agent in ten minutes", typed word for word, and everything it says on the way."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from terminal import ROOT, login

HEADING = "## Your own agent in ten minutes\n"
NOT_TRACKED = shutil.ignore_patterns(".git", ".venv*", ".*cache", "__pycache__", ".hypothesis", ".charter")
SECONDS = 300  # of a machine that is busy with other things


def tutorial() -> list[str]:
    """Return the tutorial's bash blocks, as they stand."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(HEADING, 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def a_clone(folder: Path) -> Path:
    """Return a checkout as `git clone` and `make demo` leave it."""
    clone = folder / "charter"
    shutil.copytree(ROOT, clone, ignore=NOT_TRACKED, symlinks=True)
    git = ["git", "-c", "user.name=You", "-c", "user.email=you@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A clone"]):
        subprocess.run([*git, *words], cwd=clone, check=True, capture_output=True)
    for made in (".venv", ".venv-servers"):
        (clone / made).symlink_to(ROOT / made)
    return clone


def type_all(blocks: list[str], clone: Path, home: Path) -> list[str]:
    """Type the blocks into one bash session; return what each showed. Every command must succeed."""
    mark = "=== next block ==="
    script = f'\necho "{mark}"\n'.join(["set -m; trap 'echo \"FAILED: $BASH_COMMAND\"' ERR\n" + blocks[0], *blocks[1:]])
    screen = home.parent / "screen.txt"
    with screen.open("w", encoding="utf-8") as sink:
        session = subprocess.Popen(
            ["bash", "-s"], stdin=subprocess.PIPE, stdout=sink, stderr=sink, cwd=clone, env=login(home), text=True
        )
        try:
            session.communicate(script + "\nwait\n", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            session.kill()
            session.wait()
            pytest.fail(f"it never ended:\n{screen.read_text(encoding='utf-8')}")
    seen = screen.read_text(encoding="utf-8")
    assert "FAILED" not in seen, seen
    shown = seen.split(mark)
    assert len(shown) == len(blocks), seen
    return shown


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    blocks = tutorial()
    clone = a_clone(tmp_path)

    estate, imported, charter, started, refused, widened, stopped = type_all(blocks, clone, tmp_path / "home")

    assert "7 principals" in estate
    assert "0 failed" in estate
    # "Charter asks it for its tools, and pins each definition by its digest"
    system = YAML(typ="safe", pure=True).load((clone / "my-estate/systems/repo.yaml").read_text())
    assert all(action["pin"].startswith("sha256:") for action in system["actions"].values())
    assert f"{len(system['actions'])} tools pinned" in imported
    assert "+ principal my-agent" in charter
    assert re.search(r"principal +my-agent +version 1 +sha256:", charter)
    # "It prints a one-time link to the console"
    assert re.search(r"^console: http://127\.0\.0\.1:\d+/sign-in/\S{20,}$", started, re.MULTILINE)
    # "git_status passes. git_log is not even listed; it is refused, and the refusal names the rule, its file and line…"
    assert "tools: ['git_status']" in refused
    assert "git_status -> Repository status:" in refused
    (refusal,) = re.findall(r"^git_log is refused: (.*)$", refused, re.MULTILINE)
    (line,) = re.findall(r"rule my-agent/grants at principals/my-agent\.yaml:(\d+):14", refusal)
    assert (
        (clone / "my-estate/principals/my-agent.yaml")
        .read_text()
        .splitlines()[int(line) - 1]
        .startswith("    actions:")
    )
    assert f"To have it allowed: add `git_log` to `actions` at principals/my-agent.yaml:{line}:14" in refusal
    # "plan shows exactly what changes; apply makes a new signed version"
    assert "~ principal my-agent" in widened
    assert "git_log" in widened.split("git_status ->")[0]
    assert re.search(r"principal +my-agent +version 2 +sha256:", widened)
    assert "git_status -> Repository status:" in widened
    assert "git_log -> Commit history:" in widened
    # "See what happened, and stop it"
    shown, verified = stopped.split("the log verifies", 1)
    assert len(re.findall(r"deny +my-agent → repo/git_log", shown)) == 1
    assert "my-agent: active → revoked" in verified
    assert "it has no authority any more" in verified
    assert "git_status" not in verified
