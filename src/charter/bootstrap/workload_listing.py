"""What can be asked of workloads: which processes charters name, who holds SVIDs, and our bundle."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence
from charter.core.clock import rfc3339
from charter.evidence.entry import EntryKind
from charter.evidence.log import MAX_PAGE, Query, query
from charter.identity.x509_authority import SVID_LIFE
from charter.registry.declared import WORKLOAD

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


def entries(house: House, name: str | None = None) -> list[dict[str, Any]]:
    """Return what charters say of the processes that are their principals, by principal.

    Raises:
        AbsentError: no principal has that name.
    """
    live = house.live
    chosen = [house.principal(name)] if name else sorted(live.principals.values(), key=lambda p: p.name)
    return [
        {
            "principal": principal.name,
            "spiffe_id": principal.spiffe_id,
            "standing": principal.standing.value,
            "credential": key.id,
            "credential_standing": key.standing.value,
            "selectors": {k: v for k, v in json.loads(key.jwk["selectors"]).items() if v != ""},
            "trusts": list(principal.terms.trusts),
        }
        for principal in chosen
        for key in live.keys_of(principal.id)
        if key.jwk.get("kty") == WORKLOAD
    ]


def given_out(house: House) -> dict[str, Any]:
    """Return the SVIDs that were given out and have not ended, the newest first; at most a page."""
    now = house.clock.now()

    def read(tx: HouseTransaction) -> list[dict[str, Any]]:
        wanted = Query(kinds=(EntryKind.SVID_ISSUED,), since=now - SVID_LIFE, limit=MAX_PAGE)
        return [entry.to_json() for entry in query(evidence.log_of(house, tx), wanted).entries]

    found = [_svid(each) for each in house.database.read(read)]
    return {"svids": [each for each in found if each["expires"] > rfc3339(now)]}


def bundle(house: House) -> dict[str, Any]:
    """Return our published bundle, as others need it to begin to trust us."""
    return {"trust_domain": house.trust.trust_domain, "bundle": house.trust.own.document()}


def trust(house: House) -> dict[str, Any]:
    """Return how our trust domain stands: what its bundle holds, and until when the authority that signs can."""
    own = house.trust.own
    return {
        "trust_domain": house.trust.trust_domain,
        "sequence": own.sequence,
        "x509_authorities": len(own.x509_authorities),
        "jwt_authorities": len(own.jwt_authorities),
        "issuer_ends": rfc3339(house.trust.authorities.issuer().ends),
    }


def _svid(entry: dict[str, Any]) -> dict[str, Any]:
    body = entry["body"]
    ends = body["expires"]
    return {
        "index": entry["index"],
        "time": entry["time"],
        "type": body["type"],
        "principal": body["principal"],
        "spiffe_id": body["spiffe_id"],
        "id": body.get("serial") or body.get("token"),
        "expires": rfc3339(dt.datetime.fromtimestamp(ends, dt.UTC)) if isinstance(ends, int) else ends,
        "audiences": body.get("audiences", []),
        "seen": body.get("seen", {}),
    }
