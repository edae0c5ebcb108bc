"""Commands about a principal's credentials: register a key or certificate, have a secret made, revoke one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from charter.cli.context import Json, context_of
from charter.cli.output import print_json, say, table
from charter.core.errors import ErrorCode, MalformedError
from charter.identity.bundle import ec_jwk
from charter.identity.jose import encode_base64url

Name = Annotated[str, typer.Argument(help="The principal's name.")]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")]
MAX_FILE = 32_768  # bytes


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="A principal's credentials: keys, certificates, secrets.", no_args_is_help=True)
    group.command("ls")(list_keys)
    group.command("add")(add)
    group.command("secret")(secret)
    group.command("revoke")(revoke)
    app.add_typer(group, name="key")


def list_keys(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """List what NAME proves itself by, in use or not.

    Example: charter key ls refund-agent
    """
    keys = context_of(context).control.get(f"/v1/principals/{name}")["keys"]
    if as_json:
        print_json({"principal": name, "keys": keys})
        return
    rows: list[list[object]] = [
        [k["id"], k["type"], k["standing"], k["registered_at"][:10], k["thumbprint"]] for k in keys
    ]
    table(["id", "what", "standing", "since", "thumbprint"], rows)


def add(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="A certificate or public key in PEM, or a public JWK.", exists=True)],
    reason: Why = "registered by hand",
    as_json: Json = False,
) -> None:
    """Register the public key, or the client certificate, that NAME will prove itself by.

    Example: charter key add refund-agent refund-agent.pem
    """
    here = context_of(context)
    body = key_in(file.read_bytes()[: MAX_FILE + 1]) | {"actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/principals/{name}/keys", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name} proves itself by {answer['key']} from now on; its client_id is {answer['client_id']}", "green")


def secret(context: typer.Context, name: Name, reason: Why = "asked for", as_json: Json = False) -> None:
    """Have a secret made for NAME, whose charter says legacy-secret. It is shown once, and kept nowhere.

    The one before stays good until it is revoked, so that a client can change over.

    Example: charter key secret old-bot
    """
    here = context_of(context)
    answer = here.control.post(f"/v1/principals/{name}/secret", {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    say(f"client_id      {answer['client_id']}")
    say(f"client_secret  {answer['secret']}")
    say("it is not shown again; a key is better: charter run makes one", "yellow")


def revoke(
    context: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(help="The credential's id: crd_…")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")],
    as_json: Json = False,
) -> None:
    """Revoke one credential of NAME. What it obtained is dead at once; the identity stays.

    Example: charter key revoke refund-agent crd_01k… --reason "laptop lost"
    """
    here = context_of(context)
    answer = here.control.delete(f"/v1/principals/{name}/keys/{key}", {"person": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    say(f"{answer['key']} of {name} is {answer['standing']}", "bold")


def key_in(data: bytes) -> dict[str, Any]:
    """Return what a file registers: `{"certificate": PEM}` or `{"jwk": {…}}`.

    Raises:
        MalformedError: it holds neither, or a private key.
    """
    if len(data) > MAX_FILE:
        raise _unfit(f"is larger than {MAX_FILE} bytes")
    if b"PRIVATE KEY" in data:
        raise _unfit("holds a private key, which must stay where it is")
    if b"BEGIN CERTIFICATE" in data:
        return {"certificate": data.decode("ascii", "replace")}
    if b"BEGIN PUBLIC KEY" in data:
        return {"jwk": _jwk_of(data)}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise _unfit("is neither PEM nor a JWK") from err
    if not isinstance(found, dict):
        raise _unfit("is no JWK")
    return {"jwk": found}


def _jwk_of(data: bytes) -> dict[str, str]:
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as err:
        raise _unfit("holds no public key that can be read") from err
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(raw)}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return ec_jwk(key)
    raise _unfit("holds a key of another kind than EC with P-256 or Ed25519")


def _unfit(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE, f"the file {why}", help="give a certificate or public key in PEM, or a public JWK"
    )
