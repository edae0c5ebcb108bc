"""A client replaces its own key at the rotation endpoint: both keys sign, both count for a while, all else stays."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import a_certificate
from charter.bootstrap.transaction import HouseTransaction
from charter.identity.consent import RefreshToken, _is_bound_to
from charter.identity.rotation import Change, replace_by, retire_ended
from charter.registry.charter import CredentialType
from charter.registry.rotation import OVERLAP
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms
from charter.server.oauth_rotation import ROTATE_PATH
from identity_stage import PAYMENTS, ClientKeyPair, Stage, a_stage
from oauth_door import Answer, Door, a_door
from rotation_stage import rotation_request

ROTATING = Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.ALLOWED, rotate_seconds=30 * 86_400, grace_seconds=7 * 86_400)


def rotate(door: Door, stage: Stage, old: ClientKeyPair, new: ClientKeyPair) -> Answer:
    return door.post(ROTATE_PATH, rotation=rotation_request(old, new, stage.clock.now()))


def is_given_a_token(door: Door, stage: Stage, pair: ClientKeyPair) -> bool:
    return door.token(pair.assertion(stage.clock.now()), PAYMENTS).status == 200


def successor(old: ClientKeyPair, algorithm: str = "ES256") -> ClientKeyPair:
    return ClientKeyPair.fresh(old.client_id, algorithm)


@pytest.mark.parametrize(("before", "after"), [("ES256", "ES256"), ("ES256", "EdDSA"), ("EdDSA", "ES256")])
def test_a_client_replaces_its_key_and_both_count_until_the_overlap_is_over(
    tmp_path: Path, before: str, after: str
) -> None:
    with a_stage(tmp_path) as stage:
        door, old = a_door(stage), stage.client("refund-agent", before)
        new = successor(old, after)
        answer = rotate(door, stage, old, new)
        assert answer.status == 200, answer.raw
        ends = int((stage.clock.now() + OVERLAP).timestamp())
        assert (answer.body["thumbprint"], answer.body["replaces"]) == (new.thumbprint, old.thumbprint)
        assert answer.body["replaced_key_ends"] == ends
        assert is_given_a_token(door, stage, old)
        assert is_given_a_token(door, stage, new)
        stage.clock.advance(seconds=OVERLAP.total_seconds())
        assert not is_given_a_token(door, stage, old)
        assert is_given_a_token(door, stage, new)
        stage.database.write(retire_ended)
        assert stage.live.keys[old.thumbprint].standing is Standing.RETIRED
        (told,) = stage.entries("credential.rotated")
        (retired,) = stage.entries("credential.retired")
    assert (told["actor"], told["principal"]) == (old.client_id, old.client_id)
    assert (told["body"]["before_thumbprint"], told["body"]["after_thumbprint"]) == (old.thumbprint, new.thumbprint)
    assert retired["body"]["thumbprint"] == old.thumbprint


def test_a_lost_answer_is_asked_for_again_and_is_the_same(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, old = a_door(stage), stage.client("refund-agent")
        new = successor(old)
        first = rotate(door, stage, old, new)
        stage.clock.advance(seconds=600)
        again = rotate(door, stage, old, new)
        assert (first.status, again.status) == (200, 200)
        assert first.body == again.body
        assert len(stage.entries("credential.rotated")) == 1


def test_a_chain_of_keys_each_replaced_by_the_next(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, pair = a_door(stage), stage.client("refund-agent")
        for _ in range(25):  # more than a principal may have at once: each ends before too many are in use
            following = successor(pair)
            assert rotate(door, stage, pair, following).status == 200
            stage.clock.advance(seconds=OVERLAP.total_seconds())
            stage.database.write(retire_ended)
            pair = following
        assert is_given_a_token(door, stage, pair)
        standings = [key.standing for key in stage.live.keys_of(pair.client_id)]
    assert standings == [Standing.RETIRED] * 25 + [Standing.ACTIVE]


def test_no_more_keys_than_a_principal_may_have_are_in_use_at_once(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, pair = a_door(stage), stage.client("refund-agent")
        answers = []
        for _ in range(11):
            following = successor(pair)
            answers.append(rotate(door, stage, pair, following))
            pair = following if answers[-1].status == 200 else pair
        assert [each.status for each in answers] == [200] * 9 + [503, 503]
        assert answers[-1].body["error"] == "temporarily_unavailable"
        assert is_given_a_token(door, stage, pair)


def test_a_client_is_told_with_its_tokens_when_its_key_is_wanted_replaced(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, old = a_door(stage), stage.client("refund-agent")
        assert "key_rotation_at" not in door.token(old.assertion(stage.clock.now()), PAYMENTS).body
        stage.show(replace(stage.live.principals[old.client_id], terms=ROTATING))
        told = door.token(old.assertion(stage.clock.now()), PAYMENTS).body["key_rotation_at"]
        assert told == int(stage.clock.now().timestamp()) + 29 * 86_400
        new = successor(old)
        assert rotate(door, stage, old, new).status == 200
        replaced = door.token(old.assertion(stage.clock.now()), PAYMENTS).body["key_rotation_at"]
        assert replaced <= stage.clock.now().timestamp()  # another process of the client should read its file again
        assert door.token(new.assertion(stage.clock.now()), PAYMENTS).body["key_rotation_at"] == told


def test_an_overdue_key_counts_through_its_grace_and_no_longer(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, old = a_door(stage), stage.client("refund-agent")
        stage.show(replace(stage.live.principals[old.client_id], terms=ROTATING))
        stage.clock.advance(days=36)
        assert is_given_a_token(door, stage, old)
        stage.clock.advance(days=1)
        answer = door.token(old.assertion(stage.clock.now()), PAYMENTS)
        assert (answer.status, answer.body["error"]) == (400, "unauthorized_client")
        assert "is overdue: its charter lets it count until" in answer.body["error_description"]
        assert rotate(door, stage, old, successor(old)).body["error"] == "unauthorized_client"


def test_a_certificate_may_come_with_the_key_that_it_holds(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, old = a_door(stage), stage.client("refund-agent")
        new, other = successor(old), successor(old)
        key = new.private.get_op_key("sign")
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        der = base64.b64encode(a_certificate(key=key, at=stage.clock.now()).der).decode()
        wrong = rotation_request(old, other, stage.clock.now(), inner={"certificate": der})
        refused = door.post(ROTATE_PATH, rotation=wrong)
        assert (refused.status, refused.body["error"]) == (400, "invalid_client_metadata")
        right = rotation_request(old, new, stage.clock.now(), inner={"certificate": der})
        assert door.post(ROTATE_PATH, rotation=right).status == 200
        assert stage.live.keys[new.thumbprint].certificate == der


def test_what_a_replaced_key_lent_lives_on_and_dies_when_it_is_revoked(tmp_path: Path) -> None:
    """The one question, asked of the past: tests/attacks/test_delegation_chains.py walks whole chains."""
    from charter.identity.authority import _credential_refusal

    with a_stage(tmp_path) as stage:
        old, new = stage.client("refund-agent"), stage.client("refund-agent")
        principal = stage.live.principals[old.client_id]

        def work(tx: HouseTransaction) -> None:
            change = Change("maria@example.com", "due", OVERLAP)
            replace_by(tx, principal, tx.live.keys[old.thumbprint], tx.live.keys[new.thumbprint], change)

        stage.database.write(work)
        stage.clock.advance(seconds=OVERLAP.total_seconds())
        stage.database.write(retire_ended)
        now = stage.clock.now()
        assert _credential_refusal(stage.live, old.thumbprint, principal, now) is not None
        assert _credential_refusal(stage.live, old.thumbprint, principal, now, is_past=True) is None
        stage.live.put_key(replace(stage.live.keys[old.thumbprint], standing=Standing.REVOKED))
        assert _credential_refusal(stage.live, old.thumbprint, principal, now, is_past=True) is not None


def test_a_refresh_token_follows_the_key_it_is_bound_to_and_no_other(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        door, old, other = a_door(stage), stage.client("refund-agent"), stage.client("ledger-agent")
        new = successor(old)
        token = RefreshToken("d", "del_1", old.client_id, "c", PAYMENTS, old.thumbprint, 2**40)
        assert _is_bound_to(stage.live, token, old.thumbprint)
        assert not _is_bound_to(stage.live, token, new.thumbprint)
        assert rotate(door, stage, old, new).status == 200
        assert _is_bound_to(stage.live, token, new.thumbprint)
        for wrong in (None, other.thumbprint, "x"):
            assert not _is_bound_to(stage.live, token, wrong)
        stage.live.put_key(replace(stage.live.keys[old.thumbprint], standing=Standing.REVOKED))
        assert not _is_bound_to(stage.live, token, new.thumbprint)  # it was stolen: whoever follows it may be the thief
        assert _is_bound_to(stage.live, replace(token, bound_to=None), None)
        assert not _is_bound_to(stage.live, replace(token, bound_to=None), new.thumbprint)
