"""Our own authorities: made, replaced in time, published before they sign, kept through restarts, on both databases."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509

from charter.adapters.tables import trust_bundle, x509_authority
from charter.core.canonical import canonical
from charter.core.entropy import SystemEntropy
from charter.core.errors import IntegrityError, UnauthenticatedError
from charter.core.values import SpiffeId
from charter.identity.bundle import parse_bundle
from charter.identity.keys import KeyState, KeyUse, new_p256_secret, p256_key
from charter.identity.period import USUAL
from charter.identity.spiffe import verify_x509_svid
from charter.identity.trust import Trust
from charter.identity.x509_authority import (
    OVERLAP,
    ROOT_LIFE,
    SVID_LIFE,
    Authority,
    AuthorityRole,
)
from charter.identity.x509_profile import Origin, SvidPlan, sign_svid
from identity_stage import Stage
from trust_stage import TRUST_DOMAIN, a_trust, open_trust

ACTOR = "maria@example.com"


def svid(stage: Stage, trust: Trust, life: dt.timedelta = SVID_LIFE) -> list[bytes]:
    """Return an X.509-SVID of a workload, as it is issued now."""
    issuer, now = trust.authorities.issuer(), stage.clock.now()
    public = p256_key(new_p256_secret(stage.entropy)).public_key()
    name = SpiffeId(TRUST_DOMAIN, "/production/agent/refund-agent")
    plan = SvidPlan(name, public, 1, now, min(now + life, issuer.ends), Origin("c" * 43, 3))
    return [sign_svid(plan, issuer.form, issuer.key), issuer.der]


def check(stage: Stage, trust: Trust, chain: list[bytes]) -> Origin | None:
    return verify_x509_svid(chain, bundles=trust.bundles, at=stage.clock.now()).origin


def kept(stage: Stage) -> list[Authority]:
    return stage.database.read(lambda tx: tx.trust.authorities(TRUST_DOMAIN))


def tend(stage: Stage, trust: Trust) -> None:
    stage.database.write(trust.tend)


def rotate(stage: Stage, trust: Trust, *, at_once: bool = False) -> Authority:
    return stage.database.write(lambda tx: trust.rotate_root(tx, actor=ACTOR, reason="a test", at_once=at_once))


def test_a_start_makes_a_root_one_that_follows_and_an_intermediate(tmp_path: Path, database_url: str) -> None:
    with a_trust(tmp_path, url=database_url, entropy=SystemEntropy()) as (stage, trust):
        states = sorted((a.role.value, a.state.value) for a in kept(stage))
        assert states == [("x509-intermediate", "active"), ("x509-root", "active"), ("x509-root", "next")]
        assert check(stage, trust, svid(stage, trust)) == Origin("c" * 43, 3)
        again = parse_bundle(TRUST_DOMAIN, canonical(trust.own.document()))
        assert again == trust.own
        assert (trust.own.sequence, len(trust.own.x509_authorities), len(trust.own.jwt_authorities)) == (1, 2, 2)
        assert [e["body"]["role"] for e in stage.entries("authority.rotated")] == ["x509-root", "x509-intermediate"]


def test_a_restart_makes_nothing_new(tmp_path: Path, database_url: str) -> None:
    with a_trust(tmp_path, url=database_url, entropy=SystemEntropy()) as (stage, trust):
        chain, before = svid(stage, trust), (kept(stage), trust.own)
        again = open_trust(stage)
        assert (kept(stage), again.own) == before
        assert check(stage, again, chain) is not None


def test_certificates_say_what_the_standard_asks(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        leaf, issuer = (x509.load_der_x509_certificate(each) for each in svid(stage, trust))
    root = trust.own.x509_authorities[0]
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}")])
    for authority, depth in ((root, 1), (issuer, 0)):
        assert authority.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == uri
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, depth)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (names.critical, list(leaf.subject)) == (True, [])
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).critical
    assert root.subject != issuer.subject


def test_a_next_root_is_published_before_it_signs_and_an_old_one_until_all_it_signed_has_ended(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        signing = trust.authorities.issuer().certificate.issuer
        old, following = sorted(trust.own.x509_authorities, key=lambda root: root.subject != signing)
        chain = svid(stage, trust)
        rotate(stage, trust)
        assert trust.own.sequence == 2
        assert {old, following} < set(trust.own.x509_authorities)
        assert trust.authorities.issuer().certificate.issuer == following.subject
        stage.clock.advance(seconds=SVID_LIFE.total_seconds() - 1)
        assert check(stage, trust, chain) is not None
        tend(stage, trust)
        assert old in trust.own.x509_authorities
        stage.clock.advance(seconds=OVERLAP.total_seconds())
        tend(stage, trust)
        assert old not in trust.own.x509_authorities
        assert trust.own.sequence == 3


def test_a_root_taken_out_at_once_is_worthless_with_the_commit(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        chain = svid(stage, trust)
        rotate(stage, trust, at_once=True)
        with pytest.raises(UnauthenticatedError, match="does not lead"):
            check(stage, trust, chain)
        assert check(stage, trust, svid(stage, trust)) is not None
        assert stage.entries("authority.rotated")[-2]["body"]["at_once"] is True


def test_authorities_follow_each_other_in_time_for_years(tmp_path: Path) -> None:
    """Every SVID verifies until it ends, whatever is replaced meanwhile."""
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        began = stage.clock.now()
        while stage.clock.now() < began + 3 * USUAL["x509-root"]:
            chain = svid(stage, trust)
            stage.clock.advance(seconds=SVID_LIFE.total_seconds() - 1)
            tend(stage, trust)
            assert check(stage, trust, chain) is not None
            stage.clock.advance(days=3)
            tend(stage, trust)
        roots = [a for a in kept(stage) if a.role is AuthorityRole.ROOT]
        signed = [a for a in kept(stage) if a.role is AuthorityRole.INTERMEDIATE]
    assert [a.state for a in roots].count(KeyState.RETIRED) == 2
    assert len(signed) >= 3 * USUAL["x509-root"] / (USUAL["x509-intermediate"] + dt.timedelta(days=4))
    assert all(a.sealed == "" for a in (*roots, *signed) if a.state in (KeyState.RETIRING, KeyState.RETIRED))


def test_a_charter_that_slept_for_years_makes_fresh_roots(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, _):
        stage.clock.advance(seconds=(ROOT_LIFE * 2).total_seconds())
        stage.database.write(stage.ring.ensure)
        trust = open_trust(stage)
        assert check(stage, trust, svid(stage, trust)) is not None
        assert all(each.not_valid_after_utc > stage.clock.now() for each in trust.own.x509_authorities)


def test_keys_of_jwt_svids_follow_each_other_and_the_bundle_with_them(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        seen = {stage.ring.token_key(KeyUse.JWT_SVID).id}
        for _ in range(100):
            known = trust.own.jwt_authorities
            stage.clock.advance(days=1)
            stage.database.write(stage.ring.retire_due)
            tend(stage, trust)
            signing = stage.ring.token_key(KeyUse.JWT_SVID).id
            assert signing in known
            seen.add(signing)
        assert len(seen) == 4
        assert len(trust.own.jwt_authorities) <= 3


def test_the_number_of_the_bundle_rises_with_every_change_and_never_else(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        for expected in (1, 1, 1):
            tend(stage, trust)
            stage.database.write(lambda tx: trust.rotate_intermediate(tx, actor=ACTOR, reason="a test"))
            assert open_trust(stage).own.sequence == expected
        for expected in (2, 3, 4):
            stage.database.write(lambda tx: trust.rotate_jwt_key(tx, actor=ACTOR, reason="a test"))
            assert trust.own.sequence == expected
        assert [e["body"]["sequence"] for e in stage.entries("bundle.changed")] == [1, 2, 3, 4]


def test_a_private_half_never_shows_itself(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        secret = trust.authorities.issuer().key.private_numbers().private_value
        shown = repr(trust.authorities.issuer()) + repr(kept(stage)) + repr(stage.entries())
    assert str(secret) not in shown
    assert f"{secret:x}" not in shown


def test_an_authority_whose_halves_were_exchanged_stops_the_start(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, trust):
        sealed = kept(stage)[-1].sealed
        stage.database.write(lambda tx: trust.rotate_intermediate(tx, actor=ACTOR, reason="a test"))
        moved = x509_authority.update().where(x509_authority.c.state == "active").values(sealed=sealed)
        stage.database.write(lambda tx: tx.connection.execute(moved) and None)
        with pytest.raises(IntegrityError, match=r"altered, or belongs elsewhere"):
            open_trust(stage)


def test_a_bundle_that_was_altered_stops_the_start(tmp_path: Path) -> None:
    with a_trust(tmp_path, entropy=SystemEntropy()) as (stage, _):
        emptied = trust_bundle.update().values(body=b'{"keys":[]}')
        stage.database.write(lambda tx: tx.connection.execute(emptied) and None)
        with pytest.raises(IntegrityError, match="not what its digest says"):
            open_trust(stage)
