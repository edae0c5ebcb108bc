"""Short codes that a machine shows and a person types in, beside the long secret that the machine keeps (RFC 8628).

INVARIANT: a code opens nothing by itself; what it leads to is given to whoever holds the secret.
"""

from __future__ import annotations

import hashlib

from charter.core.entropy import Entropy

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no words
_CODE_LETTERS = 8


def fresh_code(entropy: Entropy) -> str:
    """Return a new code, such as BCDF-GHJK."""
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in entropy.bytes(_CODE_LETTERS))
    return f"{letters[:4]}-{letters[4:]}"


def typed_code(text: str) -> str:
    """Return a code as it was shown, however a person typed it."""
    return text.strip().upper().replace(" ", "-")


def secret_digest(secret: str) -> bytes:
    """Return what a secret is known by here; whatever was sent has one."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
