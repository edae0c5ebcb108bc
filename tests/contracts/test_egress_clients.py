"""Programs as they are go through the forward proxy: curl, git, pip, httpx and real Chromium."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import sync_playwright

from charter.core.canonical import canonical
from charter.registry.starter import starter_files
from egress_stage import Proxied, a_proxy
from flow_stage import ROLES

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with a_proxy(tmp_path_factory.mktemp("egress")) as site:
        (site.secure.folder / "page.html").write_text("<h1>Behind TLS</h1>", encoding="utf-8")
        (site.clear.folder / "page.html").write_text("<h1>In the clear</h1>", encoding="utf-8")
        yield site


def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, timeout=60, check=False, env=ENV | more
    )


def spki(port: int) -> str:
    """Return the digest by which Chromium is told to trust the key of a server on this machine, and none besides."""
    key = x509.load_pem_x509_certificate(ssl.get_server_certificate(("localhost", port)).encode()).public_key()
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_curl_reaches_both_and_what_is_not_granted_it_does_not(proxied: Proxied) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    proxy, ca = proxied.address(), str(proxied.secure.ca)
    secure = run(curl, "-sS", "--noproxy", "", "-x", proxy, "--cacert", ca, f"{proxied.secure.url}/page.html")
    assert secure.stdout == "<h1>Behind TLS</h1>", secure.stderr
    clear = run(curl, "-sS", "--noproxy", "", "-x", proxy, f"{proxied.clear.url}/page.html")
    assert clear.stdout == "<h1>In the clear</h1>", clear.stderr
    posted = run(curl, "-sS", "--noproxy", "", "-x", proxy, "-d", "x=1", f"{proxied.clear.url}/form")
    assert posted.stdout == "x=1", posted.stderr
    other = run(curl, "-sS", "--noproxy", "", "-x", proxy, "http://localhost:1/")
    assert "browser may do `request` on `web` only for objects like" in other.stdout, other.stdout
    denied = run(curl, "-sS", "--noproxy", "", "-x", proxy, "https://localhost:1/")
    assert denied.returncode == 56
    assert "403" in denied.stderr
    nobody = run(curl, "-sS", "--noproxy", "", "-x", f"http://127.0.0.1:{proxied.port}", f"{proxied.clear.url}/")
    assert "the proxy needs your access token" in nobody.stdout
    told = [(each["action"], each["object"]) for each in proxied.verdicts()]
    assert ("tunnel", f"localhost:{proxied.secure.port}") in told


def test_the_proxy_itself_is_reached_over_tls(proxied: Proxied) -> None:
    """So that a token which programs send as a password is not sent in the clear."""
    curl, ca = str(shutil.which("curl")), str(proxied.tls_ca)
    words = (curl, "-sS", "--noproxy", "", "-x", proxied.over_tls(), "--proxy-cacert", ca)
    secure = run(*words, "--cacert", str(proxied.secure.ca), f"{proxied.secure.url}/page.html")
    assert secure.stdout == "<h1>Behind TLS</h1>", secure.stderr
    clear = run(*words, f"{proxied.clear.url}/page.html")
    assert clear.stdout == "<h1>In the clear</h1>", clear.stderr
    unknown = run(curl, "-sS", "--noproxy", "", "-x", proxied.over_tls(), f"{proxied.clear.url}/page.html")
    assert unknown.returncode == 60, unknown.stderr  # whose certificate nobody vouches for
    plain = run(curl, "-sS", "--noproxy", "", "-x", f"http://localhost:{proxied.tls_port}", f"{proxied.clear.url}/")
    assert plain.returncode != 0
    trust = ssl.create_default_context(cafile=ca)
    proxy = httpx.Proxy(proxied.over_tls(), ssl_context=trust)
    with httpx.Client(proxy=proxy, verify=trust, timeout=20, trust_env=False) as client:
        assert client.get(f"{proxied.secure.url}/page.html").text == "<h1>Behind TLS</h1>"


def test_what_went_through_is_in_the_evidence_and_the_token_stays_here(proxied: Proxied) -> None:
    curl = str(shutil.which("curl"))
    run(curl, "-sS", "--noproxy", "", "-x", proxied.address(), f"{proxied.clear.url}/page.html?q=1")
    _, path, headers, _ = proxied.clear.seen[-1]
    assert path == "/page.html?q=1"
    assert not {"proxy-authorization", "proxy-connection", "authorization", "dpop"} & headers.keys()
    ends = time.monotonic() + 10
    while not (found := proxied.stage.entries("outcome")):  # it is recorded once the connection has ended
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert (found[-1]["body"]["outcome"], found[-1]["body"]["system"]) == ("ok", "web")


def test_git_clones(proxied: Proxied, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run("git", "init", "-q", "-b", "main", work)
    (work / "a.txt").write_text("hello", encoding="utf-8")
    run("git", "-C", work, "add", "a.txt")
    run("git", "-C", work, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "one")
    bare = proxied.secure.folder / "repo.git"
    run("git", "clone", "-q", "--bare", work, bare)
    run("git", "-C", bare, "update-server-info")
    settings = ["-c", f"http.proxy={proxied.address()}", "-c", f"http.sslCAInfo={proxied.secure.ca}"]
    done = run("git", *settings, "clone", "-q", f"{proxied.secure.url}/repo.git", tmp_path / "clone", NO_PROXY="")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone" / "a.txt").read_text() == "hello"


def test_pip_downloads(proxied: Proxied, tmp_path: Path) -> None:
    from zipfile import ZipFile

    index = proxied.secure.folder / "simple" / "tiny"
    index.mkdir(parents=True)
    wheel = "tiny-1.0-py3-none-any.whl"
    with ZipFile(index / wheel, "w") as made:
        made.writestr("tiny.py", "")
        made.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        made.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("tiny-1.0.dist-info/RECORD", "")
    (index / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>', encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "-q", "--no-cache-dir"]
    where = ["--index-url", f"{proxied.secure.url}/simple/", "--cert", str(proxied.secure.ca)]
    done = run(*pip, *where, "--proxy", proxied.address(), "-d", tmp_path, "tiny", NO_PROXY="", no_proxy="")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / wheel).is_file()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_chromium_browses(proxied: Proxied, scheme: str) -> None:
    """Through the proxy in the clear, and over TLS, where its token is not sent in the clear either."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    port = {"http": proxied.port, "https": proxied.tls_port}[scheme]
    server = {"server": f"{scheme}://localhost:{port}", "username": "charter", "password": proxied.token()}
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--proxy-bypass-list=<-loopback>"]
    if scheme == "https":
        flags.append(f"--ignore-certificate-errors-spki-list={spki(proxied.tls_port)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags, proxy=server)  # type: ignore[arg-type]
        try:
            page = browser.new_context(ignore_https_errors=True).new_page()
            page.goto(f"{proxied.secure.url}/page.html", timeout=20_000)
            assert page.get_by_role("heading").inner_text() == "Behind TLS"
            page.goto(f"{proxied.clear.url}/page.html", timeout=20_000)
            assert page.get_by_role("heading").inner_text() == "In the clear"
        finally:
            browser.close()


def test_one_connection_after_another_goes_where_the_charter_says(tmp_path: Path) -> None:
    """Also under the starter estate's rules on data flow: what came through a tunnel may have been anybody's."""
    rules = {name: text for name, text in starter_files().items() if name in ("flow.yaml", "guardrails/flow.cedar")}
    with a_proxy(tmp_path, rules | {"teams.yaml": canonical(ROLES).decode()}) as site:
        (site.secure.folder / "page.html").write_text("<h1>Behind TLS</h1>", encoding="utf-8")
        words = ("curl", "-sS", "--noproxy", "", "-x", site.address(), "--cacert", str(site.secure.ca))
        for _ in range(3):
            answer = run(*words, f"{site.secure.url}/page.html")
            assert answer.stdout == "<h1>Behind TLS</h1>", (answer.stderr, site.verdicts()[-1])


def test_programs_that_show_a_status_alone_show_why(proxied: Proxied) -> None:
    with pytest.raises(httpx.ProxyError, match="browser may do `tunnel` on `web` only for objects like"):
        httpx.get("https://localhost:1/", proxy=proxied.address(), trust_env=False)
