"""The error family. The class says who must act; the code says what happened; the edges hold the tables to their wires.

    CharterError
      MalformedError        the caller must send something else
      UnauthenticatedError  the caller must prove itself
      DeniedError           policy said no; carries the verdict's id
      AbsentError           nothing there, or nothing to be known of
      ConflictError         someone was faster; read again
      ThrottledError        try again after a while
      UnavailableError      a dependency failed; fail closed
      IntegrityError        evidence, key or invariant broken: stop

`detail` is one sentence, lower case, no full stop, values in backticks; `help` says what to do next. Neither ever
holds a secret or a token. A bug is a RuntimeError and not of this family.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """What happened. Every member has a row in docs/error-codes.md."""

    NOT_CANONICAL = "not_canonical"
    BAD_VALUE = "bad_value"
    BAD_ESTATE = "bad_estate"
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a code, no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    WRONG_AUDIENCE = "wrong_audience"
    UNKNOWN_KEY = "unknown_key"
    BAD_CLIENT = "bad_client"
    ASSERTION_REPLAYED = "assertion_replayed"
    BAD_PROOF = "bad_proof"
    BAD_SVID = "bad_svid"
    UNTRUSTED_DOMAIN = "untrusted_domain"
    BAD_BUNDLE = "bad_bundle"
    NOT_ATTESTED = "not_attested"
    UNATTESTED = "unattested"
    BAD_JOIN_TOKEN = "bad_join_token"  # noqa: S105 - a code, no secret
    BAD_TARGET = "bad_target"
    BAD_SCOPE = "bad_scope"
    BAD_GRANT = "bad_grant"
    BAD_METADATA = "bad_metadata"
    BAD_CARD = "bad_card"
    BAD_NEW_KEY = "bad_new_key"
    BAD_REDIRECT = "bad_redirect"
    CONSENT_PENDING = "consent_pending"
    CONSENT_REFUSED = "consent_refused"
    TOO_HASTY = "too_hasty"
    CODE_EXPIRED = "code_expired"
    NOT_BOUND = "not_bound"
    NONCE_NEEDED = "nonce_needed"
    BAD_DETAILS = "bad_details"
    BAD_SUBJECT = "bad_subject"
    BAD_ACTOR = "bad_actor"
    BAD_ACTOR_PROOF = "bad_actor_proof"
    BAD_DELEGATION = "bad_delegation"
    UNKNOWN_DELEGATION = "unknown_delegation"
    UNSUPPORTED_RESPONSE = "unsupported_response"
    NOT_SIGNED_IN = "not_signed_in"
    POLICY_DENIED = "policy_denied"
    APPROVAL_NEEDED = "approval_needed"
    NOT_STANDING = "not_standing"
    UNKNOWN_PRINCIPAL = "unknown_principal"
    UNKNOWN_NODE = "unknown_node"
    UNKNOWN_DOMAIN = "unknown_domain"
    UNKNOWN_SYSTEM = "unknown_system"
    UNKNOWN_TOOL = "unknown_tool"
    UNKNOWN_ENTRY = "unknown_entry"
    UNKNOWN_APPROVAL = "unknown_approval"
    UNKNOWN_FINDING = "unknown_finding"
    UNKNOWN_SINK = "unknown_sink"
    UNKNOWN_SOURCE = "unknown_source"
    NOT_PINNED = "not_pinned"
    UNKNOWN_PERSON = "unknown_person"
    UNKNOWN_LEASE = "unknown_lease"
    EXCESS_PRIVILEGE = "excess_privilege"
    UNKNOWN_SECRET = "unknown_secret"  # noqa: S105
    NOT_BOUND_TO_SYSTEM = "not_bound_to_system"
    NOT_CONNECTED = "not_connected"
    SHARED_CREDENTIAL = "shared_credential"
    STALE = "stale"
    BAD_MOVE = "bad_move"
    HELD = "held"
    ALREADY_RUNNING = "already_running"
    EXISTS = "exists"
    TOO_MANY = "too_many"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    STORE_FAILED = "store_failed"
    NOT_RUNNING = "not_running"
    MASTER_UNAVAILABLE = "master_unavailable"
    EVIDENCE_BROKEN = "evidence_broken"
    BAD_SIGNATURE = "bad_signature"
    BAD_PERMIT = "bad_permit"
    KEY_BROKEN = "key_broken"


class CharterError(Exception):
    """The base of all errors a caller can act on."""

    def __init__(self, code: ErrorCode, detail: str, *, help: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.help = help


class MalformedError(CharterError):
    """The caller must send something else."""


class UnauthenticatedError(CharterError):
    """The caller must prove itself."""


class DeniedError(CharterError):
    """Policy said no."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        help: str | None = None,
        verdict_id: str | None = None,
    ) -> None:
        super().__init__(code, detail, help=help)
        self.verdict_id = verdict_id


class AbsentError(CharterError):
    """Nothing there, or nothing the caller may know of."""


class ConflictError(CharterError):
    """Someone was faster, or the move is not legal from here; read again."""


class ThrottledError(CharterError):
    """Too much at once; try again after `retry_after_seconds`."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        help: str | None = None,
        retry_after_seconds: int = 1,
    ) -> None:
        super().__init__(code, detail, help=help)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(CharterError):
    """A dependency failed, so nothing is allowed; try again after `retry_after_seconds`."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        help: str | None = None,
        retry_after_seconds: int = 1,
    ) -> None:
        super().__init__(code, detail, help=help)
        self.retry_after_seconds = retry_after_seconds


class IntegrityError(CharterError):
    """Evidence, a key or an invariant is broken: stop and look."""
