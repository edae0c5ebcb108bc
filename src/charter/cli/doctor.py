"""`charter doctor`: what Charter depends on, checked one by one, with how to mend what is not in order."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from charter.cli.context import Context
from charter.cli.output import clock_told, counted
from charter.core.errors import CharterError

LEAST_FREE_BYTES = 200 * 1024 * 1024
NEWEST = 2_000  # entries that are checked: what a second is enough for
_SHOWN = 3  # overdue credentials that are named


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"name": self.name, "ok": self.ok, "found": self.found, "mend": self.mend}


def examine(context: Context) -> list[Check]:
    """Return every check, in the order in which one would mend things."""
    return list(_checks(context))


def _checks(context: Context) -> Iterator[Check]:
    settings = context.settings
    yield Check("settings", ok=True, found=f"estate {settings.estate.resolve()}")
    yield _attempt("estate", "mend the files, then charter validate", lambda: _estate(context))
    yield _folder(context)
    yield _space(context)
    yield _attempt("master key", "see docs/operating.md, Keys at rest", lambda: _master_key(context))
    yield _attempt("server", "charter up", lambda: _server(context))
    store = _attempt("store", "see docs/operating.md, When something is wrong", lambda: _store(context))
    yield store
    if not store.ok:
        return  # whatever follows is asked of it
    yield _attempt("keys at rest", "see docs/operating.md, Keys at rest", lambda: _seals(context))
    yield _attempt("vault", "charter vault ls says how", lambda: _vault(context))
    yield _attempt("trust domain", "see docs/spiffe.md", lambda: _trust(context))
    yield _attempt("credentials", "charter rotate lists them; docs/rotation.md", lambda: _credentials(context))
    yield _attempt(
        "leases",
        "charter leases ls shows each with its error; docs/leases.md says what to do",
        lambda: _leases(context),
    )
    yield _attempt("witnesses", "charter evidence witnesses; docs/evidence.md", lambda: _witnesses(context))
    yield _attempt("heads", "the folders of CHARTER_CHECKPOINTS; docs/evidence.md", lambda: _heads(context))
    yield _attempt("notices", "charter approvals notices; docs/approvals.md", lambda: _notices(context))
    yield _attempt("sinks", "charter evidence sinks; docs/integrations.md", lambda: _sinks(context))
    yield _attempt(
        "evidence", "copy the data folder before anything else; then charter evidence verify", lambda: _log(context)
    )


def _attempt(name: str, mend: str, look: Callable[[], tuple[bool, str]]) -> Check:
    try:
        ok, found = look()
    except CharterError as err:
        return Check(name, ok=False, found=err.detail, mend=err.help or mend)
    return Check(name, ok, found, "" if ok else mend)


def _estate(context: Context) -> tuple[bool, str]:
    from charter.bootstrap.estate import check_folder

    root = context.settings.estate
    if not (root / "principals").is_dir():
        return False, f"`{root.resolve()}` holds no principals/: charter init writes an estate"
    estate = check_folder(root)
    return True, f"{len(estate.charters)} principals, {len(estate.systems)} systems, valid"


def _folder(context: Context) -> Check:
    folder = context.settings.data_folder
    if not folder.exists():
        return Check("data folder", ok=True, found="will be made on first use")
    mode = stat.S_IMODE(folder.stat().st_mode)
    private = mode & 0o077 == 0 and os.access(folder, os.W_OK)
    return Check("data folder", private, f"{folder}, mode {mode:04o}", f"chmod 0700 {folder}")


def _space(context: Context) -> Check:
    folder = context.settings.data_folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Check(
        "disk", free >= LEAST_FREE_BYTES, f"{free // 1_000_000} MB free", "make room: a full disk stops all calls"
    )


def _master_key(context: Context) -> tuple[bool, str]:
    """Look at the place of the master key, without a server: whether it is there and closed to others."""
    from charter.bootstrap.keys import look_at_master

    return True, look_at_master(context.settings)


def _seals(context: Context) -> tuple[bool, str]:
    """Ask which master and data keys there are, and whether every sealed value opens."""
    found = context.control.get("/v1/keys/rest")
    master, keys = found["master"], found["data_keys"]
    active = next(key for key in keys if key["state"] == "active")
    told = (
        f"{found['opened']} sealed values open; {master['kind']} master {master['name']} since {master['since'][:10]}, "
        f"data key of {active['created_at'][:10]}"
    )
    if len(keys) > 1:
        told += f", {len(keys) - 1} older data keys still in use"
    if found["broken"]:
        return False, f"{len(found['broken'])} sealed values do not open: {found['broken'][0]}"
    if not master["as_configured"]:
        return False, f"{told}; but CHARTER_MASTER names another place: set it to {master['setting']}"
    if master["leftover"]:
        return (
            False,
            f"{told}; the key file `{master['leftover']}` is used no more: keep a copy with old backups, remove it",
        )
    return True, told


def _notices(context: Context) -> tuple[bool, str]:
    """Ask how many mails and posts wait to be sent, and whether any was given up."""
    told = context.control.get("/v1/notices", limit=20)
    due, failed = told["backlog"]["due"], told["backlog"]["failed"]
    said = f"{counted(due, 'notice')} to be sent"
    if not failed:
        return True, said
    last = next((each["error"] for each in told["notices"] if each["state"] == "failed" and each["error"]), "")
    return False, f"{said}, {failed} given up{f': {last}' if last else ''}"


def _vault(context: Context) -> tuple[bool, str]:
    """Ask whether every system has the secrets it needs, and leads where it led when they were bound to it."""
    found = context.control.get("/v1/vault")
    for each in found["missing"]:
        return False, f"`{each['system']}` needs the secret `{each['name']}`"
    for secret in found["secrets"]:
        for system in set(secret["moved"]) & set(secret["used_by"]):
            return False, f"`{system}` leads elsewhere than when `{secret['name']}` was bound to it"
    return True, f"{counted(len(found['secrets']), 'secret')}, {len(found['connections'])} connected people"


def _trust(context: Context) -> tuple[bool, str]:
    """Ask for our authorities, and whether the trust domains we federate with answer."""
    found, others = context.control.get("/v1/trust"), context.control.get("/v1/federations")["federations"]
    told = (
        f"{found['trust_domain']}, bundle {found['sequence']}, "
        f"{counted(found['x509_authorities'], 'root')}, {counted(len(others), 'federation')}"
    )
    for each in others:
        if not each["is_trusted"] or each["failure"]:
            return False, f"{told}; `{each['trust_domain']}`: {each['failure'] or 'its bundle was not had yet'}"
    return True, told


def _credentials(context: Context) -> tuple[bool, str]:
    """Ask whether every credential was replaced that had to be by now."""
    found = context.control.get("/v1/credentials")
    late = [each for each in found["credentials"] if each["overdue"]]
    if late:
        worst = ", ".join(f"the {each['kind']} of {each['of']}" for each in late[:_SHOWN])
        return False, f"{counted(len(late), 'credential')} overdue: {worst}{' and more' if len(late) > _SHOWN else ''}"
    due = [each for each in found["credentials"] if each["next"]]
    soonest = min(due, key=lambda each: str(each["next"]))
    told = f"{len(found['credentials'])} in use, none overdue"
    return True, f"{told}; next: the {soonest['kind']} of {soonest['of']} on {soonest['next'][:10]}"


def _leases(context: Context) -> tuple[bool, str]:
    """Ask whether every credential that was to be taken back is."""
    counts = context.control.get("/v1/leases")["counts"]
    told = f"{counts['in_use']} in use, {counts['revoking']} being revoked"
    if counts["overdue"]:
        return False, f"{told}; the revocation of {counts['overdue']} failed and is tried again"
    return True, told


def _witnesses(context: Context) -> tuple[bool, str]:
    """Ask whether witnesses cosign the log, and how much of it waits for them."""
    found = context.control.get("/v1/evidence/witnesses")
    told = f"{counted(len(found['witnesses']), 'witness', 'witnesses')}, {found['cosigned']} entries cosigned"
    for each in found["witnesses"]:
        if each["contradicted"] or (each["error"] and not found["settled"]):
            return False, f"{told}; `{each['name']}`: {each['error']}"
    return True, f"{told}, {found['backlog']} waiting; {counted(len(found['watched']), 'log')} witnessed"


def _heads(context: Context) -> tuple[bool, str]:
    """Ask whether the newest head of the log is kept everywhere that it is to be."""
    kept = context.control.get("/v1/evidence/witnesses")["kept"]
    for each in kept:
        if each["error"]:
            return False, f"the newest head of the log is not in `{each['folder']}`: {each['error']}"
    return True, f"kept in {counted(len(kept), 'folder')}"


def _sinks(context: Context) -> tuple[bool, str]:
    """Ask whether evidence reaches every sink."""
    found = context.control.get("/v1/sinks")["sinks"]
    waiting = sum(each["backlog"] for each in found)
    told = f"{counted(len(found), 'sink')}, {counted(waiting, 'entry', 'entries')} waiting"
    for each in found:
        if each["state"] != "ok":
            why = each["error"] or f"its oldest entry waits since {each['waited_seconds']} s"
            return False, f"{told}; `{each['name']}` is {each['state']}: {why}"
    return True, told


def _server(context: Context) -> tuple[bool, str]:
    if not context.control.server_runs:
        return True, "does not run"
    return True, f"answers as {context.control.get('/v1/status')['issuer']}"  # its own setting, not this command's


def _store(context: Context) -> tuple[bool, str]:
    status = context.control.get("/v1/status")
    if status["halted"]:
        return False, f"this node stopped writing: {status['halted']}"
    return bool(status["healthy"]), f"{status['principals']} principals registered, node {status['node']}"


def _log(context: Context) -> tuple[bool, str]:
    """Ask of the newest entries alone: all of a long log take minutes, and `charter evidence verify` checks them."""
    found = context.control.post("/v1/evidence/verify", {"newest": NEWEST})
    if not found["ok"]:
        return False, found["problems"][0] if found["problems"] else ""
    which = "" if found["checked"] == found["size"] else f"the newest {found['checked']} of "
    return True, "; ".join(filter(None, (f"{which}{found['size']} entries verify", clock_told(found["clock"]))))
