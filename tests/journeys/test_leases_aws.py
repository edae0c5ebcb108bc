"""A local agent with a lease on AWS, as moto serves it: boto3 finds the session where it looks for one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from charter.core.canonical import canonical
from terminal import Terminal

ROLE = "arn:aws:iam::123456789012:role/charter-journey"
KEY = "wJalrXUtnFEMI-the-key-of-the-broker"
AGENT = """\
import boto3, json, os
who = boto3.client("sts").get_caller_identity()
credentials = boto3.Session().get_credentials()
kept = sorted(name for name in os.environ if name.startswith(("AWS_", "CHARTER_LEASE")))
held = os.environ["CHARTER_LEASE_REPORTS"]
print(json.dumps({"arn": who["Arn"], "method": credentials.method, "kept": kept, "held": held,
                  "mode": oct(os.stat(held).st_mode & 0o777)}))
"""
GRANT = """\
  - system: reports
    actions: [read]
    objects: ["arn:aws:s3:::reports/*"]
"""


@pytest.fixture
def terminal(estate: Terminal, aws_url: str) -> Terminal:
    """An estate whose note-keeper may read reports, and a role for it in AWS."""
    import boto3

    boto3.client("iam").create_role(RoleName="charter-journey", AssumeRolePolicyDocument="{}")
    system = {
        "charter": "v1",
        "system": "reports",
        "kind": "aws",
        "environment": "sandbox",
        "owner": {"person": "rita@example.com", "team": "platform"},
        "aws": {"role": ROLE, "region": "eu-central-1", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret": "vault:aws"},
        "lease": {"ttl": "15m", "max": "1h"},
        "actions": {"read": {"effect": "read", "verbs": ["s3:GetObject"], "on": ["arn:aws:s3:::reports/*"]}},
    }
    (estate.folder / "systems" / "reports.yaml").write_bytes(canonical(system))
    charter = estate.folder / "principals" / "note-keeper.yaml"
    charter.write_text(charter.read_text().replace("grants:\n", f"grants:\n{GRANT}"), encoding="utf-8")
    estate.charter("apply", "--yes", "--reason", "reports")
    estate.charter("vault", "set", "aws", "--for", "reports", stdin=KEY)
    return estate.but(AWS_ENDPOINT_URL=aws_url)


@pytest.mark.slow
def test_boto3_acts_as_the_leased_session_and_as_nobody_else(terminal: Terminal, tmp_path: Path) -> None:
    import boto3

    program = tmp_path / "agent.py"
    program.write_text(AGENT, encoding="utf-8")
    there = terminal.but(AWS_ACCESS_KEY_ID="someone-elses", AWS_SECRET_ACCESS_KEY="someone-elses", AWS_PROFILE="admin")
    with terminal.up():
        said = there.charter("run", "note-keeper", "--lease", "reports", "--", sys.executable, str(program))
        found = json.loads(said.out)
        listed = terminal.ask("leases", "ls", "--all")["leases"]
        evidence = json.dumps(terminal.ask("evidence", "query"))

    session = listed[0]["handle"]["session"]
    assert found["arn"] == f"arn:aws:sts::123456789012:assumed-role/charter-journey/{session}"
    assert (found["method"], found["mode"]) == ("custom-process", "0o600")
    assert found["kept"] == [
        "AWS_CONFIG_FILE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_SHARED_CREDENTIALS_FILE",
        "CHARTER_LEASE_REPORTS",
    ]
    assert not Path(found["held"]).exists()
    assert [(each["state"], each["why"]) for each in listed] == [("revoked", "its holder gave it back")]
    policies = boto3.client("iam").list_role_policies(RoleName="charter-journey")["PolicyNames"]
    assert policies == [f"charter-revoked-{listed[0]['id']}"]  # which denies everything to that session
    assert KEY not in evidence + said.out + said.err
