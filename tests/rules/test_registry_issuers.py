"""Trusted issuers: a charter that trusts a platform's tokens says enough to tell its own workload from all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.registry.estate import Estate
from charter.registry.issuer import Issuers, TrustedIssuer, faults_of
from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from charter.registry.standing import Standing
from estates import PRINCIPAL, Registry, a_registry, an_estate, another_principal, estate_files

ISSUERS = """\
charter: v1
issuers:
  github: {platform: github-actions}
  gitlab: {platform: gitlab}
  cluster: {platform: kubernetes, issuer: "https://oidc.eks.example.com/id/ABC"}
  google: {platform: google}
  azure: {platform: azure, issuer: "https://login.microsoftonline.com/0f8fad5b-d9cb-469f-a165-70867728950e/v2.0"}
  aws: {platform: aws, sts: "https://sts.eu-central-1.amazonaws.com"}
  own: {platform: oidc, issuer: "https://ci.example.com"}
  people: {platform: identity-provider, issuer: "https://idp.example.com"}
"""
KNOWN = Issuers.model_validate(
    {
        "charter": "v1",
        "issuers": {
            "github": {"platform": "github-actions"},
            "gitlab": {"platform": "gitlab"},
            "cluster": {"platform": "kubernetes", "issuer": "https://k.example.com"},
            "google": {"platform": "google"},
            "azure": {"platform": "azure", "issuer": "https://login.example.com"},
            "aws": {"platform": "aws", "sts": "https://sts.eu-central-1.amazonaws.com"},
            "own": {"platform": "oidc", "issuer": "https://ci.example.com"},
            "people": {"platform": "identity-provider", "issuer": "https://idp.example.com"},
        },
    }
).issuers
TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"


def federated(issuer: str, claims: str, text: str = PRINCIPAL) -> str:
    return text.replace("{type: private-key-jwt}", f"{{type: federated, issuer: {issuer}, claims: {claims}}}")


HELPER = another_principal("refund-helper")["principals/refund-helper.yaml"]


def problems_of(principal: str, **more: str | None) -> list[str]:
    files = estate_files({"principals/refund-agent.yaml": principal, "issuers.yaml": ISSUERS} | more)
    with pytest.raises(EstateError) as caught:
        parse_estate(files)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("issuer", "claims"),
    [
        ("github", {"repository": "acme/refunds", "ref": "refs/heads/main"}),
        ("github", {"repository_id": "123456", "environment": "production"}),
        ("github", {"sub": "repo:acme/refunds:environment:production"}),
        ("gitlab", {"project_path": "acme/tools/refunds", "ref": "main", "ref_protected": "true"}),
        ("cluster", {"namespace": "payments", "service_account": "refund-agent"}),
        ("google", {"sub": "112233445566778899001"}),
        ("azure", {"tid": TENANT, "oid": TENANT}),
        ("aws", {"account": "123456789012", "role": "refund-agent"}),
        ("own", {"sub": "pipeline/42"}),
    ],
)
def test_conditions_that_name_one_workload_are_accepted(issuer: str, claims: dict[str, str]) -> None:
    assert list(faults_of(KNOWN[issuer], claims)) == []


@pytest.mark.parametrize(
    ("issuer", "claims", "why"),
    [
        ("github", {"repository": "acme/*", "ref": "refs/heads/main"}, "looks like a pattern"),
        ("github", {"repository": "acme", "ref": "refs/heads/main"}, "no `repository` as github-actions writes it"),
        ("github", {"ref": "refs/heads/main"}, "every repository on GitHub could pass for it"),
        ("github", {"repository": "acme/refunds"}, "every branch and pull request"),
        ("github", {"repository": "acme/refunds", "ref": "refs/heads/*"}, "looks like a pattern"),
        ("github", {"sub": "repo:acme/refunds:pull_request"}, "no `sub` as github-actions writes it"),
        ("gitlab", {"project_path": "acme/", "ref": "main"}, "looks like a pattern"),
        ("gitlab", {"ref": "main"}, "every project on the instance"),
        ("cluster", {"service_account": "refund-agent"}, "in another namespace could pass for it"),
        ("cluster", {"namespace": "payments"}, "every pod in the namespace"),
        ("cluster", {"namespace": "*", "service_account": "default"}, "looks like a pattern"),
        ("cluster", {"namespace": "a", "service_account": "b", "team": "x"}, "nothing that Kubernetes says"),
        ("google", {"email": "agent@example.com"}, "given to another account later"),
        ("azure", {"oid": TENANT}, "every tenant"),
        ("azure", {"tid": TENANT}, "every workload of the tenant"),
        ("aws", {"role": "refund-agent"}, "another account"),
        ("aws", {"account": "123456789012"}, "every identity of the account"),
        ("aws", {"account": "12345678901", "role": "r"}, "no `account` as aws writes it"),
        ("aws", {"account": "123456789012", "rol": "r"}, "nothing that AWS says"),
        ("own", {"team": "payments"}, "every workload that this issuer signs for"),
        ("own", {"sub": "pipeline/42", "iss": "https://elsewhere"}, "no condition"),
        ("people", {"sub": "maria"}, "for people"),
    ],
)
def test_conditions_that_would_let_others_in_are_refused_with_the_reason(
    issuer: str, claims: dict[str, str], why: str
) -> None:
    assert why in " ".join(f"{what} {mend}" for _, what, mend in faults_of(KNOWN[issuer], claims))


@given(st.text(max_size=20), st.sampled_from("*?|^$()[]{}\\"), st.text(max_size=20))
def test_no_sign_of_a_pattern_passes(before: str, sign: str, after: str) -> None:
    claims = {"repository": "acme/refunds", "environment": before + sign + after}
    assert any(name == "environment" for name, _, _ in faults_of(KNOWN["github"], claims))


def test_a_wildcard_is_told_at_its_place() -> None:
    (said,) = problems_of(federated("github", '{repository: "acme/*", environment: production}'))
    where, _, what = said.partition(" ")
    assert where == "principals/refund-agent.yaml:10:68:"
    assert what.startswith("`acme/*` looks like a pattern, which would let others in beside the one that is meant;")


def test_an_unknown_issuer_gets_the_nearest_name() -> None:
    (said,) = problems_of(federated("gihub", "{sub: x}"))
    assert "`gihub` is no issuer in issuers.yaml; did you mean `github`?" in said


def test_a_name_without_claims_is_refused_and_claims_elsewhere_too() -> None:
    half = PRINCIPAL.replace("{type: private-key-jwt}", "{type: federated, issuer: github}")
    assert "`issuer` and `claims` go together" in problems_of(half)[0]
    stray = PRINCIPAL.replace("{type: private-key-jwt}", "{type: private-key-jwt, issuer: github}")
    assert "belongs to a credential of the type federated" in problems_of(stray)[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{repository: acme/refunds, ref: refs/heads/main}", "{repository: acme/refunds, ref: refs/heads/main}"),
        ("{repository: acme/refunds, ref: refs/heads/main}", "{repository: acme/refunds, environment: production}"),
        ("{repository_id: '7', environment: prod}", "{repository: acme/refunds, environment: prod}"),
    ],
)
def test_two_charters_that_one_token_could_prove_are_a_problem(one: str, other: str) -> None:
    second = federated("github", other, HELPER)
    said = problems_of(federated("github", one), **{"principals/refund-helper.yaml": second})
    assert any("one token could prove both `refund-agent` and `refund-helper`" in each for each in said)


def test_charters_told_apart_by_one_claim_stand_side_by_side() -> None:
    second = federated(
        "github",
        "{repository: acme/refunds, environment: b}",
        another_principal("refund-helper")["principals/refund-helper.yaml"],
    )
    first = federated("github", "{repository: acme/refunds, environment: a}")
    changed = {
        "principals/refund-agent.yaml": first,
        "principals/refund-helper.yaml": second,
        "issuers.yaml": ISSUERS,
    }
    assert len(parse_estate(estate_files(changed)).charters) == 2


def test_a_federated_principal_without_an_issuer_is_worth_a_look() -> None:
    text = PRINCIPAL.replace("{type: private-key-jwt}", "{type: federated}")
    estate = parse_estate(estate_files({"principals/refund-agent.yaml": text}))
    assert any("names no issuer" in str(warning) for warning in estate.warnings)


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ({"platform": "kubernetes"}, "needs `issuer`"),
        ({"platform": "aws"}, "needs `sts`"),
        ({"platform": "aws", "sts": "https://sts.amazonaws.com", "issuer": "https://x.example.com"}, "no `issuer`"),
        ({"platform": "oidc", "issuer": "http://ci.example.com"}, "is not https"),
        ({"platform": "oidc", "issuer": "https://ci.example.com?x=1"}, "is no address"),
        ({"platform": "oidc", "issuer": "https://a@ci.example.com"}, "is no address"),
        ({"platform": "oidc", "issuer": "https://c.example.com", "sts": "https://s.example.com"}, "only an issuer"),
        (
            {
                "platform": "oidc",
                "issuer": "https://c.example.com",
                "keys": [{}],
                "keys_url": "https://c.example.com/k",
            },
            "not both",
        ),
    ],
)
def test_an_issuer_that_is_not_whole_is_refused(issuer: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TrustedIssuer.model_validate(issuer)


def test_two_names_for_one_issuer_are_refused() -> None:
    both = {"a": {"platform": "github-actions"}, "b": {"platform": "github-actions"}}
    with pytest.raises(ValueError, match="the same issuer"):
        Issuers.model_validate({"charter": "v1", "issuers": both})


def test_issuers_are_planned_applied_kept_and_withdrawn(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate({"issuers.yaml": ISSUERS}))
        assert house.live.issuers.issuers["github"].address == "https://token.actions.githubusercontent.com"
        assert house.database.read(lambda tx: tx.registry.issuers()) == house.live.issuers
        assert house.plan(an_estate({"issuers.yaml": ISSUERS})).changes == ()
        house.apply(an_estate())
        assert house.live.issuers.issuers == {}


def credentials(house: Registry) -> list[tuple[str, Standing]]:
    principal = house.live.principals[house.live.ids["refund-agent"]]
    return [(key.jwk["claims"], key.standing) for key in house.live.keys_of(principal.id)]


def test_a_declared_credential_comes_and_goes_with_the_charter(tmp_path: Path) -> None:
    def estate(ref: str | None) -> Estate:
        text = PRINCIPAL if ref is None else federated("github", f"{{repository: acme/refunds, ref: {ref}}}")
        return an_estate({"issuers.yaml": ISSUERS, "principals/refund-agent.yaml": text})

    main, next_ = '{"ref":"main","repository":"acme/refunds"}', '{"ref":"next","repository":"acme/refunds"}'
    with a_registry(tmp_path) as house:
        house.apply(estate("main"))
        assert credentials(house) == [(main, Standing.ACTIVE)]
        house.apply(estate("next"))
        assert credentials(house) == [(main, Standing.REVOKED), (next_, Standing.ACTIVE)]
        house.apply(estate("main"))
        assert credentials(house) == [(main, Standing.ACTIVE), (next_, Standing.REVOKED)]
        house.apply(estate(None))
        assert {standing for _, standing in credentials(house)} == {Standing.REVOKED}


def test_what_a_person_revoked_does_not_come_back_with_a_change_elsewhere(tmp_path: Path) -> None:
    text = federated("github", "{repository: acme/refunds, ref: main}")
    files: dict[str, str | None] = {"issuers.yaml": ISSUERS, "principals/refund-agent.yaml": text}
    with a_registry(tmp_path) as house:
        house.apply(an_estate(files))
        (key,) = house.live.keys_of(house.live.ids["refund-agent"])
        house.live.put_key(replace(key, standing=Standing.REVOKED))
        files["principals/refund-agent.yaml"] = text.replace("small disputed", "disputed")
        house.apply(an_estate(files))
        assert [standing for _, standing in credentials(house)] == [Standing.REVOKED]
