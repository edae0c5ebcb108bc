"""A master key in a PKCS#11 token: an AES-256 key that never leaves it (CKA_SENSITIVE, not CKA_EXTRACTABLE).

The token is named by a PKCS#11 URI (RFC 7512). A session is opened for each wrapping and closed after it: that is done
when Charter starts and when keys are rotated, and a token that was pulled out is noticed then.

INVARIANT: the name of a master is derived from the token's serial and from what the key makes of a fixed block, so that
another key under the same label is told apart from altered data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.pkcs11_uri import TokenAddress
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, ErrorCode, IntegrityError, MalformedError, UnavailableError
from charter.core.values import Secret
from charter.identity.jose import decode_base64url, encode_base64url
from charter.identity.sealing import KEY_BYTES, SealBrokenError

_NONCE_BYTES, _TAG_BITS = 12, 128
_BLOCK = b"charter master k"  # 16 bytes: one block of AES


@dataclass(frozen=True, slots=True)
class TokenMaster:
    """A master in a token. Satisfies identity.envelope.Master."""

    address: TokenAddress
    name: str
    _pin: Secret = field(repr=False)
    _entropy: Entropy = field(repr=False)
    kind: str = "pkcs11"

    @classmethod
    def open(cls, address: TokenAddress, pin: Secret, entropy: Entropy, *, make: bool) -> TokenMaster:
        """Find the key in its token; `make` it there if it is missing.

        Raises:
            UnavailableError: the module, the token or the key cannot be used.
            MalformedError: the PIN is wrong.
            IntegrityError: the key is missing and must not be made, or could be taken out of the token.
        """
        with _session(address, pin, write=make) as session:
            key = _find(session, address) or (_make(session, address) if make else None)
            if key is None:
                raise IntegrityError(
                    ErrorCode.KEY_BROKEN,
                    f"the token holds no key `{address.object}`",
                    help="it was lost or exchanged: check the token, or restore the key to it",
                )
            _must_stay_inside(key, address)
            name = f"pkcs11:{_fingerprint(session, key)}"
        return cls(address, name, pin, entropy)

    @property
    def where(self) -> str:
        """The key's address, for people."""
        return f"the key `{self.address.object}` of the token `{self.address.token}`"

    def wrap(self, key: Secret, context: str) -> str:
        """Return `key` wrapped, bound to `context`."""
        nonce = self._entropy.bytes(_NONCE_BYTES)
        with self._key() as master:
            return encode_base64url(nonce + bytes(master.encrypt(key.reveal(), **_gcm(nonce, context))))

    def unwrap(self, wrapped: str, context: str) -> Secret:
        """Return what was wrapped for `context`, or raise SealBrokenError."""
        import pkcs11

        try:
            data = decode_base64url(wrapped)
        except ValueError as err:
            raise SealBrokenError from err
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        if len(nonce) < _NONCE_BYTES or len(sealed) <= _TAG_BITS // 8:
            raise SealBrokenError
        with self._key() as master:
            try:
                return Secret(bytes(master.decrypt(sealed, **_gcm(nonce, context))))
            except _wrong_data(pkcs11) as err:
                raise SealBrokenError from err

    @contextmanager
    def _key(self) -> Iterator[Any]:
        """Give the key, in a session of its own.

        Raises:
            IntegrityError: it is another one than was opened.
        """
        with _session(self.address, self._pin) as session:
            key = _find(session, self.address)
            if key is None or f"pkcs11:{_fingerprint(session, key)}" != self.name:
                raise IntegrityError(
                    ErrorCode.KEY_BROKEN,
                    f"{self.where} is gone, or another one than when it was opened",
                    help="the token was exchanged: put the right one back",
                )
            yield key


@contextmanager
def _session(address: TokenAddress, pin: Secret, *, write: bool = False) -> Iterator[Any]:
    """Open a session of the token; whatever the module complains of becomes an error of Charter's family."""
    try:
        import pkcs11
    except ImportError as err:
        raise UnavailableError(
            ErrorCode.UNSUPPORTED, "PKCS#11 needs the package python-pkcs11", help="pip install 'charter[pkcs11]'"
        ) from err
    try:
        wanted = {"token_label": address.token, "token_serial": address.serial and address.serial.encode()}
        token = pkcs11.lib(address.module).get_token(**{k: v for k, v in wanted.items() if v})
        session = token.open(user_pin=pin.reveal().decode(), rw=write)
    except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid, UnicodeDecodeError) as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the token `{address.token}` does not take the PIN",
            help="check CHARTER_MASTER_PIN or the file of pin-source; a few wrong ones lock the token",
        ) from err
    except (pkcs11.PKCS11Error, RuntimeError) as err:
        raise _unreachable(address, err) from err
    try:
        with session:
            yield session
    except CharterError:
        raise
    except pkcs11.PKCS11Error as err:
        raise _unreachable(address, err) from err


def _find(session: Any, address: TokenAddress) -> Any:  # noqa: ANN401 - the library has no types
    import pkcs11

    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.LABEL: address.object}
    found = list(session.get_objects(wanted))
    if len(found) > 1:
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"the token `{address.token}` holds {len(found)} keys called `{address.object}`",
            help="keep the right one alone under that label",
        )
    return found[0] if found else None


def _make(session: Any, address: TokenAddress) -> Any:  # noqa: ANN401
    import pkcs11
    from pkcs11.constants import MechanismFlag

    return session.generate_key(
        pkcs11.KeyType.AES,
        KEY_BYTES * 8,
        label=address.object,
        store=True,
        capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
        template={pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True},
    )


def _must_stay_inside(key: Any, address: TokenAddress) -> None:  # noqa: ANN401
    import pkcs11

    if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"the key `{address.object}` can be taken out of the token `{address.token}`",
            help="make one that is sensitive and not extractable, and rotate to it",
        )


def _fingerprint(session: Any, key: Any) -> str:  # noqa: ANN401
    """Return 16 hex digits that tell this key in this token from others."""
    import pkcs11

    block = key.encrypt(_BLOCK, mechanism=pkcs11.Mechanism.AES_ECB)
    serial = session.token.serial
    return hashlib.sha256(b"charter token key\x00" + serial + b"\x00" + bytes(block)).hexdigest()[:16]


def _gcm(nonce: bytes, context: str) -> dict[str, Any]:
    import pkcs11

    parameters = pkcs11.GCMParams(nonce, context.encode(), _TAG_BITS)
    return {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": parameters}


def _wrong_data(pkcs11: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401
    """Return what modules raise for a tag that does not fit; SoftHSM says no more than "general error"."""
    return (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError)


def _unreachable(address: TokenAddress, err: Exception) -> UnavailableError:
    return UnavailableError(
        ErrorCode.MASTER_UNAVAILABLE,
        f"the token `{address.token}` cannot be used by way of `{address.module}`: {type(err).__name__}",
        help="check that the token is there and that Charter's user may use the module",
        retry_after_seconds=5,
    )
