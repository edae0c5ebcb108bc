"""What `charter init` writes is whole, valid, and replaces nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from charter.core.errors import ConflictError, UnavailableError
from charter.registry import starter
from charter.registry.charter import Kind
from charter.registry.manifest import load_estate
from charter.registry.pattern import render
from charter.registry.starter import init, starter_files

TODAY = dt.date(2031, 3, 1)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_starter_estate_is_valid_and_gives_no_warning(tmp_path: Path) -> None:
    init(tmp_path / "estate", today=TODAY)
    estate = load_estate(tmp_path / "estate", today=TODAY)
    assert estate.warnings == ()
    assert len(estate.systems) >= 7
    assert estate.guardrails
    assert estate.trials


def test_every_kind_of_principal_is_there_and_may_do_something(tmp_path: Path) -> None:
    init(tmp_path / "estate")
    charters = [part.value for part in load_estate(tmp_path / "estate").charters.values()]
    assert {charter.kind for charter in charters} == set(Kind)
    assert all(charter.grants for charter in charters)


def test_its_charters_hold_for_a_year_from_the_day_they_are_written(tmp_path: Path) -> None:
    init(tmp_path / "estate", today=TODAY)
    for part in load_estate(tmp_path / "estate").charters.values():
        assert part.value.approved.on == TODAY
        assert part.value.expires == dt.date(2032, 2, 29)


def test_each_verdict_is_expected_by_some_test(tmp_path: Path) -> None:
    init(tmp_path / "estate")
    trials = [part.value for part in load_estate(tmp_path / "estate").trials]
    assert {trial.expect.value for trial in trials} == {"allow", "deny", "escalate"}
    tried = {trial.principal for trial in trials}
    assert tried == set(load_estate(tmp_path / "estate").charters)


def test_what_the_patterns_comments_promise_works(tmp_path: Path) -> None:
    init(tmp_path / "estate")
    patterns = load_estate(tmp_path / "estate").patterns
    for name, part in patterns.items():
        text = (tmp_path / "estate" / part.path).read_text(encoding="utf-8")
        words = next(line for line in text.splitlines() if "charter new" in line).split()
        given = dict(word.split("=") for word in words if "=" in word)
        assert words[words.index("new") + 1] == name
        target = tmp_path / "estate/principals" / f"{given['principal']}.yaml"
        target.write_text(render(part.value, given, TODAY), encoding="utf-8")
    assert len(load_estate(tmp_path / "estate").charters) == len(Kind) + len(patterns)


def test_the_data_folder_is_kept_out_of_git(tmp_path: Path) -> None:
    init(tmp_path / "estate")
    assert ".charter/" in (tmp_path / "estate/.gitignore").read_text(encoding="utf-8").splitlines()


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    assert sorted(map(str, init(tmp_path / "estate"))) == files_in(tmp_path / "estate")
    assert [path.name for path in tmp_path.iterdir()] == ["estate"]


def test_an_empty_folder_and_one_with_git_are_written_into(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cloned/.git").mkdir(parents=True)
    assert init(tmp_path / "empty") == init(tmp_path / "cloned")


@pytest.mark.parametrize("there", ["teams.yaml", ".hidden", "folder/x"])
def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path, there: str) -> None:
    (tmp_path / "estate" / there).parent.mkdir(parents=True)
    (tmp_path / "estate" / there).write_text("mine", encoding="utf-8")
    with pytest.raises(ConflictError, match="is there already and not empty"):
        init(tmp_path / "estate")
    assert files_in(tmp_path / "estate") == [there]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "estate").write_text("mine", encoding="utf-8")
    with pytest.raises(ConflictError):
        init(tmp_path / "estate")


@pytest.mark.parametrize("exists", [False, True])
def test_a_write_that_fails_midway_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    too_long = starter_files() | {"tests/" + "x" * 300: "no file system takes this name"}
    monkeypatch.setattr(starter, "starter_files", lambda _today: too_long)
    if exists:
        (tmp_path / "estate").mkdir()
    with pytest.raises(UnavailableError, match="cannot be written"):
        init(tmp_path / "estate")
    assert files_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == (["estate"] if exists else [])
