"""The Workload API against the stock SPIFFE client, unchanged: every method, pushed updates, and who is refused."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc_tools import protoc
from spiffe import JwtBundleSet, SpiffeId, TrustDomain
from spiffe.svid.jwt_svid import JwtSvid
from spiffe.workloadapi.errors import FetchJwtSvidError, FetchX509SvidError, ValidateJwtSvidError
from spiffe.workloadapi.x509_context import X509Context

from charter.identity.authority import refusal
from charter.identity.spiffe import verify_jwt_svid, verify_x509_svid, workload_of
from charter.registry.standing import Move
from workload_stage import LAST_DAY, ME, Listener, a_workload_stage, spiffe_files
from workloads import AS_USER, a_child, hear

REFUND_AGENT = "spiffe://charter.local/production/agent/refund-agent"
OWN = TrustDomain("charter.local")
ACTOR = "test@example.com"
SRC = Path(__file__).parents[2] / "src"


def der(certificates: list[Any]) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in certificates]


def test_a_process_gets_the_x509_svid_of_its_principal() -> None:
    with a_workload_stage() as stage:
        svid = stage.client().fetch_x509_svid()
        assert str(svid.spiffe_id) == REFUND_AGENT
        own = svid.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert own == svid.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        at = stage.clock.now()
        found = verify_x509_svid(der(svid.cert_chain), bundles=stage.house.trust.bundles, at=at)
        workload = workload_of(stage.house.live, found)
        assert refusal(stage.house.live, workload, None, at=at) is None
        assert svid.leaf.not_valid_after_utc - at <= dt.timedelta(hours=1)


def test_what_was_issued_stands_in_the_evidence_before_it_leaves() -> None:
    with a_workload_stage() as stage:
        svid = stage.client().fetch_x509_svid()
        (entry,) = stage.entries("svid.issued")
        body = entry["body"]
        assert body["serial"] == f"{svid.leaf.serial_number:x}"
        assert (body["principal"], body["spiffe_id"], body["type"]) == ("refund-agent", REFUND_AGENT, "x509-svid")
        assert body["seen"]["pid"] == os.getpid()
        assert body["seen"]["uid"] == os.getuid()


def test_the_bundle_verifies_the_svid() -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        bundles = client.fetch_x509_bundles()
        roots = bundles.get_bundle_for_trust_domain(OWN).x509_authorities
        assert roots == set(stage.house.trust.own.x509_authorities)
        context = client.fetch_x509_context()
        assert context.x509_bundle_set.get_bundle_for_trust_domain(OWN).x509_authorities == roots
        assert [str(each.spiffe_id) for each in context.x509_svids] == [REFUND_AGENT]


def test_a_process_gets_a_jwt_svid_that_the_jwt_bundle_verifies() -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        svid = client.fetch_jwt_svid(audience={"payments"})
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(OWN)
        again = JwtSvid.parse_and_validate(svid.token, bundle, {"payments"})
        assert (str(again.spiffe_id), again.audience) == (REFUND_AGENT, {"payments"})
        assert again.expiry - stage.clock.now().timestamp() <= 300
        at, bundles = stage.clock.now(), stage.house.trust.bundles
        found = verify_jwt_svid(svid.token, audience="payments", bundles=bundles, at=at)
        assert refusal(stage.house.live, workload_of(stage.house.live, found), None, at=at) is None
        assert stage.entries("svid.issued")[-1]["body"]["audiences"] == ["payments"]


def test_a_jwt_svid_is_given_for_the_callers_own_id_alone() -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        assert len(client.fetch_jwt_svids(audience={"a", "b"}, subject=SpiffeId(REFUND_AGENT))) == 1
        with pytest.raises(FetchJwtSvidError, match=r"is not 'spiffe://charter\.local/other'"):
            client.fetch_jwt_svid(audience={"a"}, subject=SpiffeId("spiffe://charter.local/other"))


def test_a_jwt_svid_is_validated_for_its_audience() -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        token = client.fetch_jwt_svid(audience={"payments"}).token
        assert str(client.validate_jwt_svid(token, "payments").spiffe_id) == REFUND_AGENT
        with pytest.raises(ValidateJwtSvidError, match="not made out to 'ledger'"):
            client.validate_jwt_svid(token, "ledger")
        with pytest.raises(ValidateJwtSvidError):
            client.validate_jwt_svid(token[:-8] + "AAAAAAAA", "payments")


def test_a_root_taken_out_at_once_is_pushed_with_a_new_svid() -> None:
    with a_workload_stage() as stage:
        listener = Listener()
        stop = stage.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
        first: X509Context = listener.next()
        stage.house.database.write(
            lambda tx: stage.house.trust.rotate_root(tx, actor=ACTOR, reason="stolen", at_once=True)
        )
        second: X509Context = listener.next()
        roots = [each.x509_bundle_set.get_bundle_for_trust_domain(OWN).x509_authorities for each in (first, second)]
        assert roots[0] != roots[1]
        old, new = first.default_svid, second.default_svid
        assert old.leaf.serial_number != new.leaf.serial_number
        at, bundles = stage.clock.now(), stage.house.trust.bundles
        assert verify_x509_svid(der(new.cert_chain), bundles=bundles, at=at)
        stop.cancel()


def test_a_new_intermediate_disturbs_nobody() -> None:
    """What its predecessor signed is good until it ends: workloads are not made to reload all at once."""
    with a_workload_stage() as stage:
        listener = Listener()
        stop = stage.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
        first: X509Context = listener.next()
        stage.house.database.write(lambda tx: stage.house.trust.rotate_intermediate(tx, actor=ACTOR, reason="a test"))
        stage.house.database.write(lambda tx: stage.house.trust.rotate_jwt_key(tx, actor=ACTOR, reason="a test"))
        second: X509Context = listener.next()  # the bundle is another one: it has another key for JWT-SVIDs
        assert first.default_svid.leaf == second.default_svid.leaf
        stop.cancel()


def test_jwt_bundles_are_pushed_when_a_key_is_rotated() -> None:
    with a_workload_stage() as stage:
        listener = Listener()
        stop = stage.client().stream_jwt_bundles(listener.success, listener.failure, retry_connect=False)
        first: JwtBundleSet = listener.next()
        stage.house.database.write(lambda tx: stage.house.trust.rotate_jwt_key(tx, actor=ACTOR, reason="a test"))
        second: JwtBundleSet = listener.next()
        keys = [set(each.get_bundle_for_trust_domain(OWN).jwt_authorities) for each in (first, second)]
        assert keys[0] < keys[1]
        stop.cancel()


def test_an_svid_is_renewed_before_it_ends_and_never_outlives_the_charter() -> None:
    """The house's clock stands three seconds before the end of the charter's last day."""
    end = dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.UTC) + dt.timedelta(seconds=1)
    with a_workload_stage(at=end - dt.timedelta(seconds=3)) as stage:
        listener = Listener()
        stage.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
        seen = [listener.next(), listener.next()]
        assert {each.default_svid.leaf.not_valid_after_utc for each in seen} == {end}
        assert len({each.default_svid.leaf.serial_number for each in seen}) == 2
        assert listener.error.wait(20)
        assert "PERMISSION_DENIED" in listener.said


@pytest.mark.parametrize("move", [Move.KILL, Move.SUSPEND, Move.RETIRE])
def test_a_withdrawn_principals_streams_end_at_once_and_it_gets_nothing_more(move: Move) -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        listeners = [Listener(), Listener()]
        client.stream_x509_contexts(listeners[0].success, listeners[0].failure, retry_connect=False)
        client.stream_jwt_bundles(listeners[1].success, listeners[1].failure, retry_connect=False)
        svid = listeners[0].next().default_svid
        token = client.fetch_jwt_svid(audience={"payments"}).token
        stage.move("refund-agent", move)
        for listener in listeners:
            assert listener.error.wait(20)
            assert "PERMISSION_DENIED" in listener.said
        fresh = stage.client()
        with pytest.raises(FetchX509SvidError, match=r"is (revoked|suspended|retired)"):
            fresh.fetch_x509_svid()
        with pytest.raises(FetchJwtSvidError, match=r"is (revoked|suspended|retired)"):
            fresh.fetch_jwt_svid(audience={"payments"})
        house, at = stage.house, stage.clock.now()
        for found in (
            verify_x509_svid(der(svid.cert_chain), bundles=house.trust.bundles, at=at),
            verify_jwt_svid(token, audience="payments", bundles=house.trust.bundles, at=at),
        ):
            assert refusal(house.live, workload_of(house.live, found), None, at=at) is not None


def test_what_was_issued_before_a_suspension_is_dead_after_the_resume() -> None:
    with a_workload_stage() as stage:
        client = stage.client()
        old = client.fetch_jwt_svid(audience={"payments"}).token
        stage.move("refund-agent", Move.SUSPEND)
        stage.move("refund-agent", Move.RESUME)
        new = stage.client().fetch_jwt_svid(audience={"payments"}).token
        house, at = stage.house, stage.clock.now()
        refusals = [
            refusal(
                house.live,
                workload_of(house.live, verify_jwt_svid(each, audience="payments", bundles=house.trust.bundles, at=at)),
                None,
                at=at,
            )
            for each in (old, new)
        ]
        assert refusals[0] is not None
        assert refusals[1] is None


def test_a_charter_that_names_other_workloads_ends_the_stream_of_this_one() -> None:
    with a_workload_stage() as stage:
        listener = Listener()
        stage.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
        svid = listener.next().default_svid
        stage.apply(spiffe_files(refund_agent={"uid": os.getuid() + 1}))
        assert listener.error.wait(20)
        house, at = stage.house, stage.clock.now()
        found = verify_x509_svid(der(svid.cert_chain), bundles=house.trust.bundles, at=at)
        stopped = refusal(house.live, workload_of(house.live, found), None, at=at)
        assert stopped is not None
        assert "revoked" in stopped.text


FETCH = """\
from spiffe import WorkloadApiClient
client = WorkloadApiClient(socket_path=sys.argv[1], default_timeout=20)
for call in (client.fetch_x509_svid, client.fetch_x509_bundles, client.fetch_jwt_bundles,
             lambda: client.fetch_jwt_svid(audience={'a'}), lambda: client.validate_jwt_svid(sys.argv[2], 'a')):
    try:
        print(getattr(call(), 'spiffe_id', 'given'), flush=True)
    except Exception as err:
        print(err, flush=True)
"""
IMPORTS = "import os,sys; import spiffe, spiffe.workloadapi.workload_api_client, grpc, encodings.idna\n"


@pytest.mark.skipif(os.getuid() != 0, reason="starts a child of another user, which root alone can")
def test_a_second_user_is_refused_and_the_first_is_not() -> None:
    with a_workload_stage() as stage:
        token = stage.client().fetch_jwt_svid(audience={"a"}).token
        stranger = IMPORTS + AS_USER.format(uid=4711) + "\n" + FETCH
        with a_child(stage.address, token, code=stranger) as child:
            said = [hear(child).decode() for _ in range(5)]
        assert all("no charter's workload matches this process (user 4711, group 4711)" in each for each in said), said
        with a_child(stage.address, token, code=IMPORTS + FETCH) as child:
            said = [hear(child).decode().strip() for _ in range(5)]
        assert said == [REFUND_AGENT, "given", "given", REFUND_AGENT, REFUND_AGENT]
        assert {e["body"]["seen"]["uid"] for e in stage.entries("svid.issued")} == {0}


@pytest.mark.skipif(os.getuid() != 0, reason="starts a child of another user, which root alone can")
def test_each_user_gets_its_own_principal() -> None:
    with a_workload_stage(refund_agent={"uid": 4711}, charge_reader={"uid": 4712}) as stage:
        for uid, name in ((4711, "refund-agent"), (4712, "charge-reader")):
            code = IMPORTS + AS_USER.format(uid=uid) + "\n" + FETCH
            with a_child(stage.address, "-", code=code) as child:
                assert hear(child).decode().strip().endswith(f"/{name}")


def test_the_wrong_binary_digest_is_refused_and_the_right_one_is_not() -> None:
    import hashlib

    digest = hashlib.sha256(Path(sys.executable).resolve().read_bytes()).hexdigest()
    with a_workload_stage(refund_agent=ME | {"sha256": "0" * 64}) as stage:
        with pytest.raises(FetchX509SvidError, match="no charter's workload matches"):
            stage.client().fetch_x509_svid()
        stage.apply(spiffe_files(refund_agent=ME | {"sha256": digest}))
        assert stage.client().fetch_x509_svid()


def test_a_charter_that_has_run_out_gets_nothing() -> None:
    with a_workload_stage(expires=dt.date(2026, 1, 1)) as stage:
        with pytest.raises(FetchX509SvidError, match="expired on"):
            stage.client().fetch_x509_svid()
        assert stage.entries("svid.issued") == []


def test_the_messages_are_written_from_the_proto_file(tmp_path: Path) -> None:
    where = [f"-I{SRC}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    made = protoc.main(
        ["", *where, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "charter/server/workloadapi.proto"]
    )
    assert made == 0
    for name in ("workloadapi_pb2.py", "workloadapi_pb2.pyi"):
        kept = (SRC / "charter" / "server" / name).read_text(encoding="utf-8")
        assert (tmp_path / "charter" / "server" / name).read_text(encoding="utf-8") == kept


def test_the_messages_have_the_stock_clients_fields() -> None:
    """Field by field: name, number, type, label."""
    from spiffe._proto import workload_pb2 as theirs

    from charter.server import workloadapi_pb2 as ours

    def fields(descriptor: Any) -> dict[str, tuple[int, int, bool]]:
        return {each.name: (each.number, each.type, each.is_repeated) for each in descriptor.fields}

    names = set(ours.DESCRIPTOR.message_types_by_name)
    assert len(names) == 12
    for name in names:
        assert fields(ours.DESCRIPTOR.message_types_by_name[name]) == fields(
            theirs.DESCRIPTOR.message_types_by_name[name]
        )


def test_the_socket_is_there_while_charter_serves_and_gone_after() -> None:
    with a_workload_stage() as stage:
        path = stage.path
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o666
        done = subprocess.run([sys.executable, "-c", "print('x')"], check=True, capture_output=True)
        assert done.returncode == 0
    assert not path.exists()
    assert LAST_DAY.year == 2099
