"""SVIDs as client authentication: whose they are, for whom they were made, and what outlives a kill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from charter.core.canonical import canonical
from charter.identity.bundle import Bundle
from charter.identity.spiffe import ORIGIN_CLAIM
from charter.identity.x509_profile import ORIGIN_OID
from charter.registry.charter import CredentialType
from charter.registry.declared import SPIFFE
from charter.registry.principal import ClientKey
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms
from charter.server.oauth_spiffe import ASSERTION_TYPE
from identity_stage import ISSUER, PAYMENTS, TOKEN_ENDPOINT, Stage, a_stage
from oauth_door import Answer, Door, a_door
from trust_domains import ForeignDomain

AGENT, LEDGER = "prn_refund-agent", "prn_ledger-agent"
OWN_ID = "spiffe://charter.local/production/agent/refund-agent"
BILLING = "spiffe://partner.example/billing"
SPIFFE_TERMS = Terms(CredentialType.SPIFFE, Bearing.ALLOWED)


@pytest.fixture(scope="module")
def own() -> ForeignDomain:
    return ForeignDomain("charter.local")


@pytest.fixture(scope="module")
def partner() -> ForeignDomain:
    return ForeignDomain("partner.example")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The refund agent proves itself by SVIDs of its own id, the ledger agent by those of the partner's billing."""
    with a_stage(tmp_path) as found:
        for principal_id, members in ((AGENT, {"kty": SPIFFE}), (LEDGER, {"kty": SPIFFE, "id": BILLING})):
            found.show(replace(found.live.principals[principal_id], terms=SPIFFE_TERMS))
            now = found.clock.now()
            found.live.put_key(
                ClientKey(f"crd_{principal_id}", principal_id, f"t-{principal_id}", members, Standing.ACTIVE, now)
            )
        yield found


def door_of(stage: Stage, *domains: ForeignDomain) -> Door:
    bundles: dict[str, Bundle] = {domain.name: domain.bundle() for domain in domains}
    return a_door(stage, bundles=lambda: bundles, trust_domain="charter.local", takes_certificates=True)


def by_jwt(door: Door, svid: str, resource: str = PAYMENTS, **more: str) -> Answer:
    form = {"grant_type": "client_credentials", "resource": resource}
    return door.post(
        "/oauth/token", **form | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": svid} | more
    )


def by_x509(door: Door, chain: list[bytes], client_id: str, resource: str = PAYMENTS) -> Answer:
    door.certificate, door.intermediates = chain[0], tuple(chain[1:])
    form = {"grant_type": "client_credentials", "resource": resource, "client_id": client_id}
    return door.post("/oauth/token", **form)


def rests_on(epoch: int | None, credential: str = f"t-{AGENT}") -> dict[str, Any] | None:
    """Return what an SVID of ours says that it was issued under."""
    return None if epoch is None else {"credential": credential, "epoch": epoch}


def own_jwt(own: ForeignDomain, epoch: int | None = 0, **changed: Any) -> str:
    claims = own.claims("/production/agent/refund-agent", **{"aud": [ISSUER], ORIGIN_CLAIM: rests_on(epoch)} | changed)
    return own.jwt_svid(claims)


def own_x509(own: ForeignDomain, epoch: int | None = 0, path: str = "/production/agent/refund-agent") -> list[bytes]:
    content = canonical(rests_on(epoch))
    extra = (x509.UnrecognizedExtension(ORIGIN_OID, bytes([12, len(content)]) + content),) if epoch is not None else ()
    return own.x509_svid(path, extra=extra)


def test_an_svid_of_its_own_proves_a_principal(stage: Stage, own: ForeignDomain) -> None:
    """Else the tests below would pass for a door that believes no SVID at all."""
    answers = [
        by_jwt(door_of(stage, own), own_jwt(own)),
        by_jwt(door_of(stage, own), own_jwt(own), client_id=AGENT),
        by_x509(door_of(stage, own), own_x509(own), OWN_ID),
        by_x509(door_of(stage, own), own_x509(own), AGENT),
    ]
    assert [answer.status for answer in answers] == [200] * 4
    methods = [entry["body"]["method"] for entry in stage.entries("authentication")]
    assert methods == ["spiffe_jwt", "spiffe_jwt", "spiffe_x509", "spiffe_x509"]


def test_an_svid_of_a_federated_trust_domain_proves_whose_charter_names_it(
    stage: Stage, partner: ForeignDomain
) -> None:
    ledger = PAYMENTS.replace("payments", "ledger")
    claims = partner.claims("/billing", aud=[ISSUER])
    answers = [
        by_jwt(door_of(stage, partner), partner.jwt_svid(claims), ledger),
        by_jwt(door_of(stage, partner), partner.jwt_svid(claims), ledger, client_id=BILLING),
        by_x509(door_of(stage, partner), partner.x509_svid("/billing"), BILLING, ledger),
    ]
    assert [answer.status for answer in answers] == [200] * 3
    assert {entry["principal"] for entry in stage.entries("authentication")} == {LEDGER}


LIES: dict[str, Any] = {
    "for another server": lambda own, _: own_jwt(own, aud=["https://other.example"]),
    "for others too": lambda own, _: own_jwt(own, aud=[ISSUER, "https://other.example"]),
    "for the token endpoint": lambda own, _: own_jwt(own, aud=[TOKEN_ENDPOINT]),
    "expired": lambda own, _: own_jwt(own, exp=1),
    "without an end": lambda own, _: own_jwt(own, exp=None),
    "of the future": lambda own, _: own_jwt(own, iat=int(dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp())),
    "of an epoch before": lambda own, _: own_jwt(own, epoch=7),
    "of no epoch": lambda own, _: own_jwt(own, epoch=None),
    "of an epoch that is text": lambda own, _: own_jwt(
        own, **{ORIGIN_CLAIM: {"credential": f"t-{AGENT}", "epoch": "0"}}
    ),
    "signed by a partner": lambda _, partner: partner.jwt_svid(
        partner.claims("/x", sub=OWN_ID, aud=[ISSUER], **{ORIGIN_CLAIM: rests_on(0)})
    ),
    "another of the partner's": lambda _, partner: partner.jwt_svid(partner.claims("/refunds", aud=[ISSUER])),
    "its case": lambda _, partner: partner.jwt_svid(partner.claims("/BILLING", aud=[ISSUER])),
    "nobody's": lambda own, _: own.jwt_svid(
        own.claims("/production/agent/nobody", aud=[ISSUER], **{ORIGIN_CLAIM: rests_on(0)})
    ),
    "unsigned": lambda own, _: ".".join([*own_jwt(own).split(".")[:2], ""]),
    "algorithm none": lambda own, _: own.jwt_svid(
        own.claims("/production/agent/refund-agent", aud=[ISSUER]), header={"alg": "none"}
    ),
    "a key of its own": lambda own, _: own.jwt_svid(
        own.claims("/production/agent/refund-agent", aud=[ISSUER]), header={"jwk": {"kty": "EC"}}
    ),
    "a key from elsewhere": lambda own, _: own.jwt_svid(
        own.claims("/production/agent/refund-agent", aud=[ISSUER]), header={"jku": "https://evil.example/keys"}
    ),
    "huge": lambda _, __: "e30." + "a" * 9000 + ".x",
    "nonsense": lambda _, __: "svid",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_jwt_svid_that_lies_is_invalid_client(
    stage: Stage, own: ForeignDomain, partner: ForeignDomain, lie: str
) -> None:
    answer = by_jwt(door_of(stage, own, partner), LIES[lie](own, partner))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert stage.entries("authentication") == []


def test_a_trust_domain_that_is_not_federated_with_proves_nobody(stage: Stage, partner: ForeignDomain) -> None:
    stranger = ForeignDomain("partner.example")  # the same name, another root
    for domains in ((), (stranger,)):
        door = door_of(stage, *domains)
        claims = partner.claims("/billing", aud=[ISSUER])
        assert by_jwt(door, partner.jwt_svid(claims)).body["error"] == "invalid_client"
        assert by_x509(door, partner.x509_svid("/billing"), BILLING).body["error"] == "invalid_client"


@pytest.mark.parametrize(
    "chain",
    [
        lambda own, _: own_x509(own, epoch=7),
        lambda own, _: own_x509(own, epoch=None),
        lambda own, _: own_x509(own)[:1],
        lambda own, _: own_x509(own, path="/production/agent/ledger-agent"),
        lambda _, partner: partner.x509_svid("/billing"),
        lambda _, partner: partner.x509_svid("/x", uris=(OWN_ID,)),
        lambda _own, _partner: [b"\x30garbage"],
    ],
)
def test_an_x509_svid_that_lies_is_invalid_client(
    stage: Stage, own: ForeignDomain, partner: ForeignDomain, chain: Any
) -> None:
    answer = by_x509(door_of(stage, own, partner), chain(own, partner), AGENT)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_an_svid_for_one_client_gets_nothing_for_another(stage: Stage, own: ForeignDomain) -> None:
    answer = by_jwt(door_of(stage, own), own_jwt(own), client_id=LEDGER)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_where_no_charter_says_spiffe_an_svid_proves_nobody(stage: Stage, own: ForeignDomain) -> None:
    stage.live.put_key(replace(stage.live.keys[f"t-{AGENT}"], standing=Standing.REVOKED))
    assert by_jwt(door_of(stage, own), own_jwt(own)).body["error"] == "invalid_client"
    assert by_x509(door_of(stage, own), own_x509(own), AGENT).body["error"] == "invalid_client"


def test_an_svid_from_before_a_kill_or_suspension_is_worth_nothing_after_it(stage: Stage, own: ForeignDomain) -> None:
    principal = stage.live.principals[AGENT]
    stage.show(replace(principal, standing=Standing.SUSPENDED))
    suspended = by_jwt(door_of(stage, own), own_jwt(own))
    stage.show(replace(principal, epoch=1))
    resumed = by_jwt(door_of(stage, own), own_jwt(own))
    assert suspended.body["error"] == "unauthorized_client"
    assert resumed.body["error"] == "invalid_client"
    assert by_jwt(door_of(stage, own), own_jwt(own, epoch=1)).status == 200


def test_an_svid_of_ours_rests_on_the_credential_it_was_issued_under(stage: Stage, own: ForeignDomain) -> None:
    pair = stage.client("refund-agent")
    svid = own_jwt(own, **{ORIGIN_CLAIM: rests_on(0, pair.thumbprint)})
    assert by_jwt(door_of(stage, own), svid).status == 200
    stage.live.put_key(replace(stage.live.keys[pair.thumbprint], standing=Standing.REVOKED))
    assert by_jwt(door_of(stage, own), svid).body["error"] == "unauthorized_client"
    elses = own_jwt(own, **{ORIGIN_CLAIM: rests_on(0, f"t-{LEDGER}")})
    assert by_jwt(door_of(stage, own), elses).body["error"] == "unauthorized_client"


def test_a_charter_cannot_claim_another_principals_own_id(stage: Stage, own: ForeignDomain) -> None:
    members = {"kty": SPIFFE, "id": OWN_ID}
    stage.live.put_key(ClientKey("crd_x", LEDGER, "t-x", members, Standing.ACTIVE, stage.clock.now()))
    stage.live.put_key(replace(stage.live.keys[f"t-{LEDGER}"], standing=Standing.REVOKED))
    for client_id in (LEDGER, OWN_ID):
        answer = by_jwt(door_of(stage, own), own_jwt(own), client_id=client_id)
        assert answer.body["error"] == "invalid_client"


def test_one_spiffe_id_proves_one_principal(tmp_path: Path) -> None:
    from charter.registry.problem import EstateError
    from houses import a_house, estate_files

    shared = {"type": "spiffe", "spiffe_id": BILLING}
    files = estate_files(credential=shared)
    other = files["principals/charge-reader.yaml"].replace(
        '"credential":{"type":"private-key-jwt"}', f'"credential":{{"spiffe_id":"{BILLING}","type":"spiffe"}}'
    )
    with (
        pytest.raises(EstateError, match="one credential, one principal"),
        a_house(tmp_path, files=files | {"principals/charge-reader.yaml": other}),
    ):
        pass


def test_a_charter_from_before_svids_counted_is_proved_by_them_after_the_upgrade(tmp_path: Path) -> None:
    """Its credential was not kept when it was applied; it is at the next start."""
    import sqlalchemy as sa

    from charter.registry.declared import declared_key
    from houses import a_house, estate_files

    with a_house(tmp_path, files=estate_files(credential={"type": "spiffe"})) as stage:
        stage.house.database.write(lambda tx: tx.connection.execute(sa.text("DELETE FROM client_key")) and None)
    with a_house(tmp_path, apply=False) as stage:
        principal = stage.house.principal("refund-agent")
        assert declared_key(stage.house.live, principal, SPIFFE) is not None
        assert len(stage.entries("credential.registered")) == 2
