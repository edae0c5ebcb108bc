"""A master key in AWS KMS: it never leaves the service, which wraps and unwraps for those its policy names.

The encryption context of each call is what the data key is bound to, so the service's own trail tells which was asked
for. Credentials, region and endpoint come from where boto3 looks (environment, instance role, `AWS_ENDPOINT_URL_KMS`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.core.values import Secret
from charter.identity.sealing import SealBrokenError

T = TypeVar("T")
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 10, 3
_FIT = ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", True)  # usage, spec, enabled
_ALTERED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_DENIED = "AccessDeniedException"
_PROBE, _PROBE_CONTEXT = Secret(b"charter"), "charter/probe"
_GONE = frozenset({"NotFoundException", "DisabledException", "KMSInvalidStateException"})


@dataclass(frozen=True, slots=True)
class KmsMaster:
    """A symmetric KMS key. Satisfies identity.envelope.Master."""

    arn: str
    _client: Any = field(repr=False)
    kind: str = "aws-kms"

    @classmethod
    def open(cls, key: str) -> KmsMaster:
        """Find the key that `key` (an id, an ARN or `alias/…`) names.

        Raises:
            UnavailableError: the service cannot be reached, or does not let us ask.
            IntegrityError: there is no such key, or none that wraps.
        """
        client = _client_for(key)
        found = _asked(key, lambda: client.describe_key(KeyId=key))["KeyMetadata"]
        if (found.get("KeyUsage"), found.get("KeySpec"), found.get("Enabled")) != _FIT:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"the KMS key `{key}` is disabled, or is no symmetric key to encrypt with",
                help="name a key of usage ENCRYPT_DECRYPT and spec SYMMETRIC_DEFAULT that is enabled",
            )
        return cls(str(found["Arn"]), client)

    @property
    def name(self) -> str:
        """The key's ARN: the service never gives it to another key."""
        return f"aws-kms:{self.arn}"

    @property
    def where(self) -> str:
        """The key's ARN, for people."""
        return f"the KMS key `{self.arn}`"

    def wrap(self, key: Secret, context: str) -> str:
        """Return `key` wrapped, bound to `context`."""
        answer = _asked(
            self.arn,
            lambda: self._client.encrypt(
                KeyId=self.arn, Plaintext=key.reveal(), EncryptionContext={"charter": context}
            ),
        )
        return base64.b64encode(answer["CiphertextBlob"]).decode()

    def unwrap(self, wrapped: str, context: str) -> Secret:
        """Return what was wrapped for `context`, or raise SealBrokenError."""
        try:
            blob = base64.b64decode(wrapped, validate=True)
        except ValueError as err:
            raise SealBrokenError from err
        if not blob:
            raise SealBrokenError
        try:
            answer = self._decrypt(blob, context)
        except UnavailableError as err:
            # The service answers "access denied" for a ciphertext that names no key of ours, as for a lack of rights.
            if isinstance(err.__cause__, Exception) and _code_of(err.__cause__) == _DENIED and self._works():
                raise SealBrokenError from err
            raise
        if answer["KeyId"] != self.arn:
            raise SealBrokenError
        return Secret(bytes(answer["Plaintext"]))

    def _works(self) -> bool:
        """Whether this key wraps and unwraps for us at all."""
        try:
            blob = base64.b64decode(self.wrap(_PROBE, _PROBE_CONTEXT))
            return bytes(self._decrypt(blob, _PROBE_CONTEXT)["Plaintext"]) == _PROBE.reveal()
        except UnavailableError:
            return False

    def _decrypt(self, blob: bytes, context: str) -> Any:  # noqa: ANN401 - boto3 has no types of its own
        given = {"KeyId": self.arn, "CiphertextBlob": blob, "EncryptionContext": {"charter": context}}
        return _asked(self.arn, lambda: self._client.decrypt(**given))


def _client_for(key: str) -> Any:  # noqa: ANN401 - boto3 has no types of its own
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as err:
        raise UnavailableError(
            ErrorCode.UNSUPPORTED, "AWS KMS needs the package boto3", help="pip install 'charter[aws]'"
        ) from err
    parts = key.split(":")
    region = parts[3] if key.startswith("arn:") else None
    settings = Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
    )
    try:
        return boto3.client("kms", region_name=region, config=settings)
    except (BotoCoreError, ValueError) as err:
        raise _unreachable(key, type(err).__name__) from err


def _asked(key: str, ask: Callable[[], T]) -> T:
    """Return what the service answers; its complaints become errors of Charter's family."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as err:
        code = _code_of(err)
        if code in _ALTERED:
            raise SealBrokenError from err
        if code in _GONE:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"the KMS key `{key}` is gone or disabled: {code}",
                help="it was lost or exchanged: enable it, or cancel its deletion",
            ) from err
        raise _unreachable(key, code) from err
    except BotoCoreError as err:
        raise _unreachable(key, type(err).__name__) from err


def _code_of(err: Exception) -> str:
    """Return what the service called its complaint."""
    response = getattr(err, "response", {})
    return str(response.get("Error", {}).get("Code", "unknown"))


def _unreachable(key: str, why: str) -> UnavailableError:
    return UnavailableError(
        ErrorCode.MASTER_UNAVAILABLE,
        f"the KMS key `{key}` cannot be used: {why}",
        help="check network, region and that Charter's role may DescribeKey, Encrypt and Decrypt",
        retry_after_seconds=5,
    )
