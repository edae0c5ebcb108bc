"""A log that was put back from a backup is whole and signed; what is kept elsewhere shows it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from charter.bootstrap.heads import Heads
from charter.core.errors import IntegrityError
from charter.evidence.checkpoint import parse_checkpoint
from houses import Stage, a_house

REFUND = {"charge_id": "ch_1"}


def call(stage: Stage) -> None:
    stage.submit(stage.bearer(), stage.make("get_charge", REFUND))


def size_in(folder: Path) -> int:
    (file,) = folder.glob("*.checkpoint")
    return parse_checkpoint(file.read_text()).size


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a folder that keeps heads; beside it the estate, and a backup of its data from before the last call."""
    kept, estate, backup = tmp_path / "kept", tmp_path / "estate", tmp_path / "backup"
    kept.mkdir()
    estate.mkdir()
    with a_house(estate, checkpoints=(kept,)) as stage:
        call(stage)
        stage.house.heads.keep_once()
    shutil.copytree(estate / ".charter", backup)
    with a_house(estate, apply=False, checkpoints=(kept,)) as stage:
        call(stage)
        stage.house.heads.keep_once()
        assert size_in(kept) == stage.house.database.head.edge.size
    return kept


def start(estate: Path, kept: Path) -> None:
    with a_house(estate, apply=False, checkpoints=(kept,)):
        pass


def test_a_log_that_goes_on_starts(kept: Path) -> None:
    with a_house(kept.parent / "estate", apply=False, checkpoints=(kept,)) as stage:
        call(stage)


def test_a_log_that_was_put_back_does_not_start(kept: Path) -> None:
    estate = kept.parent / "estate"
    shutil.rmtree(estate / ".charter")
    shutil.copytree(kept.parent / "backup", estate / ".charter")
    with (
        pytest.raises(IntegrityError, match="holds its own signed head of"),
        a_house(estate, apply=False, checkpoints=(kept,)),
    ):
        pass


def test_a_log_that_was_put_back_and_went_on_elsewhere_does_not_start(kept: Path) -> None:
    estate = kept.parent / "estate"
    shutil.rmtree(estate / ".charter")
    shutil.copytree(kept.parent / "backup", estate / ".charter")
    with a_house(estate, apply=False) as stage:  # without the look: it writes others in place of what was lost
        for _ in range(4):
            call(stage)
    with (
        pytest.raises(IntegrityError, match="are others than those"),
        a_house(estate, apply=False, checkpoints=(kept,)),
    ):
        pass


def test_a_head_that_could_not_be_read_at_the_start_stops_the_node_later_and_is_not_overwritten(kept: Path) -> None:
    """As where the folder is mounted a minute late: it is the proof, and a newer head of the old state is none."""
    estate, away = kept.parent / "estate", kept.parent / "away"
    shutil.rmtree(estate / ".charter")
    shutil.copytree(kept.parent / "backup", estate / ".charter")
    kept.rename(away)
    with a_house(estate, apply=False, checkpoints=(kept,)) as stage:
        call(stage)
        away.rename(kept)
        before = size_in(kept)
        stage.house.heads.keep_once()
        assert size_in(kept) == before
        assert "whose signed head" in (stage.house.database.halted or "")
        assert "whose signed head" in stage.house.heads.listing()[0]["error"]
        with pytest.raises(IntegrityError, match="stopped writing"):
            call(stage)


def test_a_log_that_was_put_back_from_before_its_key_changed_does_not_start(tmp_path: Path) -> None:
    """The old state does not know that its key changed, but has the new one already, as its next."""
    kept, estate, backup = tmp_path / "kept", tmp_path / "estate", tmp_path / "backup"
    kept.mkdir()
    estate.mkdir()
    with a_house(estate):
        pass
    shutil.copytree(estate / ".charter", backup)
    with a_house(estate, apply=False, checkpoints=(kept,)) as stage:
        stage.house.database.write(lambda tx: stage.house.ring.rotate(tx, "evidence", actor="a@x", reason="due"))
        call(stage)
        stage.house.heads.keep_once()
    shutil.rmtree(estate / ".charter")
    shutil.copytree(backup, estate / ".charter")
    with pytest.raises(IntegrityError, match="holds its own signed head of"):
        start(estate, kept)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\xfe", b"a" * 70_000])
def test_what_nobody_signed_proves_nothing_and_is_warned_of(
    kept: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = kept.glob("*.checkpoint")
    file.write_bytes(data)
    with a_house(kept.parent / "estate", apply=False, checkpoints=(kept, kept / "gone")):
        pass
    assert sum("shows nothing" in each.message for each in caplog.records) == 2


def test_another_logs_head_is_not_taken_for_ours(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file,) = kept.glob("*.checkpoint")
    note = file.read_text()
    file.write_text(note.replace(note.splitlines()[0], "charter.local/log/nod_other", 1))
    with a_house(kept.parent / "estate", apply=False, checkpoints=(kept,)):
        pass
    assert "shows nothing" in caplog.text


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_in_a_git_repository_each_head_is_a_commit_and_pushed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    remote, kept, estate = tmp_path / "remote.git", tmp_path / "kept", tmp_path / "estate"
    estate.mkdir()
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(tmp_path, "clone", "-q", str(remote), str(kept))
    (kept / "mine.txt").write_text("mine")
    git(kept, "commit", "-q", "--allow-empty", "-m", "begin")
    git(kept, "push", "-q", "-u", "origin", "HEAD")
    with a_house(estate, checkpoints=(kept,)) as stage:
        stage.house.heads.keep_once()
        call(stage)
        stage.house.heads.keep_once()  # too soon for another commit
        stage.house.heads.keep_once(is_last=True)
        assert [each["error"] for each in stage.house.heads.listing()] == [""]
    assert len(git(remote, "log", "--format=%s", "--all").split("\n")) == 4  # the first, two heads, and the end
    assert git(kept, "status", "--porcelain").split() == ["??", "mine.txt"]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a bare repository with one commit."""
    remote, first = tmp_path / "remote.git", tmp_path / "first"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(tmp_path, "clone", "-q", str(remote), str(first))
    git(first, "commit", "-q", "--allow-empty", "-m", "begin")
    git(first, "push", "-q", "-u", "origin", "HEAD")
    return remote


def clone(shared: Path, name: str) -> Path:
    git(shared.parent, "clone", "-q", str(shared), name)
    return shared.parent / name


def test_nodes_keep_their_heads_on_one_branch(shared: Path, tmp_path: Path) -> None:
    kept, other = clone(shared, "kept"), clone(shared, "other")
    with a_house(tmp_path, checkpoints=(kept,)) as stage:
        (other / "b.checkpoint").write_text("of another node")
        git(other, "add", ".")
        git(other, "commit", "-q", "-m", "another node's")
        git(other, "push", "-q")
        stage.house.heads.keep_once()
        assert stage.house.heads.listing()[0]["error"] == ""
    files = git(shared, "ls-tree", "--name-only", "HEAD").split()
    assert "b.checkpoint" in files
    assert len(files) == 2


def test_an_upstream_that_forgot_heads_gets_them_again(shared: Path, tmp_path: Path) -> None:
    kept, other = clone(shared, "kept"), clone(shared, "other")
    with a_house(tmp_path, checkpoints=(kept,)) as stage:
        stage.house.heads.keep_once()
        (other / "new").write_text("a history without the head")
        git(other, "add", ".")
        git(other, "commit", "-q", "-m", "forget")
        git(other, "push", "-q", "--force")
        call(stage)
        stage.house.heads.keep_once(is_last=True)
        assert stage.house.heads.listing()[0]["error"] == ""
    told = git(shared, "log", "--format=%s")
    assert told.count("Keep the head") == 2
    assert "forget" in told


def test_another_head_of_this_log_in_the_upstream_is_told_and_nothing_is_left_half_done(
    shared: Path, tmp_path: Path
) -> None:
    kept, other = clone(shared, "kept"), clone(shared, "other")
    with a_house(tmp_path, checkpoints=(kept,)) as stage:
        stage.house.heads.keep_once()
        (file,) = kept.glob("*.checkpoint")
        mine = file.read_text()
        (other / file.name).write_text("another")
        git(other, "add", ".")
        git(other, "commit", "-q", "-m", "another")
        git(other, "push", "-q", "--force")
        call(stage)
        stage.house.heads.keep_once(is_last=True)
        assert "CONFLICT" in stage.house.heads.listing()[0]["error"]
        assert file.read_text() not in (mine, "another")
        assert git(kept, "status", "--porcelain") == ""


def test_a_folder_that_takes_nothing_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept"
    with a_house(tmp_path, checkpoints=(kept,)) as stage:
        heads = Heads(stage.house)
        heads.keep_once()
        heads.keep_once()
        (told,) = heads.listing()
        assert told["error"].endswith(".checkpoint'")
        kept.mkdir()
        heads.keep_once()
        assert heads.listing()[0]["error"] == ""
    assert sum("cannot be kept" in each.message for each in caplog.records) == 1
    assert size_in(kept) > 0
