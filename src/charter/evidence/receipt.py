"""Receipts: the log's signed promise that an entry stands at its place, given at once to whoever asks.

    charter.receipt/1
    <origin>
    <index>
    <base64 leaf hash>
    <time of the entry>

    — <origin> <signature of the log's key>

It is a C2SP signed note. Its second line is no number, so it can never be taken for a checkpoint. The entry is durable
and under the log's signed head before the receipt is made: whoever holds one and finds no such entry in a later log has
proof that it was dropped.
"""

from __future__ import annotations

import base64

from charter.core.keys import Signer
from charter.evidence.checkpoint import Signature, key_id
from charter.evidence.log import Stored
from charter.evidence.tree import leaf_hash

FORMAT = "charter.receipt/1"


def sign_receipt(origin: str, entry: Stored, signer: Signer) -> str:
    """Return the receipt of an entry of the log `origin`, whose key `signer` is."""
    leaf = base64.b64encode(leaf_hash(entry.data)).decode()
    body = f"{FORMAT}\n{origin}\n{entry.index}\n{leaf}\n{entry.time}\n"
    line = Signature(origin, key_id(origin, signer.public), signer.sign(body.encode()))
    return f"{body}\n{line.to_line()}"
