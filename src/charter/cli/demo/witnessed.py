"""A second Charter that cosigns the first one's heads, and what that is worth to whoever trusts nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from charter.cli.demo.teller import Teller


@contextmanager
def a_witness(teller: Teller) -> Iterator[str]:
    """Run another Charter; yield what names it in CHARTER_WITNESSES: its key, and where it is asked."""
    folder = _folder(teller)
    teller.charter("init", str(folder))
    with teller.server(folder) as link:
        address = urlsplit(link)
        own = teller.ask("-C", str(folder), "evidence", "witness-key")["witness_key"]
        yield f"{own} {address.scheme}://{address.netloc}/witness"


def be_watched(teller: Teller) -> None:
    """Have the other Charter cosign the heads of the demo's log from now on."""
    teller.step("Another Charter becomes the witness of this one's log")
    key = teller.ask("evidence", "log-key")["log_key"]
    watched = teller.ask("-C", str(_folder(teller)), "evidence", "watch-log", key)
    teller.claim(watched["key"] == key, "it signs a head of that log only if it continues the last one it saw")


def _folder(teller: Teller) -> Path:
    return teller.stage.root / "witness"
