"""Issuers that run on loopback and sign the claim sets that platforms document, and charters that trust them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from charter.core.canonical import canonical
from charter.registry.declared import FEDERATED
from charter.registry.issuer import Issuers, Platform
from charter.registry.principal import ClientKey
from charter.registry.standing import Standing
from document_server import DocumentServer, a_document_server
from identity_stage import ISSUER, Stage

TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"
OBJECT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

# What each platform signs, by its documentation, and what a charter names of it.
CLAIMS: dict[Platform, dict[str, Any]] = {
    Platform.GITHUB: {
        "sub": "repo:acme/refunds:environment:production",
        "repository": "acme/refunds",
        "repository_id": "74",
        "repository_owner": "acme",
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "actor": "octocat",
        "actor_id": "12",
        "workflow": "nightly",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "environment": "production",
        "event_name": "schedule",
        "job_workflow_ref": "acme/automation/.github/workflows/nightly.yml@refs/heads/main",
        "run_id": "1001",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
    },
    Platform.GITLAB: {
        "sub": "project_path:acme/refunds:ref_type:branch:ref:main",
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": "acme/refunds",
        "user_id": "1",
        "user_login": "sample-user",
        "user_access_level": "developer",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "environment": "production",
        "environment_protected": "true",
        "runner_environment": "gitlab-hosted",
        "project_visibility": "private",
    },
    Platform.KUBERNETES: {
        "sub": "system:serviceaccount:payments:refund-agent",
        "kubernetes.io": {
            "namespace": "payments",
            "node": {"name": "node-1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
            "pod": {"name": "refund-agent-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
            "serviceaccount": {"name": "refund-agent", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"},
            "warnafter": 1700081020,
        },
    },
    Platform.GOOGLE: {
        "sub": "112233445566778899001",
        "azp": "112233445566778899001",
        "email": "refund-agent@acme.iam.gserviceaccount.com",
        "email_verified": True,
        "google": {"compute_engine": {"project_id": "acme", "instance_id": "42", "zone": "europe-west3-a"}},
    },
    Platform.AZURE: {
        "sub": OBJECT,
        "oid": OBJECT,
        "tid": TENANT,
        "azp": "6731de76-14a6-49ae-97bc-6eba6914391e",
        "idtyp": "app",
        "ver": "2.0",
    },
    Platform.OIDC: {"sub": "pipeline/42", "team": "payments"},
}
NAMED: dict[Platform, dict[str, Any]] = {
    Platform.GITHUB: {"repository": "acme/refunds", "environment": "production"},
    Platform.GITLAB: {"project_path": "acme/refunds", "ref": "main", "ref_protected": "true"},
    Platform.KUBERNETES: {"namespace": "payments", "service_account": "refund-agent"},
    Platform.GOOGLE: {"sub": "112233445566778899001"},
    Platform.AZURE: {"tid": TENANT, "oid": OBJECT},
    Platform.OIDC: {"sub": "pipeline/42"},
}


@dataclass(slots=True)
class LocalIssuer:
    """An issuer with keys of its own, found by OIDC discovery."""

    server: DocumentServer
    keys: dict[str, RSAKey | ECKey | OKPKey] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.server.base

    def publish(self) -> None:
        """Show the public halves of the keys there are."""
        public = [key.as_dict(private=False) | {"kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        self.server.documents["/keys"] = {"keys": public}

    def sign(self, claims: dict[str, Any], *, kid: str = "k1", alg: str = "RS256", **header: Any) -> str:
        head = {"alg": alg, "kid": kid, "typ": "JWT"} | header
        return jwt.encode({k: v for k, v in head.items() if v is not None}, claims, self.keys[kid], algorithms=[alg])

    def token(self, stage: Stage, claims: dict[str, Any], **changed: Any) -> str:
        """Return a token for this server, valid for ten minutes, with some claims changed; None leaves one out."""
        now = int(stage.clock.now().timestamp())
        frame = {"iss": self.address, "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 600, "jti": "j1"}
        said = {name: value for name, value in (frame | claims | changed).items() if value is not None}
        return self.sign(said)


@contextmanager
def a_local_issuer() -> Iterator[LocalIssuer]:
    with a_document_server({}) as server:
        issuer = LocalIssuer(server, {"k1": RSAKey.generate_key(2048)})
        server.documents["/.well-known/openid-configuration"] = {
            "issuer": server.base,
            "jwks_uri": server.url("/keys"),
        }
        issuer.publish()
        yield issuer


def trust(stage: Stage, issuer: LocalIssuer, platform: Platform, name: str = "refund-agent", **more: Any) -> None:
    """Let the principal `name` be proved by tokens of `issuer`, as an applied charter would."""
    stated = {"platform": platform.value, "issuer": issuer.address} | more
    stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})
    declare(stage, NAMED[platform], name)


def declare(stage: Stage, claims: dict[str, Any], name: str = "refund-agent", issuer: str = "theirs") -> ClientKey:
    """Keep a declared credential of the principal `name`."""
    principal = stage.live.principal_named(name)
    assert principal is not None
    members = {"kty": FEDERATED, "issuer": issuer, "claims": canonical(claims).decode()}
    key = ClientKey(f"crd_{name}", principal.id, f"declared-{name}", members, Standing.ACTIVE, stage.clock.now())
    stage.database.write(lambda tx: tx.identity.add_key(key))
    stage.live.put_key(key)
    return key
