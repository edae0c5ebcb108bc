"""The ring of signing keys: made once, opened from their seals, rotated with overlap, never forgotten."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.identity_store import SqlIdentity
from charter.core.entropy import SystemEntropy
from charter.core.errors import IntegrityError
from charter.core.keys import verify_ed25519
from charter.identity.keys import OVERLAP, KeyRing, KeyState, KeyUse
from charter.identity.period import USUAL
from databases import ORIGIN
from identity_stage import Stage, a_stage, an_envelope


def rotate(stage: Stage, use: KeyUse) -> str:
    done = stage.database.write(lambda tx: stage.ring.rotate(tx, use, actor="maria@example.com", reason="due"))
    return done.id


def reopened(stage: Stage) -> KeyRing:
    """Return a ring read anew from the database, as after a restart."""
    ring = KeyRing(stage.envelope, stage.entropy)
    keys = stage.database.read(lambda tx: tx.identity.signing_keys())
    ring.show(keys)
    return ring


def test_each_use_gets_an_active_and_a_next_key_and_the_log_says_so(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        keys = stage.database.read(lambda tx: tx.identity.signing_keys())
        told = stage.entries("key.rotated")
        opened = stage.entries("log.opened")
    states = sorted((key.use, key.state) for key in keys)
    assert states == [(use, state) for use in sorted(KeyUse) for state in (KeyState.ACTIVE, KeyState.NEXT)]
    assert {entry["body"]["use"] for entry in told} == set(KeyUse) - {KeyUse.EVIDENCE}
    active = next(k for k in keys if k.use is KeyUse.EVIDENCE and k.state is KeyState.ACTIVE)
    assert opened[0]["body"]["key_id"] == active.id


def test_a_restart_makes_nothing_new(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        before = stage.ring.token_key().id, stage.ring.evidence_public(ORIGIN), stage.ring.signer("charter").key_id
    with a_stage(tmp_path, "another-agent") as stage:
        after = stage.ring.token_key().id, stage.ring.evidence_public(ORIGIN), stage.ring.signer("charter").key_id
        assert len(stage.database.read(lambda tx: tx.identity.signing_keys())) == 2 * len(KeyUse)
    assert before == after


def test_a_key_of_jwt_svids_verifies_no_access_token(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        now = stage.clock.now()
        svid_keys = stage.ring.verifiers(KeyUse.JWT_SVID, now)
        assert len(svid_keys) == 2
        assert stage.ring.token_key(KeyUse.JWT_SVID).id in svid_keys
        assert svid_keys.keys().isdisjoint(key["kid"] for key in stage.ring.jwks(now)["keys"])
        assert all(stage.ring.token_verifier(key_id, now) is None for key_id in svid_keys)


def test_the_next_key_is_published_before_it_signs(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        published = [key["kid"] for key in stage.ring.jwks(stage.clock.now())["keys"]]
        assert len(published) == 2
        assert rotate(stage, KeyUse.TOKEN) in published


def test_a_rotated_token_key_verifies_through_its_overlap_and_no_longer(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        old = stage.ring.token_key().id
        new = rotate(stage, KeyUse.TOKEN)
        assert (stage.ring.token_key().id, new) == (new, new)
        now = stage.clock.now()
        just_before = now + OVERLAP - dt.timedelta(microseconds=1)
        assert stage.ring.token_verifier(old, just_before) is not None
        assert stage.ring.token_verifier(old, now + OVERLAP) is None
        assert old in [key["kid"] for key in stage.ring.jwks(just_before)["keys"]]
        assert old not in [key["kid"] for key in stage.ring.jwks(now + OVERLAP)["keys"]]


def test_the_key_of_access_tokens_is_replaced_by_itself_and_published_long_before(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        for _ in range(3):
            before, waiting = stage.ring.token_key().id, stage.ring.waiting(KeyUse.TOKEN)
            assert waiting is not None
            assert waiting.id in [key["kid"] for key in stage.ring.jwks(stage.clock.now())["keys"]]
            stage.clock.at = waiting.created_at + USUAL["token"] - dt.timedelta(seconds=1)
            stage.database.write(stage.ring.tend)
            assert stage.ring.token_key().id == before
            stage.clock.advance(seconds=1)
            stage.database.write(stage.ring.tend)
            assert stage.ring.token_key().id == waiting.id
            assert stage.ring.token_verifier(before, stage.clock.now()) is not None
        assert [each["body"]["reason"] for each in stage.entries("key.rotated")[-3:]] == ["due"] * 3


def test_a_rotation_is_recorded_with_who_and_why(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        old = stage.ring.token_key().id
        new = rotate(stage, KeyUse.TOKEN)
        entry = stage.entries("key.rotated")[-1]
        feed = stage.database.read(lambda tx: tx.connection.execute(sa.select(t.feed)).all())
    assert (entry["actor"], entry["body"]["reason"]) == ("maria@example.com", "due")
    assert (entry["body"]["before"], entry["body"]["after"]) == (old, new)
    assert (feed[-1].kind, feed[-1].subject, feed[-1].actor) == ("signing-key", new, "maria@example.com")


def test_a_key_that_signs_no_more_keeps_no_private_half(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        for use in KeyUse:
            rotate(stage, use)
        kept = stage.database.read(lambda tx: tx.identity.signing_keys())
    assert {key.sealed == "" for key in kept if key.state is KeyState.RETIRING} == {True}
    assert {key.sealed == "" for key in kept if key.state in (KeyState.ACTIVE, KeyState.NEXT)} == {False}


def test_a_key_is_retired_once_its_overlap_is_over(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        rotate(stage, KeyUse.TOKEN)
        assert stage.database.write(stage.ring.retire_due) == 0
        stage.clock.advance(seconds=OVERLAP.total_seconds())
        assert stage.database.write(stage.ring.retire_due) == 1
        states = [k.state for k in stage.database.read(lambda tx: tx.identity.signing_keys()) if k.use is KeyUse.TOKEN]
    assert sorted(states) == [KeyState.ACTIVE, KeyState.NEXT, KeyState.RETIRED]


@pytest.mark.parametrize("use", [KeyUse.EVIDENCE, KeyUse.CHARTER])
def test_every_public_key_that_ever_signed_is_kept(tmp_path: Path, use: KeyUse) -> None:
    with a_stage(tmp_path) as stage:
        origin = ORIGIN if use is KeyUse.EVIDENCE else None
        signer, made = stage.ring.signer(use, origin), []
        for _ in range(3):
            made.append((signer.key_id, signer.sign(b"what was said")))
            rotate(stage, use)
            stage.clock.advance(days=1)
        stage.database.write(stage.ring.retire_due)
        publics = reopened(stage).publics(use, origin)
    assert len(publics) == 4
    for key_id, signature in made:
        verify_ed25519(publics[key_id], b"what was said", signature, "it")


def test_a_signer_follows_the_rotation(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        signer = stage.ring.signer("charter")
        before = signer.key_id
        after = rotate(stage, KeyUse.CHARTER)
        assert (signer.key_id, before != after) == (after, True)
        verify_ed25519(signer.public, b"x", signer.sign(b"x"), "it")


def test_nothing_changes_in_memory_before_the_rotation_is_durable(tmp_path: Path) -> None:
    def fails(tx: Any) -> None:
        stage.ring.rotate(tx, KeyUse.TOKEN, actor="maria@example.com", reason="due")
        raise GivenUpError

    class GivenUpError(Exception):
        pass

    with a_stage(tmp_path) as stage:
        before = stage.ring.token_key().id
        with pytest.raises(GivenUpError):
            stage.database.write(fails)
        assert stage.ring.token_key().id == before
        assert reopened(stage).token_key().id == before


def test_a_missing_key_is_a_clear_error(tmp_path: Path) -> None:
    ring = KeyRing(an_envelope(tmp_path, SystemEntropy()), SystemEntropy())
    with pytest.raises(IntegrityError, match="there is no active token key"):
        ring.token_key()
    with pytest.raises(IntegrityError, match="there is no active evidence key of the log"):
        ring.evidence_public(ORIGIN)
    with pytest.raises(IntegrityError, match="there is no active charter key"):
        ring.signer("charter")


def test_another_master_key_stops_the_start_with_the_reason(tmp_path: Path) -> None:
    with a_stage(tmp_path):
        pass
    (tmp_path / "master.key").write_bytes(b"k" * 32)
    with (
        pytest.raises(IntegrityError, match="are wrapped under the master `local:"),
        a_stage(tmp_path, "another-agent"),
    ):
        pass


@pytest.mark.parametrize("column", ["public", "sealed"])
def test_keys_whose_halves_were_exchanged_stop_the_start(tmp_path: Path, column: str) -> None:
    """Someone who can write the table puts the next key's half in the active one's place."""
    with a_stage(tmp_path) as stage:
        keys = stage.database.read(lambda tx: tx.identity.signing_keys())
        active, other = (
            next(k for k in keys if k.use is KeyUse.TOKEN and k.state is state)
            for state in (KeyState.ACTIVE, KeyState.NEXT)
        )

        def exchange(tx: Any) -> None:
            c = t.signing_key.c
            found = tx.connection.execute(sa.select(c[column]).where(c.id == other.id)).scalar_one()
            tx.connection.execute(t.signing_key.update().where(c.id == active.id).values({column: found}))

        stage.database.write(exchange)
        with pytest.raises(IntegrityError, match=r"do not belong together|was altered, or belongs elsewhere"):
            reopened(stage)


def test_no_private_half_stands_in_the_database_or_shows_itself(tmp_path: Path) -> None:
    with a_stage(tmp_path, entropy=SystemEntropy()) as stage:
        keys = stage.database.read(lambda tx: tx.identity.signing_keys())
        secrets = [stage.envelope.unseal(key.sealed, key.context).reveal() for key in keys]
        shown = repr(stage.ring.token_key()) + repr(keys) + repr(stage.ring.signer("charter"))
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("charter.db*"))
    for secret in secrets:
        assert secret not in stored
        assert secret.hex() not in shown


def test_begin_is_safe_to_repeat(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        again = KeyRing(stage.envelope, stage.entropy)

        def begin(tx: Any) -> bytes:
            return again.begin(SqlIdentity(tx.connection), ORIGIN, tx.at).public

        assert stage.database.write(begin) == stage.ring.evidence_public(ORIGIN)
