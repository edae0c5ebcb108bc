"""Envelope encryption: data keys under a master, seals under data keys; rotation of both loses nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters import tables as t
from charter.adapters.custody import NOTE, NodeCustody
from charter.adapters.master_local import LocalMaster
from charter.adapters.seal_store import SEALED
from charter.bootstrap.house import House
from charter.bootstrap.keys import Keys
from charter.core.entropy import SystemEntropy
from charter.core.errors import CharterError, ConflictError, IntegrityError, MalformedError
from charter.core.values import Secret
from charter.identity.envelope import DataKeyState
from charter.identity.period import USUAL
from houses import Stage, a_house
from masters import KINDS, a_machine

WHO: dict[str, str] = {"actor": "maria@example.com", "reason": "due"}


@contextlib.contextmanager
def a_stage(folder: Path, master: str | None = None) -> Iterator[Stage]:
    """Open a house without an estate of interest."""
    with a_house(folder, master=master) as stage:
        yield stage


def data_folder(folder: Path) -> Path:
    return folder / ".charter"


def rotate_data(stage: Stage) -> str:
    return stage.house.keys.rotate_data(stage.house.database, **WHO).id


def rotate_master(stage: Stage, to: str | None = None) -> dict[str, Any]:
    return stage.house.keys.rotate_master(stage.house.database, to, **WHO)


def reseal(stage: Stage, limit: int = 100) -> int:
    return stage.house.database.write(lambda tx: stage.house.keys.envelope.reseal(tx, limit))


def kept(house: House) -> list[str]:
    """Return every sealed value, as it stands in its table."""
    return [seal.sealed for seal in house.database.read(lambda tx: tx.seals.after(None, 1000))]


def everything_opens(house: House) -> int:
    """Open every seal there is; return how many there are."""
    seals = house.database.read(lambda tx: tx.seals.after(None, 1000))
    for seal in seals:
        house.keys.envelope.unseal(seal.sealed, seal.context)
    return len(seals)


def raw(folder: Path, statement: str, **values: Any) -> None:
    """Write to the database as someone who has its file."""
    engine = sa.create_engine(f"sqlite:///{data_folder(folder) / 'charter.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text(statement), values)
    engine.dispose()


# --- the tables ---


def test_every_column_called_sealed_is_known_to_rotation() -> None:
    """A table that is left out would be passed over, and lose the key its values rest on."""
    has_one = {table.name for table in t.metadata.tables.values() if "sealed" in table.c}
    assert {each.table.name for each in SEALED} == has_one


# --- seals ---


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=100), st.text(max_size=40), st.data())
def test_what_is_sealed_opens_for_its_own_context_and_no_change_goes_unseen(
    envelope: Any, secret: bytes, context: str, data: st.DataObject
) -> None:
    sealed = envelope.seal(Secret(secret), context)
    assert envelope.unseal(sealed, context).reveal() == secret
    assert envelope.seal(Secret(secret), context) != sealed
    with pytest.raises(IntegrityError):
        envelope.unseal(sealed, context + "!")
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + data.draw(st.sampled_from("Aa0._-")) + sealed[at + 1 :]
    if changed != sealed:
        with pytest.raises(IntegrityError):
            envelope.unseal(changed, context)


@settings(max_examples=50)
@given(st.text(max_size=80))
def test_no_text_opens_by_chance(envelope: Any, text: str) -> None:
    for each in (text, f"v2.{text}", f"v1.{text}", f"v2.{envelope.active.id}.{text}"):
        with pytest.raises(IntegrityError):
            envelope.unseal(each, "x")


@pytest.fixture(scope="module")
def envelope(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with a_stage(tmp_path_factory.mktemp("envelope")) as stage:
        yield stage.house.keys.envelope


def test_a_seal_moved_to_another_data_key_does_not_open(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        envelope = stage.house.keys.envelope
        sealed, old = envelope.seal(Secret(b"s"), "x"), envelope.active.id
        new = rotate_data(stage)
        with pytest.raises(IntegrityError, match="was altered, or belongs elsewhere"):
            envelope.unseal(sealed.replace(old, new), "x")


# --- data keys ---


def test_a_first_start_makes_one_data_key_and_the_evidence_names_it(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        (key,) = stage.house.keys.envelope.keys
        told = [e["body"] for e in stage.entries("key.rotated") if e["body"]["use"] == "data-key"]
    assert (key.state, told[0]["after"], told[0]["master"]) == (DataKeyState.ACTIVE, key.id, key.master)
    assert key.master.startswith("local:")


def test_what_an_old_data_key_sealed_opens_until_it_is_sealed_anew(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        old = stage.house.keys.envelope.active.id
        new = rotate_data(stage)
        total = everything_opens(stage.house)
        assert reseal(stage, 2) == total - 2
        everything_opens(stage.house)
        assert {s.split(".")[1] for s in kept(stage.house)} == {old, new}
        assert reseal(stage) == 0
        assert {s.split(".")[1] for s in kept(stage.house)} == {new}
        assert [key.id for key in stage.house.keys.envelope.keys] == [new]
    with a_stage(tmp_path) as stage:
        assert everything_opens(stage.house) == total


def test_a_data_key_that_nothing_rests_on_is_given_up(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        old = stage.house.keys.envelope.active.id
        rotate_data(stage)
        reseal(stage)
        rows = {key.id: key for key in stage.house.database.read(lambda tx: tx.data_keys.all())}
    assert (rows[old].state, rows[old].wrapped) == (DataKeyState.RETIRED, "")


def test_a_data_key_is_replaced_by_itself_when_it_is_old(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        keys, old = stage.house.keys, stage.house.keys.envelope.active.id
        keys.tend(stage.house.database)
        assert keys.envelope.active.id == old
        stage.clock.advance(seconds=USUAL["data"].total_seconds())
        keys.tend(stage.house.database)
        assert keys.envelope.active.id != old
        assert {s.split(".")[1] for s in kept(stage.house)} == {keys.envelope.active.id}


def test_a_rotation_is_recorded_with_who_and_why(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        before = stage.house.keys.envelope.active.id
        after = rotate_data(stage)
        first, second = rotate_master(stage), rotate_master(stage)
        *_, data, one, two = stage.entries("key.rotated")
    assert (data["actor"], data["body"]["before"], data["body"]["after"]) == ("maria@example.com", before, after)
    assert (one["body"]["use"], one["body"]["before"]) == ("master", first["before"]["name"])
    assert (two["body"]["before"], two["body"]["after"]) == (first["after"]["name"], second["after"]["name"])


def test_nothing_changes_in_memory_before_a_rotation_is_durable(tmp_path: Path) -> None:
    class GivenUpError(Exception):
        pass

    def fails(tx: Any) -> None:
        stage.house.keys.envelope.rotate(tx, fresh, **WHO)
        raise GivenUpError

    with a_stage(tmp_path) as stage:
        before = stage.house.keys.envelope.active.id
        fresh = stage.house.keys.envelope.fresh(stage.clock.now())
        with pytest.raises(GivenUpError):
            stage.house.database.write(fails)
        assert stage.house.keys.envelope.active.id == before
        everything_opens(stage.house)


# --- the master ---


def test_a_new_master_in_the_same_file_opens_everything_and_the_old_one_nothing(tmp_path: Path) -> None:
    file = data_folder(tmp_path) / "master.key"
    with a_stage(tmp_path) as stage:
        old = file.read_bytes()
        answer = rotate_master(stage)
        assert file.read_bytes() != old
        assert answer["before"]["name"] != answer["after"]["name"]
        assert sorted(p.name for p in file.parent.glob("master*")) == ["master.key"]
        everything_opens(stage.house)
        rotate_data(stage)
    with a_stage(tmp_path) as stage:
        everything_opens(stage.house)
    file.write_bytes(old)
    with pytest.raises(IntegrityError, match="are wrapped under the master `local:") as caught, a_stage(tmp_path):
        pass
    assert "lost or exchanged" in str(caught.value.help)


@pytest.mark.slow
@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("start", ["file", "environment", "aws-kms"])
def test_the_master_moves_between_kinds_while_everything_runs(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, start: str, to: str
) -> None:
    machine = a_machine(tmp_path, request, tuple({start, to}))
    first, second = machine.another(start), machine.another(to)
    for name, value in machine.variables.items():
        monkeypatch.setenv(name, value)
    with a_stage(tmp_path, first) as stage:
        total = everything_opens(stage.house)
        answer = rotate_master(stage, second)
        assert (answer["before"]["kind"], answer["after"]["kind"], answer["setting"]) == (start, to, second)
        rotate_data(stage)
    for setting in (first, second, None):  # a setting that was not changed yet, one that was, and none
        with a_stage(tmp_path, setting) as stage:
            assert everything_opens(stage.house) == total
            assert stage.house.keys.envelope.master.kind == to
            assert stage.house.keys.custody.agrees(stage.house.keys.envelope.master.name) == (setting != first)


def test_a_rotation_needs_a_place_where_charter_makes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_MASTER_KEY", "ab" * 32)
    with a_stage(tmp_path, "environment") as stage:
        with pytest.raises(MalformedError, match="cannot make another key in the variable"):
            rotate_master(stage)
        with pytest.raises(ConflictError, match="is the master already"):
            rotate_master(stage, "environment")
        with pytest.raises(IntegrityError, match="holds no master key"):
            rotate_master(stage, "environment:CHARTER_MASTER_KEY_2")
        with pytest.raises(IntegrityError, match="there is no PIN"):
            rotate_master(stage, "pkcs11:token=a;object=b?module-path=/no/such.so&pin-source=/no/such.pin")
        everything_opens(stage.house)
    with a_stage(tmp_path, "environment") as stage:
        everything_opens(stage.house)


def test_only_one_change_of_master_is_under_way(tmp_path: Path) -> None:
    with (
        a_stage(tmp_path) as stage,
        stage.house.keys.custody.change(),
        pytest.raises(ConflictError, match="being changed already"),
    ):
        rotate_master(stage)


# --- whatever instant it dies at ---

STEPS: dict[str, Callable[[Any, pytest.MonkeyPatch], None]] = {}


class KilledError(Exception):
    """The process ends here."""


def dies(owner: Any, name: str, *, after: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the process end before or after `owner.name` is carried out."""

    def install(patch: pytest.MonkeyPatch) -> None:
        real = getattr(owner, name)

        def step(*arguments: Any, **named: Any) -> Any:
            if after:
                real(*arguments, **named)
            raise KilledError

        patch.setattr(owner, name, step)

    return install


def _instants() -> dict[str, Callable[[pytest.MonkeyPatch], None]]:
    from charter.adapters import custody, master_place, whole_file
    from charter.identity.envelope import Envelope

    points = [
        (NodeCustody, "prepare"),
        (NodeCustody, "_write_note"),
        (master_place, "make_key"),
        (whole_file, "_finish"),
        (Envelope, "wrapped_under"),
        (Envelope, "rewrap"),
        (NodeCustody, "settle"),
        (custody, "put_key"),
    ]
    return {
        f"{'after' if after else 'before'} {name}": dies(owner, name, after=after)
        for owner, name in points
        for after in (False, True)
    }


@pytest.mark.parametrize("instant", _instants())
@pytest.mark.parametrize("to", [None, "file:{}/other.key"])
def test_a_change_of_master_that_dies_anywhere_loses_nothing(tmp_path: Path, instant: str, to: str | None) -> None:
    place = to.format(tmp_path) if to else None
    with a_stage(tmp_path) as stage:
        total = everything_opens(stage.house)
        with pytest.MonkeyPatch.context() as patch:
            # What runs after the kill in a test would not run: neither settling nor clearing up.
            _instants()[instant](patch)
            patch.setattr(Keys, "rotate_master", _without_finally)
            with contextlib.suppress(KilledError):
                rotate_master(stage, place)
    with a_stage(tmp_path) as stage:
        assert everything_opens(stage.house) == total
        rotate_data(stage)
        rotate_master(stage)
    with a_stage(tmp_path) as stage:
        assert everything_opens(stage.house) == total
    assert not list(tmp_path.rglob("*.next"))


def _without_finally(keys: Any, database: Any, to: str | None, **who: str) -> dict[str, Any]:
    """The steps of `Keys.rotate_master`, without what a killed process does no more."""
    master = keys.custody.prepare(keys.envelope.master.name, to)
    wrapped = keys.envelope.wrapped_under(master)
    database.write(lambda tx: keys.envelope.rewrap(tx, master, wrapped, **who))
    keys.custody.settle(keys.envelope.master.name)
    return {}


ROTATING = """
import sys
from pathlib import Path
from charter.bootstrap.building import build
from charter.config import Settings
house = build(Settings(estate=Path(sys.argv[1])))
keys = house.keys
print("up", flush=True)
while True:
    keys.rotate_master(house.database, None, actor="maria@example.com", reason="due")
    keys.rotate_data(house.database, actor="maria@example.com", reason="due")
    house.database.write(lambda tx: keys.envelope.reseal(tx, 2))
    print("turned", flush=True)
"""


def test_kill_9_while_keys_rotate_loses_nothing(tmp_path: Path) -> None:
    from charter.bootstrap.building import build
    from charter.config import Settings

    turns = 0
    for round_ in range(5):
        child = subprocess.Popen([sys.executable, "-c", ROTATING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(2 + round_):  # "up", then whole turns; the kill falls somewhere into the next one
            turns += child.stdout.readline() == "turned\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        house = build(Settings(estate=tmp_path), entropy=SystemEntropy())
        try:
            assert everything_opens(house) >= 6
        finally:
            house.database.close()
            house.folder.close()
    assert turns >= 10


# --- what was sealed before there were data keys ---


def _as_first_release(stage: Stage, folder: Path) -> None:
    """Put the tables into the state of the first release: seals of the form v1, no data keys."""
    master = LocalMaster.of("file", "it", Secret((data_folder(folder) / "master.key").read_bytes()), SystemEntropy())

    def back(tx: Any) -> None:
        for seal in tx.seals.after(None, 1000):
            secret = stage.house.keys.envelope.unseal(seal.sealed, seal.context)
            assert tx.seals.exchange(seal, master.seal(secret, seal.context))
        tx.connection.execute(t.data_key.delete())

    stage.house.database.write(back)


def test_seals_of_the_first_release_go_forward_at_the_start(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        _as_first_release(stage, tmp_path)
        assert {s[:3] for s in kept(stage.house)} == {"v1."}
        before = stage.house.ring.token_key().id
    with a_stage(tmp_path) as stage:
        assert {s[:3] for s in kept(stage.house)} == {"v2."}
        assert stage.house.ring.token_key().id == before
        everything_opens(stage.house)


def test_a_lost_master_of_the_first_release_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        _as_first_release(stage, tmp_path)
    (data_folder(tmp_path) / "master.key").unlink()
    with pytest.raises(IntegrityError, match="holds no master key"), a_stage(tmp_path):
        pass
    assert not (data_folder(tmp_path) / "master.key").exists()


# --- lost and exchanged, told apart from altered ---


def test_a_lost_master_is_told_and_not_replaced(tmp_path: Path) -> None:
    with a_stage(tmp_path):
        pass
    file = data_folder(tmp_path) / "master.key"
    file.unlink()
    with pytest.raises(IntegrityError, match=r"master\.key` holds none") as caught, a_stage(tmp_path):
        pass
    assert "lost or exchanged" in str(caught.value.help)
    assert not file.exists()


def test_an_exchanged_master_is_told_with_both_names(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        name = stage.house.keys.envelope.master.name
    (data_folder(tmp_path) / "master.key").write_bytes(b"k" * 32)
    said = f"wrapped under the master `{name}`, but .*master.key` is `local:"
    with pytest.raises(IntegrityError, match=said), a_stage(tmp_path):
        pass


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE data_key SET wrapped = substr(wrapped, 5) || substr(wrapped, 1, 4)", "it was altered"),
        ("UPDATE data_key SET id = 'dek_zzzz' || substr(id, 9)", "it was altered|is not kept here"),
        ("UPDATE data_key SET state = 'superseded'", "0 active data keys"),
        ("DELETE FROM data_key", "none is kept"),
        (
            "UPDATE signing_key SET sealed = substr(sealed, 1, 34) || substr(sealed, 39) || substr(sealed, 35, 4)",
            "was altered",
        ),
        ("UPDATE signing_key SET sealed = (SELECT max(sealed) FROM signing_key)", "was altered, or belongs elsewhere"),
        ("UPDATE data_key SET master = 'local:0000000000000000'", "wrapped under the master `local:0000"),
    ],
)
def test_tampering_with_rows_is_told_as_such(tmp_path: Path, statement: str, said: str) -> None:
    with a_stage(tmp_path):
        pass
    raw(tmp_path, statement)
    with pytest.raises(IntegrityError, match=said), a_stage(tmp_path):
        pass


def test_rows_cannot_name_a_master_of_their_own(tmp_path: Path) -> None:
    """Someone who can write the database puts keys there, wrapped under a master file that they made."""
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    with a_stage(tmp_path / "theirs") as stage:
        theirs = stage.house.keys.envelope.active
    with a_stage(tmp_path / "ours"):
        pass
    raw(
        tmp_path / "ours",
        "UPDATE data_key SET id = :id, master = :master, wrapped = :wrapped",
        id=theirs.id,
        master=theirs.master,
        wrapped=theirs.wrapped,
    )
    with pytest.raises(IntegrityError, match="are wrapped under the master"), a_stage(tmp_path / "ours"):
        pass


# --- what others get to see ---


def test_the_age_of_keys_and_what_does_not_open_are_told(tmp_path: Path) -> None:
    import asyncio

    from charter.bootstrap import keys

    with a_stage(tmp_path) as stage:
        total = everything_opens(stage.house)
        stage.clock.advance(days=3)
        rotate_data(stage)
        found = asyncio.run(keys.health(stage.house))
        assert (found["opened"], found["broken"]) == (total, [])
        assert [(k["state"], k["seals"]) for k in found["data_keys"]] == [("superseded", total), ("active", 0)]
        assert found["data_keys"][1]["created_at"].startswith("2026-11-27")

        def spoil(tx: Any) -> None:
            row = tx.connection.execute(sa.select(t.signing_key.c.id)).scalar()
            tx.connection.execute(t.signing_key.update().where(t.signing_key.c.id == row).values(sealed="v2.dek_1.A"))

        stage.house.database.write(spoil)
        found = asyncio.run(keys.health(stage.house))
    assert found["opened"] == total - 1
    assert "is not kept here" in found["broken"][0]


def test_no_key_shows_itself_or_stands_in_the_database(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        keys = stage.house.keys
        shown = f"{keys!r} {keys.envelope.keys!r} {keys.envelope._now!r} {keys.envelope.fresh(stage.clock.now())!r}"
        secrets = [secret.reveal() for secret in keys.envelope._now.secrets.values()]
    secrets.append((data_folder(tmp_path) / "master.key").read_bytes())
    stored = b"".join(path.read_bytes() for path in data_folder(tmp_path).glob("charter.db*"))
    for secret in secrets:
        assert secret not in stored
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_a_note_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with a_stage(tmp_path):
        pass
    note = data_folder(tmp_path) / NOTE
    for text in ("{", "[]", '{"master": 1}'):
        note.write_text(text)
        note.chmod(0o600)
        with pytest.raises(CharterError, match="cannot be read"), a_stage(tmp_path):
            pass


def test_age_is_told_in_days() -> None:
    assert USUAL["data"] == dt.timedelta(days=90)
