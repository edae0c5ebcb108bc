"""The demo's story: from a checkout with AI nobody registered to a governed, evidenced, revocable estate.

Every step runs the commands a person would run, on real parts, and checks what it claims. The first claim that does not
hold ends the demo with exit code 1.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from pathlib import Path

from charter.cli.demo.asking import ask_a_model
from charter.cli.demo.chapters import act, discover, govern
from charter.cli.demo.lending import lend
from charter.cli.demo.making import change_what_it_is_made_of
from charter.cli.demo.poisoned import read_a_strangers_mail
from charter.cli.demo.prove import prove
from charter.cli.demo.provider import Provider, a_provider
from charter.cli.demo.quarter import right_size
from charter.cli.demo.renewing import renew
from charter.cli.demo.sharing import share_a_key
from charter.cli.demo.stage import build_stage, find_servers
from charter.cli.demo.teller import Teller, Untrue
from charter.cli.demo.witnessed import a_witness, be_watched
from charter.cli.output import NO, out, say, warn
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import ConflictError, ErrorCode, UnavailableError


def tell(*, keep: bool, folder: Path | None, servers: Path | None) -> int:
    """Tell the whole story; return the exit code.

    Raises:
        AbsentError: a server it needs is not installed.
        ConflictError: there is something in `folder`.
        UnavailableError: `folder` cannot be made.
    """
    found = find_servers(servers)
    clock = SystemClock()
    started = clock.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as on Ctrl-C: with what was started
    root = _new_folder(folder)
    say(f"The demo's folder is {root}", "dim")
    try:
        with a_provider() as provider:
            teller = Teller(build_stage(root, found, SystemEntropy(), clock.now(), models=provider.port))
            _chapters(teller, provider, keep=keep)
    except Untrue as err:
        warn(f"\n✗ {err}")
        warn(f"the demo stopped; its folder is kept at {root}")
        return NO
    seconds = clock.monotonic() - started
    out.print()
    say(f"All {teller.claims} claims held, in {seconds:.0f} seconds.", "bold green")
    if not keep and folder is None:
        shutil.rmtree(root, ignore_errors=True)
    return 0


def _new_folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="charter-demo-"))
    root = folder.resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        taken = any(root.iterdir())
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise UnavailableError(
            ErrorCode.STORE_FAILED, f"`{root}` cannot be used: {why}", help="choose another --folder"
        ) from err
    if taken:
        raise ConflictError(ErrorCode.EXISTS, f"there is something in `{root}`", help="choose an empty --folder")
    return root


def _chapters(teller: Teller, provider: Provider, *, keep: bool) -> None:
    discover(teller)
    with a_witness(teller) as witness, teller.server(CHARTER_WITNESSES=witness) as link:
        govern(teller)
        be_watched(teller)
        act(teller)
        ask_a_model(teller, provider)
        renew(teller)
        change_what_it_is_made_of(teller)
        share_a_key(teller)
        lend(teller)
        read_a_strangers_mail(teller)
        prove(teller, witness.partition(" ")[0])
        right_size(teller)
        if keep:
            say(f"\nStill running. Console: {teller.ask('console')['url']}", "bold")
            say(f"Estate: {teller.stage.estate}   (first link: {link}, spent or not, lasts ten minutes)", "dim")
            say("Stop it with Ctrl-C.")
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                return
