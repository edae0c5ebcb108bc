"""`charter doctor` on healthy and on broken houses: what is wrong, and how to mend it; mended so, it is healthy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from terminal import AS_OWNER, Terminal

KEY = Path(".charter/master.key")


def faults(terminal: Terminal) -> dict[str, str]:
    """Return what doctor finds wrong, and its advice, by the name of the check."""
    answer = terminal.ask("doctor", expect=1)
    said = terminal.say("doctor", expect=1)
    bad = {check["name"]: check["mend"] for check in answer["checks"] if not check["ok"]}
    assert not answer["ok"]
    assert all(f"→ {name}: {mend}" in said for name, mend in bad.items())
    return bad


def test_a_healthy_house_is_healthy_with_and_without_a_server(estate: Terminal) -> None:
    alone = estate.ask("doctor")
    with estate.up() as server:
        served = estate.ask("doctor")

    assert alone["ok"]
    assert served["ok"]
    assert [c["found"] for c in alone["checks"] if c["name"] == "server"] == ["does not run"]
    assert [c["found"] for c in served["checks"] if c["name"] == "server"] == [f"answers as {server.url}"]
    assert len(served["checks"]) >= 8


def test_a_head_that_is_kept_nowhere_is_a_fault_and_told_beside_the_witnesses(estate: Terminal) -> None:
    gone = estate.folder / "gone"
    keeping = estate.but(CHARTER_CHECKPOINTS=str(gone))

    assert str(gone) in keeping.charter("doctor", expect=1).out
    assert str(gone) in keeping.charter("evidence", "witnesses", expect=1).out


def garble(folder: Path) -> None:
    (folder / ".charter/charter.db").write_text("this is no database\n" * 100, encoding="utf-8")


def lose_key(folder: Path) -> None:
    (folder / KEY).rename(folder / "kept.key")


def find_key(folder: Path) -> None:
    (folder / "kept.key").rename(folder / KEY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "wrong", "advice", "mend"),
    [
        (lambda f: (f / KEY).chmod(0o644), {"master key", "store"}, "chmod 600 ", lambda f: (f / KEY).chmod(0o600)),
        (lose_key, {"store"}, "put the right one back", find_key),
        (garble, {"store"}, "restore the newest backup", None),
        (lambda f: (f / "teams.yaml").rename(f / "team.yaml"), {"estate"}, "mend them and run charter validate", None),
    ],
    ids=["an open key", "a lost key", "a garbled database", "a file that is missing"],
)
def test_a_broken_part_is_named_with_how_to_mend_it(
    estate: Terminal,
    break_it: Callable[[Path], object],
    wrong: set[str],
    advice: str,
    mend: Callable[[Path], object] | None,
) -> None:
    break_it(estate.folder)

    found = faults(estate)

    assert found.keys() == wrong
    assert advice in found[min(found)]
    if mend is not None:
        mend(estate.folder)
        assert estate.ask("doctor")["ok"]


@pytest.mark.slow
def test_a_log_is_not_begun_anew_beside_the_old_one(estate: Terminal) -> None:
    """A database restored without the file that names its node must not hide what stands in its log."""
    size = estate.ask("evidence", "verify")["size"]
    (estate.folder / ".charter" / "node").unlink()

    error = estate.refused("evidence", "verify", expect=7)

    name = error["help"].split("`")[1]
    assert error["help"] == f"put `{name}` back into the data folder's file `node`"
    (estate.folder / ".charter" / "node").write_text(f"{name}\n", encoding="ascii")
    assert estate.ask("evidence", "verify")["size"] == size
    elsewhere = estate.but(CHARTER_TRUST_DOMAIN="other.example").refused("ls", expect=7)
    assert elsewhere["help"] == "set CHARTER_TRUST_DOMAIN back to `charter.local`"


@pytest.mark.slow
def test_a_folder_closed_to_this_account_is_told_and_not_walked_into(estate: Terminal) -> None:
    data = estate.folder / ".charter"
    person = estate.but(before=AS_OWNER)
    data.chmod(0o000)
    try:
        assert faults(person)["server"] == "run charter as the account that runs the server"
        assert person.refused("kill", "note-reader", "--reason", "x", expect=6)["error"] == "store_failed"
    finally:
        data.chmod(0o700)
    assert estate.ask("show", "note-reader")["standing"] == "active"
