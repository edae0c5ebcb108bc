"""Real places for master keys: files, variables, systemd credentials, a SoftHSM token, AWS KMS as moto serves it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.master_place import Surroundings, open_master, parse_place
from charter.core.entropy import SystemEntropy
from charter.identity.envelope import Master

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "4711-charter"
KINDS = ("file", "environment", "systemd", "pkcs11", "aws-kms")


@dataclass
class Machine:
    """One machine's surroundings: a data folder, an environment, and whichever places a test asks for."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    specs: dict[str, str] = field(default_factory=dict)

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.folder, self.variables.get, SystemEntropy())

    def open(self, spec: str, *, make: bool = True) -> Master:
        found = open_master(parse_place(spec, self.folder), self.around, make=make)
        assert found is not None
        return found

    def another(self, kind: str) -> str:
        """Make ready one more place of `kind` with a key of its own; return what a setting would say."""
        number = len(self.specs)
        name = f"{kind}-{number}"
        self.specs[name] = getattr(self, f"_{kind.replace('-', '_')}")(number)
        return self.specs[name]

    def _file(self, number: int) -> str:
        return f"file:{self.folder}/key-{number}"

    def _environment(self, number: int) -> str:
        self.variables[f"CHARTER_MASTER_KEY_{number}"] = b64encode(os.urandom(32)).decode()
        return f"environment:CHARTER_MASTER_KEY_{number}"

    def _systemd(self, number: int) -> str:
        folder = self.folder / "credentials"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.variables["CREDENTIALS_DIRECTORY"] = str(folder)
        (folder / f"key-{number}").write_bytes(os.urandom(32))
        (folder / f"key-{number}").chmod(0o440)  # as systemd leaves it where an access list lets the service in
        return f"systemd:key-{number}"

    def _pkcs11(self, number: int) -> str:
        self.variables["CHARTER_MASTER_PIN"] = PIN
        return f"pkcs11:token=charter-{os.getpid()};object={self.folder.name}-{number}?module-path={SOFTHSM}"

    def _aws_kms(self, _number: int) -> str:
        import boto3

        return "aws-kms:" + str(
            boto3.client("kms").create_key(KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT")["KeyMetadata"][
                "Arn"
            ]
        )


@contextmanager
def softhsm() -> Iterator[None]:
    """Give a token of SoftHSM, kept in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="charter-softhsm-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder, "tokens").mkdir()
        conf = Path(folder, "softhsm2.conf")
        conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        patch.setenv("SOFTHSM2_CONF", str(conf))
        words = ["--init-token", "--free", "--label", f"charter-{os.getpid()}", "--pin", PIN, "--so-pin", "so-pin"]
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
        yield


@contextmanager
def aws() -> Iterator[str]:
    """Give an AWS of its own, as moto serves it on a loopback port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def token() -> Iterator[None]:
    """One SoftHSM for the session: the module reads its settings once in a process's life."""
    with softhsm():
        yield


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """One AWS for the session."""
    with aws() as url:
        yield url


def a_machine(folder: Path, request: Any, kinds: tuple[str, ...] = KINDS) -> Machine:
    """Return a machine on which places of `kinds` can be used."""
    if "pkcs11" in kinds:
        request.getfixturevalue("token")
    if "aws-kms" in kinds:
        request.getfixturevalue("aws_url")
    return Machine(folder)
