"""Credentials: one key, one principal; and rotating them leaves the identity alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from charter.core.errors import AbsentError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.identity.credential import MAX_KEYS, Registration, SharedKey, register_key, required, revoke_key
from charter.registry.principal import ClientKey
from charter.registry.record import FindingState
from charter.registry.standing import Standing
from identity_stage import ClientKeyPair, Stage, a_stage


def register(stage: Stage, name: str, jwk: object) -> Registration:
    principal = stage.live.principal_named(name)
    assert principal is not None

    def work(tx: Any) -> Registration:
        return register_key(tx, principal, jwk, actor="maria@example.com", reason="new", entropy=stage.entropy)

    return stage.database.write(work)


def revoke(stage: Stage, name: str, key_id: str) -> ClientKey:
    principal = stage.live.principal_named(name)
    assert principal is not None
    return stage.database.write(
        lambda tx: revoke_key(tx, principal, key_id, actor="maria@example.com", reason="laptop lost")
    )


def test_a_registered_key_is_live_durable_and_in_the_evidence(tmp_path: Path, database_url: str) -> None:
    with a_stage(tmp_path, url=database_url) as stage:
        pair = ClientKeyPair.fresh("prn_refund-agent")
        key = required(register(stage, "refund-agent", pair.jwk | {"kid": "laptop"}))
        stored = stage.database.read(lambda tx: tx.identity.key_by_thumbprint(pair.thumbprint))
        (entry,) = stage.entries("credential.registered")
        assert stage.live.keys[pair.thumbprint] == stored == key
        assert stage.live.keys_of("prn_refund-agent") == (key,)
    assert "kid" not in key.jwk
    assert (entry["principal"], entry["actor"]) == ("prn_refund-agent", "maria@example.com")
    assert entry["body"]["thumbprint"] == pair.thumbprint


def test_the_same_key_again_is_the_same_registration(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = ClientKeyPair.fresh("prn_refund-agent")
        first, again = (register(stage, "refund-agent", pair.jwk) for _ in range(2))
        assert first == again
        assert len(stage.entries("credential.registered")) == 1


def test_a_key_offered_for_a_second_principal_is_refused_and_found(tmp_path: Path, database_url: str) -> None:
    with a_stage(tmp_path, url=database_url) as stage:
        pair = stage.client("refund-agent")
        offered = register(stage, "ledger-agent", pair.jwk)
        (finding,) = stage.database.read(lambda tx: tx.registry.findings.in_states())
        (entry,) = stage.entries("finding.opened")
        assert stage.live.keys[pair.thumbprint].principal_id == "prn_refund-agent"
        assert stage.live.keys_of("prn_ledger-agent") == ()
    assert offered == SharedKey(pair.thumbprint, "ledger-agent", "refund-agent", finding.id)
    assert (finding.kind, finding.state) == ("shared-credential", FindingState.OPEN)
    assert entry["body"]["finding"] == finding.id
    assert entry["body"]["principals"] == ["prn_ledger-agent", "prn_refund-agent"]
    with pytest.raises(
        ConflictError, match="this key is `refund-agent`'s and cannot be `ledger-agent`'s too"
    ) as caught:
        required(offered)
    assert caught.value.code is ErrorCode.SHARED_CREDENTIAL


def test_the_same_sharing_is_one_finding(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        both = [register(stage, "ledger-agent", pair.jwk) for _ in range(2)]
        assert both[0] == both[1]
        assert len(stage.entries("finding.opened")) == 1


def test_a_revoked_key_stays_its_first_owners(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        revoke(stage, "refund-agent", pair.thumbprint)
        assert isinstance(register(stage, "ledger-agent", pair.jwk), SharedKey)
        with pytest.raises(ConflictError, match="is revoked"):
            register(stage, "refund-agent", pair.jwk)


def test_a_key_hidden_under_other_descriptions_is_still_the_same_key(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        disguised = dict(reversed((pair.jwk | {"kid": "another", "use": "sig", "alg": "ES256"}).items()))
        assert isinstance(register(stage, "ledger-agent", disguised), SharedKey)


def test_rotating_a_credential_leaves_the_identity_untouched(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        before = stage.live.principal_named("refund-agent")
        old = stage.client("refund-agent")
        new = stage.client("refund-agent")
        revoke(stage, "refund-agent", old.thumbprint)
        assert stage.live.principal_named("refund-agent") is before
        assert stage.database.read(lambda tx: tx.registry.principal("prn_refund-agent")) == before
        standings = {k.thumbprint: k.standing for k in stage.live.keys_of("prn_refund-agent")}
    assert standings == {old.thumbprint: Standing.REVOKED, new.thumbprint: Standing.ACTIVE}


def test_a_revocation_is_recorded_and_final(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        revoked = revoke(stage, "refund-agent", pair.thumbprint)
        (entry,) = stage.entries("credential.revoked")
        assert (entry["body"]["key"], entry["body"]["reason"]) == (revoked.id, "laptop lost")
        with pytest.raises(ConflictError, match="is revoked already"):
            revoke(stage, "refund-agent", revoked.id)


def test_a_principal_cannot_revoke_what_is_not_its_own(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        with pytest.raises(AbsentError, match="`ledger-agent` has no key"):
            revoke(stage, "ledger-agent", pair.thumbprint)
        assert stage.live.keys[pair.thumbprint].standing is Standing.ACTIVE


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED])
def test_a_principal_that_may_not_act_gets_no_key(tmp_path: Path, standing: Standing) -> None:
    with a_stage(tmp_path) as stage:
        principal = stage.live.principal_named("refund-agent")
        assert principal is not None
        stage.show(replace(principal, standing=standing))
        with pytest.raises(DeniedError, match=f"`refund-agent` is {standing.value}"):
            register(stage, "refund-agent", ClientKeyPair.fresh("x").jwk)
        assert stage.live.keys == {}


def test_a_private_key_is_refused_and_not_kept(tmp_path: Path) -> None:
    private = ECKey.generate_key("P-256").as_dict(private=True)
    with a_stage(tmp_path) as stage:
        with pytest.raises(MalformedError, match="holds its private half, which has now left its owner") as caught:
            register(stage, "refund-agent", private)
        assert stage.live.keys == {}
    assert private["d"] not in f"{caught.value} {caught.value.help}"
    assert private["d"].encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("charter.db*"))


def test_a_principal_has_a_bounded_number_of_active_keys(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pairs = [stage.client("refund-agent") for _ in range(MAX_KEYS)]
        with pytest.raises(ConflictError, match=f"has {MAX_KEYS} active keys already"):
            register(stage, "refund-agent", ClientKeyPair.fresh("x").jwk)
        revoke(stage, "refund-agent", pairs[0].thumbprint)
        assert isinstance(register(stage, "refund-agent", ClientKeyPair.fresh("x").jwk), ClientKey)
