"""Documents of other parties are fetched from where they were meant to be, bounded, or not at all."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.document_fetch import DocumentFetcher, FetchError, checked_url
from charter.adapters.upstream_address import public_addresses
from document_server import Reply, a_document_server

JSON = {"content-type": "application/json"}


def fetch(url: str, **options: float) -> bytes:
    limit, seconds = int(options.get("limit", 1000)), options.get("seconds", 5.0)
    return asyncio.run(DocumentFetcher().fetch(url, limit=limit, seconds=seconds)).body


def test_a_document_is_fetched_with_its_lifetime() -> None:
    with a_document_server({"/a": lambda: (200, JSON | {"cache-control": "public, max-age=60"}, b"{}")}) as server:
        found = asyncio.run(DocumentFetcher().fetch(server.url("/a")))
    assert (found.body, found.max_age_seconds) == (b"{}", 60)


def test_a_redirect_is_not_followed() -> None:
    with a_document_server({"/b": {}}) as server:
        server.documents["/a"] = lambda: (302, {"location": server.url("/b")}, b"")
        with pytest.raises(FetchError, match="status 302"):
            fetch(server.url("/a"))
        assert server.asked == ["/a"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((200, {"content-type": "text/html"}, b"{}"), "something else than JSON"),
        ((200, JSON | {"content-encoding": "gzip"}, b"\x1f\x8b"), "something else than JSON|ContentEncoding|Payload"),
        ((200, JSON, b"x" * 2000), "more than 1000 bytes"),
        ((500, JSON, b"{}"), "status 500"),
    ],
)
def test_an_answer_that_is_no_small_json_document_is_refused(reply: Reply, why: str) -> None:
    with a_document_server({"/a": lambda: reply}) as server, pytest.raises(FetchError, match=why):
        fetch(server.url("/a"))


def test_a_server_that_hangs_is_given_up() -> None:
    def slow() -> Reply:
        time.sleep(0.6)
        return 200, JSON, b"{}"

    with a_document_server({"/a": slow}) as server, pytest.raises(FetchError, match="did not answer within"):
        fetch(server.url("/a"), seconds=0.2)


def test_a_name_that_leads_home_is_refused_where_only_public_addresses_may_be_asked() -> None:
    with a_document_server({"/a": {}}) as server:
        fetcher = DocumentFetcher(public_addresses)
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(FetchError, match="without an address that may be asked"):
                asyncio.run(fetcher.fetch(server.url("/a").replace("127.0.0.1", host)))
        assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/keys",
        "ftp://example.com/keys",
        "file:///etc/passwd",
        "https://user:secret@example.com/",
        "https://example.com/#x",
        "https:///keys",
        "https://example.com:99999/",
        "https://exämple.com/",
        "https://example.com/\r\nx: y",
        "http://169.254.169.254/latest",
    ],
)
def test_only_https_addresses_are_asked_save_on_this_machine(url: str) -> None:
    with pytest.raises(FetchError):
        checked_url(url)


def test_metadata_services_are_never_asked() -> None:
    with pytest.raises(FetchError, match="without an address that may be asked"):
        asyncio.run(DocumentFetcher().fetch("https://169.254.169.254/latest/meta-data"))


@given(st.text(max_size=60))
def test_no_text_makes_the_check_fail_otherwise(text: str) -> None:
    assert all(said.isprintable() for said in (refusal(text), refusal(f"https://{text}")))


def refusal(url: str) -> str:
    try:
        checked_url(url)
    except FetchError as err:
        return err.detail
    return ""
