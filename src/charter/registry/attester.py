"""Who can attest a part of a composition: what a platform's tokens tell of a workload, and what nobody tells.

Most platforms sign for who a workload is, and not for what it is made of. Where nothing does, a part is *declared*: its
charter says so, and every screen says that only its charter does.

INVARIANT: a part is looked for where its platform puts it, and nowhere else; a token that does not tell it attests
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from charter.registry.charter import Charter, CredentialType
from charter.registry.composition import Part
from charter.registry.issuer import Platform, TrustedIssuer

KERNEL = "the kernel"  # of the machine that Charter runs on, by the Workload API
GATEWAY = "the gateway"  # it reads the definitions of tools before any model does, and holds those that differ
MAX_VALUE = 200  # characters of what a token tells; more is no commit and no digest
Path = tuple[str, ...]
# GitHub: `sha` is the commit that the run is of, `job_workflow_sha` that of the file in which its job stands (of the
# reusable workflow, where it is one). GitLab: `ci_config_sha` is the commit of the pipeline's file. An OIDC issuer may
# tell the image it measured, as Google's Confidential Space does.
_CLAIMS: Mapping[Platform, Mapping[Part, tuple[Path, ...]]] = {
    Platform.GITHUB: {Part.COMMIT: (("sha",),), Part.WORKFLOW: (("job_workflow_sha",), ("workflow_sha",))},
    Platform.GITLAB: {Part.COMMIT: (("sha",),), Part.WORKFLOW: (("ci_config_sha",),)},
    Platform.OIDC: {Part.IMAGE: (("submods", "container", "image_digest"),)},
}
_SILENT: Mapping[Platform, str] = {
    Platform.KUBERNETES: "a service-account token names no image: let the cluster's admission policy hold pods to it",
    Platform.AWS: "AWS names a caller's role, and neither image nor commit",
    Platform.AZURE: "a token of Azure names neither image nor commit",
    Platform.GOOGLE: "an identity token of Google names neither; one of its Confidential Space does (platform: oidc)",
}
_DECLARED = "take it out of `attested`: it is then declared by the charter alone, and shown as that"


def told_by(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> dict[str, str]:
    """Return what the claims of a verified token of `issuer` tell of the workload's composition, by part."""
    found: dict[str, str] = {}
    for part, paths in _CLAIMS.get(issuer.platform, {}).items():
        told = (value for value in (_at(claims, path) for path in paths) if value is not None)
        value = next(told, None)
        if isinstance(value, str) and 0 < len(value) <= MAX_VALUE and value.isprintable():
            found[part.value] = value
    return found


def untold(charter: Charter, issuer: TrustedIssuer | None) -> Iterator[tuple[int, str, str]]:
    """Yield the parts that a charter wants attested and nothing would: index in `attested`, what is wrong, how to mend.

    `issuer` is the one whose tokens prove the principal, if any do.
    """
    credential = charter.credential
    for index, part in enumerate((charter.composition and charter.composition.attested) or ()):
        if part is Part.PROGRAM:
            if credential.type is not CredentialType.SPIFFE or not credential.workloads:
                text = "nothing attests `program` but the kernel, of processes that the Workload API knows"
                yield index, text, "write `credential: {type: spiffe, workloads: [{uid: 1001}]}`, or " + _DECLARED
        elif issuer is None or part not in _CLAIMS.get(issuer.platform, {}):
            who = issuer.platform.value if issuer else f"a credential of the type {credential.type.value}"
            why = _SILENT.get(issuer.platform, "") if issuer else ""
            yield index, f"nothing attests `{part.value}` for {who}" + (f": {why}" if why else ""), _DECLARED


def _at(claims: Mapping[str, Any], path: Path) -> object:
    found: object = claims
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
