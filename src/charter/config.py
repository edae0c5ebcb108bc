"""Settings: one frozen tree, and the only reader of the environment.

Every setting has an environment variable `CHARTER_<NAME>`; a variable of that prefix that names no setting is refused,
so a misspelt one cannot be ignored in silence. All faults are reported together.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.core.values import trusted_address
from charter.gateway.access_profiles import Profile
from charter.registry.problem import suggestion

BUNDLE_PATH = "/.well-known/spiffe-bundle"  # of our trust bundle, at every door that serves it
_PREFIX = "CHARTER_"
# What `charter run` gives to the agent it starts: no settings, but in the environment of commands it runs.
_GIVEN_TO_AGENTS = frozenset(
    {"CHARTER_PRINCIPAL", "CHARTER_MCP_CONFIG", "CHARTER_MCP_URL", "CHARTER_TOKEN_FILE"}
    | {"CHARTER_DECISIONS_URL", "CHARTER_SPANS_URL", "CHARTER_SPOOL"}
)
_GIVEN_PREFIX = ("CHARTER_API_URL_", "CHARTER_MCP_URL_", "CHARTER_MODEL_URL_", "CHARTER_LEASE_", "CHARTER_PROXY_")
# Secrets of Charter's own: no settings, since those are shown; read once by whoever opens the master key, and handed to
# nobody. INVARIANT: no child process gets a variable that begins like this, whatever asks for it.
_SECRET_PREFIXES = ("CHARTER_MASTER_", "CHARTER_OIDC_SECRET", "CHARTER_MAIL_PASSWORD", "CHARTER_CHAT_WEBHOOK")
_SECRETS = re.compile(
    r"CHARTER_MASTER_(?:KEY(?:_[A-Z0-9_]+)?|PIN)|CHARTER_OIDC_SECRET|CHARTER_MAIL_PASSWORD|CHARTER_CHAT_WEBHOOK"
)


def _rotated(value: object) -> object:
    from charter.identity.period import parse_periods

    return parse_periods(value)


def _usual_rotation() -> Mapping[str, dt.timedelta]:
    from charter.identity.period import USUAL

    return USUAL


def _retained(value: object) -> object:
    from charter.registry.retention import parse_retention

    return parse_retention(value)


_SPARK = r"^(local(\[(\*|[0-9]{1,4})\])?|spark://\S{1,250}|k8s://\S{1,250}|yarn)$"


class Settings(BaseModel):
    """What one Charter process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estate: Path = Path()  # the folder of estate files
    data: Path = Path(".charter")  # keys, database, socket; relative to the estate
    server: str | None = None  # a Charter elsewhere, whose control API commands use once charter login let them
    database: str | None = None  # postgresql://…; None: SQLite in the data folder
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8420
    public_url: str | None = None  # what clients see; the issuer. None: http://<host>:<port>
    trust_domain: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$")] = "charter.local"
    egress_port: Annotated[int, Field(ge=0, le=65_535)] | None = None  # the forward proxy; None: there is none
    egress_tls_port: Annotated[int, Field(ge=0, le=65_535)] | None = None  # over TLS, with tls_cert, tls_key
    bundle_port: Annotated[int, Field(ge=0, le=65_535)] | None = None  # a door that shows our SVID (https_spiffe)
    workload_socket: Path | None = None  # of the SPIFFE Workload API; None: in the data folder
    keys: Path | None = None  # where agents keep their private keys; None: ~/.config/charter/keys
    master: str | None = None  # where the master key is; None: master.key in the data folder (docs/operating.md)
    operator: str | None = None  # the person at this machine; None: git's user.email, else the login name
    tls_cert: Path | None = None  # with tls_key: a second door, over TLS, that asks clients for their certificates
    tls_key: Path | None = None
    tls_port: Annotated[int, Field(ge=0, le=65_535)] = 8421
    tls_url: str | None = None  # what clients see of it. None: https://<host>:<tls_port>
    client_ca: Path | None = None  # the authorities that issue client certificates, PEM
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()  # whose Client-Cert is believed
    oidc_issuer: str | None = None  # the organisation's OpenID provider, where people sign in
    oidc_client_id: str | None = None  # Charter's client there; its secret, if it has one, is CHARTER_OIDC_SECRET
    oidc_label: Annotated[str, Field(min_length=1, max_length=60)] = "Single sign-on"  # what the button says
    oidc_groups: Annotated[str, Field(min_length=1, max_length=100)] = (
        "groups"  # the claim that names a person's groups
    )
    authzen_profiles: tuple[Profile, ...] = ()  # drafts of the decision API that are switched on (docs/decision-api.md)
    spark: Annotated[str, Field(pattern=_SPARK)] | None = None  # its master, if Spark answers reviews (docs/answers.md)
    checkpoints: tuple[Path, ...] = ()  # folders that keep the newest head of the log (docs/evidence.md)
    witnesses: tuple[str, ...] = ()  # `<key> <url>` of who cosigns this node's heads (docs/evidence.md)
    witness_quorum: Annotated[int, Field(ge=1, le=64)] | None = None  # how many must have; None: all
    witness_seconds: Annotated[int, Field(ge=5, le=86_400)] = 600  # without the quorum, until it is a finding
    mail_server: str | None = (
        None  # smtps://USER@HOST:PORT, or smtp:// for STARTTLS; its password: CHARTER_MAIL_PASSWORD
    )
    mail_from: Annotated[str, Field(max_length=254, pattern=r"^[^\s@<>]+@[^\s@<>]+$")] | None = None
    chat_format: Literal["slack", "teams", "json"] = "slack"  # of what CHARTER_CHAT_WEBHOOK, a secret, is sent
    approval_links: bool = True  # whether mail about a waiting call holds a link that takes its reader's answer
    token_seconds: Annotated[int, Field(ge=30, le=900)] = 300  # how long access tokens live; a charter may say less
    rotate: Annotated[Mapping[str, dt.timedelta], BeforeValidator(_rotated)] = Field(  # token=7d,data=30d
        default_factory=_usual_rotation
    )
    retention: Annotated[Mapping[str, dt.timedelta], BeforeValidator(_retained)] = Field(  # default=400d,pii=90d
        default_factory=dict
    )
    call_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    plan_seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0  # for the proofs of one plan; the rest is not proven
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024

    @field_validator("trusted_proxies", "authzen_profiles", "checkpoints", "witnesses", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.egress_tls_port is not None and self.tls_cert is None:
            raise ValueError("egress_tls_port needs tls_cert and tls_key")
        return self

    @field_validator("public_url", "tls_url")
    @classmethod
    def _no_trailing_slash(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/") if url else url

    @field_validator("mail_server")
    @classmethod
    def _is_mail_server(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "smtps://localhost")
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/") or parts.password:
            raise ValueError("must be smtps://USER@HOST:PORT or smtp://…, without the password")
        return url

    @field_validator("witnesses")
    @classmethod
    def _are_witnesses(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        from charter.evidence.cosignature import parse_witness

        keys = set()
        for each in values:
            key, _, url = each.partition(" ")
            try:
                keys.add(parse_witness(key).public)
            except CharterError as err:
                raise ValueError(err.detail) from err
            if not url.strip().startswith(("https://", "http://")) or " " in url.strip():
                raise ValueError("must be `<key of the witness> <url>`, with commas between several")
        if len(keys) != len(values):
            raise ValueError("a witness's key is there twice")
        return values

    @model_validator(mode="after")
    def _quorum_can_be_had(self) -> Self:
        if self.witness_quorum is not None and self.witness_quorum > len(self.witnesses):
            raise ValueError("witness_quorum is more than there are witnesses")
        return self

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if (self.mail_server is None) != (self.mail_from is None):
            raise ValueError("CHARTER_MAIL_SERVER and CHARTER_MAIL_FROM go together")
        return self

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, url: str | None) -> str | None:
        return url if url is None else trusted_address(url)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_client_id is None):
            raise ValueError("CHARTER_OIDC_ISSUER and CHARTER_OIDC_CLIENT_ID go together")
        return self

    @field_validator("database")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        """Refuse SQLite elsewhere: only the one in the data folder is guarded by the folder's lock."""
        if url is not None and not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("must begin with postgresql://; without it Charter keeps SQLite in the data folder")
        return url

    @property
    def issuer(self) -> str:
        """The URL that stands in tokens and metadata."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def bundle_url(self) -> str | None:
        """Where other trust domains ask for our bundle by the profile https_spiffe; None without such a door."""
        return None if self.bundle_port is None else f"https://{self.host}:{self.bundle_port}{BUNDLE_PATH}"

    @property
    def egress_url(self) -> str | None:
        """Where the forward proxy is; None without one."""
        if self.egress_port is not None:
            return f"http://{self.host}:{self.egress_port}"
        if self.egress_tls_port is None:
            return None
        seen = urlsplit(self.tls_url or "").hostname or self.host
        return f"https://{f'[{seen}]' if ':' in seen else seen}:{self.egress_tls_port}"

    @property
    def mtls_url(self) -> str | None:
        """Where clients with certificates connect; None without such a door."""
        if self.tls_cert is None:
            return None
        return self.tls_url or f"https://{self.host}:{self.tls_port}"

    @property
    def data_folder(self) -> Path:
        """The data folder, absolute."""
        return (self.estate / self.data).resolve()

    @property
    def socket(self) -> Path:
        """The control API's unix socket."""
        return self.data_folder / "control.sock"

    @property
    def logins(self) -> Path:
        """Where this account keeps what `charter login` was given."""
        return self.key_folder.parent / "logins.json"

    @property
    def workload_path(self) -> Path:
        """The SPIFFE Workload API's unix socket."""
        return (self.workload_socket or self.data_folder / "workload.sock").absolute()

    @property
    def key_folder(self) -> Path:
        """Where agents on this machine keep their private keys."""
        return self.keys or Path.home() / ".config" / "charter" / "keys"


def settings_from(environment: Mapping[str, str], **given: Any) -> Settings:  # noqa: ANN401 - typed by Settings
    """Return the settings that the command line (`given`, None left out) and then `environment` say.

    Raises:
        MalformedError: a variable or value is wrong; all faults together.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name in _GIVEN_TO_AGENTS or name.startswith(_GIVEN_PREFIX):
            continue
        if _SECRETS.fullmatch(name):
            continue
        field = name.removeprefix(_PREFIX).lower()
        if field in Settings.model_fields:
            values[field] = environment[name]
        else:
            faults.append(f"`{name}` is no setting; {suggestion(name, variables())}")
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as err:
        faults += [f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in err.errors()]
        raise _refused(faults) from err
    if faults:
        raise _refused(faults)
    return settings


def variables() -> list[str]:
    """Return the environment variables that are settings."""
    return [_PREFIX + field.upper() for field in Settings.model_fields]


def read_settings(**given: Any) -> Settings:  # noqa: ANN401
    """Return the settings of this process."""
    return settings_from(os.environ, **given)


def child_environment(**added: str) -> dict[str, str]:
    """Return this process's environment with `added` and without Charter's secrets, for a command it is to run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)} | added


def variable(name: str) -> str | None:
    """Return one environment variable that an estate names (an upstream's credential), or None.

    Raises:
        MalformedError: it is one of Charter's own secrets.
    """
    if name.startswith(_SECRET_PREFIXES):
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{name[:80]}` is for Charter alone", help="name another variable in the estate"
        )
    return os.environ.get(name)


def own_variable(name: str) -> str | None:
    """Return one environment variable that is for Charter alone, or None."""
    return os.environ.get(name)


def _refused(faults: list[str]) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, "; ".join(faults), help="charter up --help lists the settings")
