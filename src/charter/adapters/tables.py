"""The tables, all of them: what is kept, and under which keys. Row <-> value mapping stands in the stores beside it."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_time = sa.String(27)  # RFC 3339, UTC, microseconds: one width on every database, text order is time order
_json = sa.Text  # canonical JSON

principal = sa.Table(
    "principal",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("spiffe_id", sa.String(2048), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("environment", sa.String(16), nullable=False),
    sa.Column("owner_person", sa.String(254), nullable=False),
    sa.Column("owner_team", sa.String(63), nullable=False),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
    sa.Column("expires", sa.String(10), nullable=False),
    sa.Column("terms", _json, nullable=True),  # of its credential (registry/terms.py); every row has them
    sa.Column("held", _json, nullable=True),  # findings that hold its standing down (registry/hold.py)
    sa.Column("managed_by", sa.String(16), nullable=False),  # git | console
    sa.Column("applied_digest", sa.String(71), nullable=True),  # last applied from files; another `digest` is drift
    sa.Column("registered_at", _time, nullable=False),
)
charter_version = sa.Table(
    "charter_version",
    metadata,
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(71), nullable=False, index=True),
    sa.Column("charter", _json, nullable=False),
    sa.Column("sources", _json, nullable=False),  # {"path": file, "at": {dotted path: [line, column]}}
    sa.Column("envelope", _json, nullable=False),  # DSSE over the canonical charter
    sa.Column("applied_at", _time, nullable=False),
    sa.Column("applied_by", sa.String(254), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
composition = sa.Table(  # what a principal is made of, where its charter pins it
    "composition",
    metadata,
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), primary_key=True),
    sa.Column("digest", sa.String(71), nullable=False),  # of what was accepted
    sa.Column("body", _json, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
)
system = sa.Table(
    "system",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("body", _json, nullable=False),
    sa.Column("sources", _json, nullable=False),
    sa.Column("managed_by", sa.String(16), nullable=False),  # git | console
    sa.Column("applied_digest", sa.String(71), nullable=True),
    sa.Column("applied_at", _time, nullable=False),
)
estate_part = (
    sa.Table(  # guardrails (one row a file), teams.yaml, patterns: what decisions and plans need beside charters
        "estate_part",
        metadata,
        sa.Column("path", sa.String(255), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),  # guardrail | teams | pattern
        sa.Column("digest", sa.String(71), nullable=False),  # of the body
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("applied_digest", sa.String(71), nullable=True),
        sa.Column("applied_at", _time, nullable=False),
    )
)
estate_history = sa.Table(  # systems and files as they held, between two entries of a log: what verdicts rested on
    "estate_history",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),  # system | guardrail | rules | teams
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),  # of the body
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("since_node", sa.String(40), nullable=False),  # whose log; empty: from before this was kept
    sa.Column("since_index", sa.BigInteger, nullable=False),
    sa.Column("since_at", _time, nullable=False),
    sa.Column("until_node", sa.String(40), nullable=True),  # none: it holds
    sa.Column("until_index", sa.BigInteger, nullable=True),
    sa.Column("until_at", _time, nullable=True),
    sa.Index("ix_estate_history_name", "kind", "name"),
)
client_key = sa.Table(
    "client_key",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), nullable=False, index=True),
    sa.Column("thumbprint", sa.String(64), nullable=False, unique=True),
    sa.Column("jwk", _json, nullable=False),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("registered_at", _time, nullable=False),
    sa.Column("certificate", sa.Text, nullable=True),  # DER in base64, where it was registered with one
    sa.Column("ends_at", _time, nullable=True),  # when another has taken its place for good
    sa.Column("replaced_by", sa.String(64), nullable=True),  # the thumbprint of that one
    sa.Column("due_at", _time, nullable=True),  # when a person wants it replaced
)
used_assertion = sa.Table(  # replay memory of client assertions (RFC 7523 section 3, jti)
    "used_assertion",
    metadata,
    sa.Column("thumbprint", sa.String(64), primary_key=True),
    sa.Column("jti_digest", sa.String(71), primary_key=True),
    sa.Column("expires_at", sa.Integer, nullable=False, index=True),
)
revoked_token = sa.Table(  # tokens taken back one by one (RFC 7009), until they would have expired
    "revoked_token",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),  # jti
    sa.Column("principal_id", sa.String(40), nullable=False),
    sa.Column("expires_at", sa.Integer, nullable=False, index=True),
)
signing_key = sa.Table(
    "signing_key",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # the key id in tokens and signatures
    sa.Column("use", sa.String(16), nullable=False),  # token | evidence | charter
    sa.Column("origin", sa.String(255), nullable=True),  # of an evidence key: the log it signs
    sa.Column("public", _json, nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),  # the private half under the master key; empty once it signs no more
    sa.Column("state", sa.String(16), nullable=False),  # next | active | retiring | retired
    sa.Column("created_at", _time, nullable=False),
    sa.Column("retire_after", _time, nullable=True),
)
person = sa.Table(  # people, as the directory provisions them; one who was deleted keeps a row without a body
    "person",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name_key", sa.String(512), nullable=True, unique=True),  # the folded user name; none once deleted
    sa.Column("user_name", sa.String(256), nullable=False),
    sa.Column("email", sa.String(254), nullable=True),
    sa.Column("display_name", sa.String(256), nullable=False),
    sa.Column("external_id", sa.String(256), nullable=True),
    sa.Column("state", sa.String(16), nullable=False),  # active | inactive | deleted
    sa.Column("body", _json, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
)
person_group = sa.Table(
    "person_group",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name_key", sa.String(512), nullable=False, unique=True),
    sa.Column("display_name", sa.String(256), nullable=False),
    sa.Column("external_id", sa.String(256), nullable=True),
    sa.Column("body", _json, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
)
group_member = sa.Table(
    "group_member",
    metadata,
    sa.Column("group_id", sa.String(40), sa.ForeignKey("person_group.id"), primary_key=True),
    sa.Column("person_id", sa.String(40), sa.ForeignKey("person.id"), primary_key=True, index=True),
)
registered_client = sa.Table(  # RFC 7591
    "registered_client",
    metadata,
    sa.Column("client_id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), nullable=False, index=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("redirects", _json, nullable=False),
    sa.Column("registered_at", _time, nullable=False),
)
consent_code = sa.Table(  # what a person's consent is picked up with, once: by its digest
    "consent_code",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=False),
    sa.Column("delegation_id", sa.String(40), nullable=False),
    sa.Column("resource", sa.String(2048), nullable=False),
    sa.Column("redirect_uri", sa.String(2048), nullable=True),
    sa.Column("challenge", sa.String(43), nullable=True),
    sa.Column("proof_key", sa.String(43), nullable=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("is_used", sa.Boolean, nullable=False),
)
refresh_token = sa.Table(  # by their digests; those of one consent are a family
    "refresh_token",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("family", sa.String(40), nullable=False, index=True),  # the delegation's id
    sa.Column("principal_id", sa.String(40), nullable=False),
    sa.Column("credential", sa.String(64), nullable=False),
    sa.Column("resource", sa.String(2048), nullable=False),
    sa.Column("bound_to", sa.String(64), nullable=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),  # active | used | revoked
)
passkey = sa.Table(
    "passkey",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.String(254), nullable=False),
    sa.Column("host", sa.String(253), nullable=False),
    sa.Column("credential_id", sa.Text, nullable=False, unique=True),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("added_at", _time, nullable=False),
    sa.Column("used_at", _time, nullable=True),
)
provisioner = sa.Table(  # who may write people and groups: the directory's own bearer tokens, by their digests
    "provisioner",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("token_digest", sa.String(71), nullable=False, unique=True),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("made_by", sa.String(254), nullable=False),
    sa.Column("made_at", _time, nullable=False),
    sa.Column("since", _time, nullable=True),  # of its present token
    sa.Column("before_digest", sa.String(71), nullable=True),  # of the token before, which counts too
    sa.Column("before_until", _time, nullable=True),
)
delegation = sa.Table(  # authority that one party lent another: one edge, which ends one chain
    "delegation",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("parent", sa.String(40), sa.ForeignKey("delegation.id"), nullable=True, index=True),  # what it rests on
    sa.Column("depth", sa.Integer, nullable=False),  # delegations in its chain
    sa.Column("initiator", sa.String(254), nullable=False),  # a person's address or a principal's id
    sa.Column("lender", sa.String(254), nullable=False, index=True),  # likewise
    sa.Column("borrower", sa.String(40), nullable=False, index=True),
    sa.Column("role", sa.String(16), nullable=False),  # of the borrower: carrier | decider | executor
    sa.Column("control_plane", sa.String(2048), nullable=False),  # the issuer that vouched for the lender
    sa.Column("purpose", sa.String(63), nullable=False, index=True),
    sa.Column("scope", _json, nullable=True),  # null: whatever the lender may do
    sa.Column("made_at", sa.BigInteger, nullable=False),  # seconds since 1970
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("standing", sa.String(16), nullable=False),  # active | revoked
    sa.Column("lender_epoch", sa.Integer, nullable=True),
    sa.Column("lender_credential", sa.String(64), nullable=True),
    sa.Column("made_by", sa.String(254), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),  # cli | console | consent | exchange
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("proof", sa.Text, nullable=True),  # the borrower's actor proof, once it accepted
    sa.Column("proof_digest", sa.String(43), nullable=True),
    sa.Column("withdrawn_at", _time, nullable=True),
    sa.Column("withdrawn_by", sa.String(254), nullable=True),
)
delegation_switch = sa.Table(  # who may not lend to whom for now, whatever charters say
    "delegation_switch",
    metadata,
    sa.Column("lender", sa.String(254), primary_key=True),  # a party, or `humans`
    sa.Column("borrower", sa.String(40), primary_key=True),
    sa.Column("at", _time, nullable=False),
    sa.Column("by", sa.String(254), nullable=False),
)
x509_authority = sa.Table(  # roots and intermediates of our trust domain
    "x509_authority",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # SHA-256 of the public key, in hexadecimal
    sa.Column("trust_domain", sa.String(255), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),  # x509-root | x509-intermediate
    sa.Column("certificate", sa.Text, nullable=False),  # DER in base64
    sa.Column("sealed", sa.Text, nullable=False),  # the private half under the master key; empty once it signs no more
    sa.Column("state", sa.String(16), nullable=False),  # next | active | retiring | retired
    sa.Column("created_at", _time, nullable=False),
    sa.Column("signs_from", _time, nullable=True),
    sa.Column("retire_after", _time, nullable=True),
)
trust_bundle = sa.Table(  # of our trust domain, as published, and of those we federate with, as fetched
    "trust_bundle",
    metadata,
    sa.Column("trust_domain", sa.String(255), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=True),
    sa.Column("digest", sa.String(71), nullable=False),  # of the body
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("taken_at", _time, nullable=False),
)
data_key = sa.Table(  # what secrets in other tables are sealed under, wrapped under the master key
    "data_key",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("master", sa.String(600), nullable=False),  # the master key's name
    sa.Column("wrapped", sa.Text, nullable=False),  # empty once no seal rests on it
    sa.Column("state", sa.String(16), nullable=False),  # active | superseded | retired
    sa.Column("created_at", _time, nullable=False),
    sa.Column("wrapped_at", _time, nullable=False),
)
federation = sa.Table(  # the trust domains we federate with
    "federation",
    metadata,
    sa.Column("trust_domain", sa.String(255), primary_key=True),
    sa.Column("url", sa.String(2048), nullable=False),
    sa.Column("profile", sa.String(16), nullable=False),  # https_web | https_spiffe
    sa.Column("endpoint_id", sa.String(2048), nullable=True),
    sa.Column("networks", _json, nullable=False),
    sa.Column("added_at", _time, nullable=False),
    sa.Column("added_by", sa.String(254), nullable=False),
    sa.Column("asked_at", _time, nullable=True),
    sa.Column("refreshed_at", _time, nullable=True),
    sa.Column("failure", sa.Text, nullable=True),
)
node_key = sa.Table(  # machines that joined, and vouch for their processes
    "node_key",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("thumbprint", sa.String(64), nullable=False),
    sa.Column("jwk", _json, nullable=False),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("joined_at", _time, nullable=False),
    sa.Column("since", _time, nullable=True),  # of its present key
    sa.Column("before_jwk", _json, nullable=True),  # the key before, which counts too
    sa.Column("before_until", _time, nullable=True),
    sa.Column("due_at", _time, nullable=True),  # when a person wants its key replaced
)
join_token = sa.Table(
    "join_token",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),  # of the token, which is shown once
    sa.Column("node", sa.String(63), nullable=False),
    sa.Column("made_at", _time, nullable=False),
    sa.Column("made_by", sa.String(254), nullable=False),
    sa.Column("expires_at", _time, nullable=False, index=True),
    sa.Column("used_at", _time, nullable=True),
)
approval = sa.Table(
    "approval",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), nullable=False, index=True),
    sa.Column("call_digest", sa.String(71), nullable=False, index=True),
    sa.Column("call", _json, nullable=False),  # system, tool, action, object, arguments, as shown to the approver
    sa.Column("roles", _json, nullable=False),
    sa.Column("given", _json, nullable=False),  # role -> person
    sa.Column(
        "state", sa.String(16), nullable=False, index=True
    ),  # waiting | approved | refused | spent | expired | cancelled
    sa.Column("asked_at", _time, nullable=False),
    sa.Column("expires_at", _time, nullable=False),
    sa.Column("verdict_id", sa.String(40), nullable=False),
)
notice = sa.Table(
    "notice",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("approval_id", sa.String(40), sa.ForeignKey("approval.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),  # asked | reminder
    sa.Column("recipient", sa.String(254), nullable=False),  # an address, or `chat`
    sa.Column("state", sa.String(16), nullable=False, index=True),  # due | sent | failed | moot
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", _time, nullable=False),
    sa.Column("error", sa.String(200), nullable=False),
    sa.Column("sent_at", _time, nullable=True),
    sa.Column("link_digest", sa.String(64), nullable=True, unique=True),
    sa.Column("is_link_spent", sa.Boolean, nullable=False),
    sa.UniqueConstraint("approval_id", "kind", "recipient", name="uq_notice_place"),
)
stand_in = sa.Table(
    "stand_in",
    metadata,
    sa.Column("person", sa.String(254), primary_key=True),  # who is away, in small letters
    sa.Column("stand_in", sa.String(254), nullable=False),
    sa.Column("until", _time, nullable=False),
    sa.Column("reason", sa.String(1000), nullable=False),
    sa.Column("made_at", _time, nullable=False),
)
approval_repeat = sa.Table(
    "approval_repeat",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=False),
    sa.Column("terms", sa.Text, nullable=False),  # what it says yes to, as JSON
    sa.Column("left", sa.Integer, nullable=False),
    sa.Column("until", _time, nullable=False),
)
decision_spool = sa.Table(
    "decision_spool",
    metadata,
    sa.Column("principal_id", sa.String(40), primary_key=True),
    sa.Column("spool", sa.String(40), primary_key=True),
    sa.Column("through", sa.BigInteger, nullable=False),  # the number of the last decision that is recorded
    sa.Column("at", _time, nullable=False),
    sa.Index("ix_decision_spool_at", "at"),
)
limit_usage = sa.Table(
    "limit_usage",
    metadata,
    sa.Column("principal_id", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("window_start", sa.Integer, primary_key=True),  # seconds since 1970
    sa.Column("used", sa.BigInteger, nullable=False),  # calls, or 1/10,000 of the summed unit
)
finding = sa.Table(
    "finding",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(48), nullable=False),
    sa.Column("fingerprint", sa.String(71), nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),  # open | adopted | accepted | resolved
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", _json, nullable=False),
    sa.Column("principal_id", sa.String(40), nullable=True),
    sa.Column("opened_at", _time, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
)
feed = sa.Table(  # every change, in order; a node rebuilds its live estate from it
    "feed",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),  # principal | system | key | guardrails | …
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("at", _time, nullable=False),
    sa.Column("actor", sa.String(254), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
evidence_entry = sa.Table(
    "evidence_entry",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", _time, nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("principal_id", sa.String(40), nullable=True),
    sa.Column("data", sa.LargeBinary, nullable=False),  # the exact canonical bytes that are hashed
    # what can be erased of it stands apart, encrypted; an erasure empties both and names its own entry
    sa.Column("salt", sa.LargeBinary, nullable=True),  # 32 random bytes: without them there is no key and no opening
    sa.Column("payload", sa.LargeBinary, nullable=True),
    sa.Column("payload_key", sa.Integer, nullable=True),
    sa.Column("erased_by", sa.BigInteger, nullable=True),  # an index of the same log
)
evidence_key = sa.Table(  # what the keys of payloads are derived from, with each payload's salt
    "evidence_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("created_at", _time, nullable=False),
)
evidence_hold = sa.Table(  # of which entries nothing may be erased; all that is given must hold
    "evidence_hold",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=True),
    sa.Column("system", sa.String(63), nullable=True),
    sa.Column("person", sa.String(254), nullable=True),
    sa.Column("since", _time, nullable=True),
    sa.Column("until", _time, nullable=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed_by", sa.String(254), nullable=False),
    sa.Column("placed_at", _time, nullable=False),
    sa.Column("released_by", sa.String(254), nullable=True),
    sa.Column("released_at", _time, nullable=True),
    sa.Column("release_reason", sa.Text, nullable=True),
)
evidence_erasure = sa.Table(  # orders to erase that are under way; one that is carried out leaves no row
    "evidence_erasure",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("node", sa.String(40), nullable=False),
    sa.Column("cover", sa.Text, nullable=False),  # JSON; names the person, if it is about one
    sa.Column("actor", sa.String(254), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("rule", sa.String(128), nullable=False),
    sa.Column("reached", sa.BigInteger, nullable=False),  # the last index that is done
    sa.Column("end", sa.BigInteger, nullable=False),  # the first that is not meant
    sa.Column("asked_at", _time, nullable=False),
)
evidence_retention = sa.Table(  # how far each rule of retention was carried out in a node's log
    "evidence_retention",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("rule", sa.String(128), primary_key=True),
    sa.Column("reached", sa.BigInteger, nullable=False),
    sa.Column("swept_at", _time, nullable=True),  # when it was last carried out to its end
)
sa.Index("ix_evidence_entry_principal_id", evidence_entry.c.principal_id, evidence_entry.c.time)
# Nearly all entries are verdicts and outcomes; the rare kinds are found by an index that costs them nothing.
RARE_KIND = sa.literal_column("kind").not_in([sa.literal_column("'verdict'"), sa.literal_column("'outcome'")])
sa.Index(
    "ix_evidence_entry_kind",
    evidence_entry.c.kind,
    evidence_entry.c.time,
    sqlite_where=RARE_KIND,
    postgresql_where=RARE_KIND,
)
evidence_tile = sa.Table(  # C2SP tlog-tiles, full and partial: proofs, and the means to name a changed entry
    "evidence_tile",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),  # 1 to 256 hashes of 32 bytes
)
evidence_checkpoint = sa.Table(  # one of each 256 entries or so, to tell which stretch of a rewritten log is wrong
    "evidence_checkpoint",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("checkpoint", sa.Text, nullable=False),
)
evidence_head = sa.Table(
    "evidence_head",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),  # 32-byte roots of the full subtrees, largest first
    sa.Column("checkpoint", sa.Text, nullable=False),  # the signed head (C2SP tlog-checkpoint)
)
node = sa.Table(
    "node",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("origin", sa.String(255), nullable=False, unique=True),  # the log's name in its checkpoints
    sa.Column("created_at", _time, nullable=False),
)
vault_secret = sa.Table(  # secrets for upstream systems, sealed
    "vault_secret",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("bindings", _json, nullable=False),  # {system: the destination it had}
    sa.Column("created_at", _time, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
    sa.Column("changed_by", sa.String(254), nullable=False),
)
person_connection = sa.Table(  # refresh tokens of people who let Charter act for them at an upstream, sealed
    "person_connection",
    metadata,
    sa.Column("id", sa.String(320), primary_key=True),  # SYSTEM/PERSON
    sa.Column("system", sa.String(63), nullable=False, index=True),
    sa.Column("person", sa.String(254), nullable=False, index=True),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),  # where the system led when the person connected
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("changed_at", _time, nullable=False),
)
lease = sa.Table(  # credentials made for one principal each; no secret
    "lease",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), nullable=False, index=True),
    sa.Column("system", sa.String(63), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("system_body", _json, nullable=False),  # as it was: where to revoke
    sa.Column("system_digest", sa.String(71), nullable=False),
    sa.Column("holder", _json, nullable=False),
    sa.Column("rights", _json, nullable=False),
    sa.Column("handle", _json, nullable=False),  # the name of what is made outside
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("ttl_seconds", sa.Integer, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("expires_at", _time, nullable=False),
    sa.Column("ends_at", _time, nullable=False),
    sa.Column("issued_at", _time, nullable=True),
    sa.Column("renewals", sa.Integer, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try_at", _time, nullable=True),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("seen_missing", sa.Integer, nullable=False),
    sa.Column("tidy_at", _time, nullable=True, index=True),
    sa.Column("changed_at", _time, nullable=True),
)
evidence_sink = sa.Table(  # where evidence is sent to
    "evidence_sink",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("address", sa.String(2048), nullable=False),
    sa.Column("form", sa.String(16), nullable=False),
    sa.Column("secret_env", sa.String(128), nullable=True),
    sa.Column("added_by", sa.String(254), nullable=False),
    sa.Column("added_at", _time, nullable=False),
)
evidence_cursor = sa.Table(  # how far into which node's log a sink has been served
    "evidence_cursor",
    metadata,
    sa.Column("sink", sa.String(63), sa.ForeignKey("evidence_sink.name"), primary_key=True),
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),  # the index of the first entry it has not taken
    sa.Column("moved_at", _time, nullable=False),
)
observed_event = sa.Table(  # which events of others stand in the evidence: each once
    "observed_event",
    metadata,
    sa.Column("identity", sa.String(64), primary_key=True),  # SHA-256 over the source's kind and the event's own id
    sa.Column("digest", sa.String(64), nullable=False),  # of what was told of it
)
known_actor = sa.Table(  # which principal it is that another's logs name so, by a person's word
    "known_actor",
    metadata,
    sa.Column("source", sa.String(32), primary_key=True),
    sa.Column("actor", sa.String(512), primary_key=True),
    sa.Column("principal_id", sa.String(40), sa.ForeignKey("principal.id"), nullable=False),
    sa.Column("said_by", sa.String(254), nullable=False),
    sa.Column("said_at", _time, nullable=False),
)
span_source = sa.Table(  # applications that send spans with a key of Charter's, by its digest
    "span_source",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("key_digest", sa.String(71), nullable=False, unique=True),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("made_by", sa.String(254), nullable=False),
    sa.Column("made_at", _time, nullable=False),
)
behaviour_cursor = sa.Table(  # how far each node's log was watched
    "behaviour_cursor",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),  # from here on is read again after a start
    sa.Column("silent", sa.BigInteger, nullable=False),  # below that, entries are learned and nothing is said of them
    sa.Column("moved_at", _time, nullable=False),
)
behaviour_baseline = sa.Table(  # what principals and groups of peers usually do, as one node's log tells it
    "behaviour_baseline",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(80), primary_key=True),  # a principal's id, or a group's name
    sa.Column("body", _json, nullable=False),
    sa.Column("kept_at", _time, nullable=False),
)
behaviour_signal = sa.Table(  # the newest signals of each principal
    "behaviour_signal",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=False, index=True),
    sa.Column("finding_id", sa.String(40), nullable=False, index=True),
    sa.Column("at", _time, nullable=False, index=True),
    sa.Column("noticed_at", _time, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),  # acts that this one stands for
    sa.Column("body", _json, nullable=False),
)
behaviour_accepted = sa.Table(  # what owners say is normal
    "behaviour_accepted",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=False, index=True),
    sa.Column("feature", sa.String(16), nullable=False),
    sa.Column("key", sa.String(200), nullable=False),
    sa.Column("until", _time, nullable=False),
    sa.Column("accepted_by", sa.String(254), nullable=False),
    sa.Column("reason", sa.String(1000), nullable=False),
    sa.Column("accepted_at", _time, nullable=False),
)
response = sa.Table(  # what rules did because of a finding, as long as it lasts
    "response",
    metadata,
    sa.Column("finding_id", sa.String(40), primary_key=True),
    sa.Column("principal_id", sa.String(40), nullable=False, index=True),
    sa.Column("rule", sa.String(63), nullable=False),
    sa.Column("does", sa.String(16), nullable=False),
    sa.Column("began_at", _time, nullable=False),
    sa.Column("until", _time, nullable=True),  # None: until a person settles the finding
)
witnessed_log = sa.Table(  # logs of others whose heads this node cosigns, each with the last it did
    "witnessed_log",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("public", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=True),  # None: nothing was cosigned yet
    sa.Column("seen_at", _time, nullable=True),
)
cosigned_head = sa.Table(  # the newest head of a node's own log that witnesses cosigned, with their lines
    "cosigned_head",
    metadata,
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False),
    sa.Column("cosigned_at", _time, nullable=False),
)
