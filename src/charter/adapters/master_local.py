"""A master key whose 32 bytes Charter holds itself: from a file, the environment or a systemd credential."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field

from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Secret
from charter.identity.sealing import KEY_BYTES, SealBrokenError, SealingKey

MAX_TEXT = 256  # bytes of a key written as text, white space included
_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{43}=?")
_OLD_FORM = "v1"


@dataclass(frozen=True, slots=True)
class LocalMaster:
    """A master in memory. Satisfies identity.envelope.Master, and opens seals of the form v1."""

    kind: str  # file | environment | systemd
    where: str  # for people
    _key: SealingKey = field(repr=False)

    @classmethod
    def of(cls, kind: str, where: str, secret: Secret, entropy: Entropy) -> LocalMaster:
        """Return the master that `secret`, 32 bytes, is."""
        return cls(kind, where, SealingKey.of(secret, entropy))

    @property
    def name(self) -> str:
        """A digest of the key that tells nothing else about it: the same wherever these 32 bytes are kept."""
        return f"local:{self._key.fingerprint}"

    def wrap(self, key: Secret, context: str) -> str:
        """Return `key` wrapped, bound to `context`."""
        return self._key.close(key, context)

    def unwrap(self, wrapped: str, context: str) -> Secret:
        """Return what was wrapped for `context`, or raise SealBrokenError."""
        return self._key.open(wrapped, context)

    def seal(self, secret: Secret, context: str) -> str:
        """Return `secret` sealed in the form v1, as Charter did before there were data keys."""
        return f"{_OLD_FORM}.{self._key.fingerprint}.{self._key.close(secret, context)}"

    def unseal(self, sealed: str, context: str) -> Secret:
        """Return what was sealed in the form v1.

        Raises:
            IntegrityError: it was sealed under another master key, for another context, or altered.
        """
        form, _, rest = sealed.partition(".")
        name, _, text = rest.partition(".")
        if form != _OLD_FORM:
            raise _broken(f"`{context}` is not sealed in a form this Charter knows", "restore the newest backup")
        if name != self._key.fingerprint:
            raise _broken(
                f"`{context}` was sealed under the master key {name[:16]!a}, but {self.where} holds "
                f"`{self._key.fingerprint}`",
                "the file was lost or exchanged: put the right one back from your backup",
            )
        try:
            return self._key.open(text, context)
        except SealBrokenError as err:
            raise _broken(
                f"the sealed value of `{context}` was altered, or belongs elsewhere", "restore the newest backup"
            ) from err


def key_from_text(text: bytes, where: str) -> Secret:
    """Return the key that `text` is: 32 raw bytes, or their hex or base64, with white space around it.

    Raises:
        IntegrityError: it is none of these.
    """
    if len(text) == KEY_BYTES:
        return Secret(text)
    trimmed = text.strip()
    if _HEX.fullmatch(trimmed):
        return Secret(bytes.fromhex(trimmed.decode()))
    if _BASE64.fullmatch(trimmed):
        return Secret(b64decode(trimmed.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/")) + b"="))
    raise _broken(
        f"the master key in {where} is not {KEY_BYTES} bytes, nor their hex or base64",
        "make one: openssl rand -base64 32",
    )


def _broken(detail: str, mend: str) -> IntegrityError:
    return IntegrityError(ErrorCode.KEY_BROKEN, detail, help=mend)
