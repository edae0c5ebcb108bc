"""The house's transaction: everybody's part, and the stores of all areas on one connection."""

from __future__ import annotations

from functools import cached_property

from charter.adapters.behaviour_store import SqlBehaviour
from charter.adapters.composition_store import SqlCompositions
from charter.adapters.consent_store import SqlConsents
from charter.adapters.delegation_store import SqlDelegations
from charter.adapters.directory_store import SqlDirectory
from charter.adapters.erasure_store import SqlErasures
from charter.adapters.gateway_store import SqlApprovals, SqlLimits
from charter.adapters.identity_store import SqlIdentity
from charter.adapters.lease_store import SqlLeases
from charter.adapters.node_store import SqlNodes
from charter.adapters.notice_store import SqlNotices
from charter.adapters.observation_store import SqlObservations
from charter.adapters.passkey_store import SqlPasskeys
from charter.adapters.registry_store import RegistryStore
from charter.adapters.repeat_store import SqlRepeats
from charter.adapters.response_store import SqlResponses
from charter.adapters.seal_store import SqlDataKeys, SqlSeals
from charter.adapters.sink_store import SqlSinks
from charter.adapters.spool_store import SqlSpools
from charter.adapters.stand_in_store import SqlStandIns
from charter.adapters.transaction import Frame, SqlTransaction
from charter.adapters.trust_store import SqlTrust
from charter.adapters.vault_store import SqlConnections, SqlVault
from charter.adapters.witness_store import SqlWitnessed
from charter.registry.principal import LiveEstate


class HouseTransaction(SqlTransaction):
    """Satisfies the work of every floor: RegistryWork, IdentityWork, LendingWork, GatewayWork, and so on."""

    def __init__(self, frame: Frame, live: LiveEstate) -> None:
        super().__init__(frame)
        self.live = live

    @cached_property
    def registry(self) -> RegistryStore:
        """Principals, charters, systems, the estate's other files, findings."""
        return RegistryStore(self.connection)

    @cached_property
    def identity(self) -> SqlIdentity:
        """Client keys, used assertions, signing keys."""
        return SqlIdentity(self.connection)

    @cached_property
    def delegations(self) -> SqlDelegations:
        """The delegations, and which of them are switched off."""
        return SqlDelegations(self.connection)

    @cached_property
    def trust(self) -> SqlTrust:
        """Authorities and trust bundles."""
        return SqlTrust(self.connection)

    @cached_property
    def data_keys(self) -> SqlDataKeys:
        """The data keys."""
        return SqlDataKeys(self.connection)

    @cached_property
    def seals(self) -> SqlSeals:
        """Every sealed value."""
        return SqlSeals(self.connection)

    @cached_property
    def erasures(self) -> SqlErasures:
        """Payloads of evidence, and holds on them."""
        return SqlErasures(self.connection)

    @cached_property
    def directory(self) -> SqlDirectory:
        """People, groups, and who may provision them."""
        return SqlDirectory(self.connection)

    @cached_property
    def vault(self) -> SqlVault:
        """Secrets for upstream systems."""
        return SqlVault(self.connection)

    @cached_property
    def connections(self) -> SqlConnections:
        """Refresh tokens of people."""
        return SqlConnections(self.connection)

    @cached_property
    def notices(self) -> SqlNotices:
        """What people are told of calls that wait."""
        return SqlNotices(self.connection)

    @cached_property
    def spools(self) -> SqlSpools:
        """How far the spools of programs came that decide by themselves."""
        return SqlSpools(self.connection)

    @cached_property
    def repeats(self) -> SqlRepeats:
        """The yeses to further calls."""
        return SqlRepeats(self.connection)

    @cached_property
    def stand_ins(self) -> SqlStandIns:
        """Who answers in whose roles while they are away."""
        return SqlStandIns(self.connection)

    @cached_property
    def consents(self) -> SqlConsents:
        """Consent codes, refresh tokens, registered clients."""
        return SqlConsents(self.connection)

    @cached_property
    def passkeys(self) -> SqlPasskeys:
        """The local operator's passkeys."""
        return SqlPasskeys(self.connection)

    @cached_property
    def leases(self) -> SqlLeases:
        """Credentials made at systems."""
        return SqlLeases(self.connection)

    @cached_property
    def compositions(self) -> SqlCompositions:
        """What principals are made of, where it is pinned."""
        return SqlCompositions(self.connection)

    @cached_property
    def nodes(self) -> SqlNodes:
        """Remote nodes and join tokens."""
        return SqlNodes(self.connection)

    @cached_property
    def approvals(self) -> SqlApprovals:
        """The approvals."""
        return SqlApprovals(self.connection)

    @cached_property
    def limits(self) -> SqlLimits:
        """The counters of limits."""
        return SqlLimits(self.connection)

    @cached_property
    def sinks(self) -> SqlSinks:
        """Where evidence is sent to, and how far each came."""
        return SqlSinks(self.connection)

    @cached_property
    def observations(self) -> SqlObservations:
        """What others told, and who they told of."""
        return SqlObservations(self.connection)

    @cached_property
    def witnessed(self) -> SqlWitnessed:
        """Logs of others that are witnessed, and the cosigned head of our own."""
        return SqlWitnessed(self.connection)

    @cached_property
    def behaviour(self) -> SqlBehaviour:
        """Baselines, signals, and what owners say is normal."""
        return SqlBehaviour(self.connection)

    @cached_property
    def responses(self) -> SqlResponses:
        """What rules did because of findings, as long as it lasts."""
        return SqlResponses(self.connection)
