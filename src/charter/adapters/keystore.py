"""The master key in a file, and the seal it puts on secrets that are kept in the database.

INVARIANT: `master.key` is 32 random bytes that only Charter's user can read (mode 0600). It is made once, complete or
not at all; one that others could read, or of another size, is refused and never mended in silence.
INVARIANT: a seal is AES-256-GCM with a fresh nonce, bound to what it is for, and names the master key it was made with,
so that a lost or exchanged master key is told apart from altered data.

A sealed value is text: `v1.<8 hex bytes that name the master key>.<base64url of nonce and ciphertext>`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.core.values import Secret
from charter.identity.jose import decode_base64url, encode_base64url

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORM = "v1"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class MasterKey:
    """Seals and unseals. Satisfies identity.keys.Sealer."""

    path: Path
    name: str  # of the key: a digest that tells nothing else about it
    _aead: AESGCM = field(repr=False)
    _entropy: Entropy = field(repr=False)

    @classmethod
    def open(cls, path: Path, entropy: Entropy) -> MasterKey:
        """Read the master key at `path`; make it if there is none.

        Raises:
            IntegrityError: the file is no key, or not Charter's alone.
            UnavailableError: it cannot be read or made.
        """
        try:
            secret = _read(path)
            if secret is None:
                _make(path, entropy.bytes(KEY_BYTES))
                secret = _read(path)
        except OSError as err:
            raise UnavailableError(
                ErrorCode.STORE_FAILED,
                f"the master key `{path}` cannot be used: {(err.strerror or str(err)).lower()}",
                help="let Charter's user read it and write to its folder",
            ) from err
        if secret is None:
            raise _unfit(path, "vanished while it was made", "start again")
        name = hashlib.sha256(b"charter master key\x00" + secret).hexdigest()[:16]
        return cls(path, name, AESGCM(secret), entropy)

    def seal(self, secret: Secret, context: str) -> str:
        """Return `secret` sealed, bound to `context`."""
        nonce = self._entropy.bytes(_NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, secret.reveal(), context.encode())
        return f"{_FORM}.{self.name}.{encode_base64url(nonce + sealed)}"

    def unseal(self, sealed: str, context: str) -> Secret:
        """Return what was sealed for `context`.

        Raises:
            IntegrityError: it was sealed under another master key, for another context, or altered.
        """
        form, _, rest = sealed.partition(".")
        name, _, text = rest.partition(".")
        if form != _FORM:
            raise _broken(f"`{context}` is not sealed in a form this Charter knows", "restore the newest backup")
        if name != self.name:
            raise _broken(
                f"`{context}` was sealed under the master key {name[:16]!a}, but `{self.path}` holds `{self.name}`",
                "the file was lost or exchanged: put the right one back from your backup",
            )
        try:
            data = decode_base64url(text)
            return Secret(self._aead.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode()))
        except (ValueError, InvalidTag) as err:
            raise _broken(
                f"the sealed value of `{context}` was altered, or belongs elsewhere", "restore the newest backup"
            ) from err


def _read(path: Path) -> bytes | None:
    """Return the key in the file, or None if there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _unfit(path, "is no plain file", "put the right file back from your backup")
        if found.st_mode & _OTHERS:
            raise _unfit(
                path,
                f"can be used by others than its owner (mode {stat.S_IMODE(found.st_mode):04o})",
                f"chmod 600 {path}; if others may have read it, rotate every key",
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise _unfit(
                path, f"belongs to user {found.st_uid}", f"chown it to Charter's user, or check who put it at {path}"
            )
        secret = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(secret) != KEY_BYTES:
        raise _unfit(path, f"is not {KEY_BYTES} bytes long", "put the right file back from your backup")
    return secret


def _make(path: Path, secret: bytes) -> None:
    """Write a new key: complete under another name first, then in its place if nobody was faster."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass  # another process made one: that one counts
    finally:
        fresh.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unfit(path: Path, why: str, mend: str) -> IntegrityError:
    return IntegrityError(ErrorCode.KEY_BROKEN, f"the master key `{path}` {why}", help=mend)


def _broken(detail: str, mend: str) -> IntegrityError:
    return IntegrityError(ErrorCode.KEY_BROKEN, detail, help=mend)
