"""What an upgrade leaves to the first start: to keep of charters already applied what was not kept before."""

from __future__ import annotations

from charter.adapters.database import Database
from charter.bootstrap.transaction import HouseTransaction
from charter.core.entropy import Entropy
from charter.identity.weakness import reconcile, weaknesses_of
from charter.registry.charter import CredentialType
from charter.registry.declared import declare
from charter.registry.principal import ClientKey, LiveEstate, Principal


def catch_up(database: Database[HouseTransaction], live: LiveEstate, entropy: Entropy) -> None:
    """Keep the findings of weak credentials, and the credentials that charters declare, where they are missing."""
    principals = live.principals.values()
    weak = [principal for principal in principals if weaknesses_of(principal)]
    if weak:
        database.write(lambda tx: reconcile(tx, weak, entropy=entropy, actor="charter"))
    undeclared = [p for p in principals if p.terms.type is CredentialType.SPIFFE and not live.keys_of(p.id)]
    if undeclared:
        database.write(lambda tx: _declare(tx, undeclared, entropy))


def _declare(tx: HouseTransaction, principals: list[Principal], entropy: Entropy) -> None:
    found: list[ClientKey] = []
    for principal in principals:
        charter = tx.registry.charter_version(principal.id, principal.version).charter
        declared = declare(tx, principal, charter, (), entropy=entropy, by=("charter", "its charter declares it"))
        tx.registry.put_declared(declared)
        found.extend(declared.keys)

    def show() -> None:
        for key in found:
            tx.live.put_key(key)

    tx.after_commit(show)
