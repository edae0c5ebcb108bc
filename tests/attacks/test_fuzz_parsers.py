"""Whatever a parser is given: a value, or the error that its docstring promises, and nothing else.

Parsers are found in the code: every public function called `parse_…`, `read_…`, `decode_…`, `load_…` or `split_…` whose
first argument is text, bytes or any value. What it is given follows from that argument's type, beside texts of the kind
it reads; a parser that needs more arguments has a row in `MORE`. So none can be added that is not tried here.
"""

from __future__ import annotations

import ast
import datetime as dt
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_cards import a_card, a_key, as_bytes, signed_by
from charter.adapters.cedar import CedarEngine
from charter.core.errors import CharterError
from charter.evidence.checkpoint import Checkpoint
from charter.identity.credential import ReadyKeys
from charter.identity.jose import encode_base64url, parse_compact, parse_public_jwk
from charter.identity.node import Node
from charter.registry.principal import LiveEstate
from charter.registry.standing import Standing
from fuzz_stage import SOURCE, fuzzed
from hostile import BROKEN_JSON, JSON, NASTY, TEXT, spelt
from houses import estate_files
from identity_stage import ClientKeyPair

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
NODE = Node("a", "thumbprint", ClientKeyPair.fresh("a").jwk, Standing.ACTIVE, AT)  # as the issuer of a seed below
PREFIXES = ("parse_", "read_", "decode_", "load_", "split_")
TEXTS = frozenset({"str", "str | None"})
ANY_VALUE = frozenset({"object", "Any", "Iterable[Any]"})
UNTRUSTED = TEXTS | ANY_VALUE | {"bytes", "Mapping[str, str]"}
# What a parser takes beside what it parses.
MORE: dict[str, Callable[[], dict[str, Any]]] = {
    "adapters.master_place.parse_place": lambda: {"folder": SOURCE},
    "bootstrap.evidence.parse_moment": lambda: {"now": AT},
    "gateway.evaluation.parse_search": lambda: {"looks_for": "subject"},
    "core.values.parse_line": lambda: {"what": "reason", "longest": 100},
    "identity.dpop.read_proof": lambda: {"method": "POST", "url": "http://127.0.0.1/x", "at": AT, "token": "t"},
    "identity.jose.parse_compact": lambda: {"what": "the token", "members": frozenset({"alg", "kid"})},
    "identity.jose.split_compact": lambda: {"what": "the token", "limit": 8192},
    "policy.guardrail.parse_guardrails": lambda: {"path": "guardrails/x.cedar", "engine": CedarEngine()},
    "policy.own.parse_own": lambda: {"principal": "refund-agent", "engine": CedarEngine()},
    "policy.statement.split_statements": lambda: {"path": "guardrails/x.cedar"},
    "gateway.mcp_questions.read_question": lambda: {"system": "payments", "method": "elicitation/create"},
    "gateway.egress.parse_absolute": lambda: {"method": "GET"},
    "identity.rotation_request.read_rotation": lambda: {
        "live": LiveEstate(),
        "keys": ReadyKeys(),
        "audience": "http://127.0.0.1",
        "at": AT,
    },
    "registry.narrowing.read_narrowing": lambda: {"system": "payments", "location": "http://127.0.0.1/mcp/payments"},
    "evidence.vendors.readers.read_observations": lambda: {"kind": "cloudtrail"},
    "evidence.witness.parse_lines": lambda: {"head": Checkpoint("charter.local/log/nod_1", 1, b"\0" * 32)},
    "reports.session.read_session": lambda: {"entries": ()},
    "registry.document.read_document": lambda: {"path": "principals/x.yaml"},
    "registry.document.read_text": lambda: {"path": "principals/x.yaml"},
    "adapters.upstream_rpc.read_message": lambda: {"sent": True},
    "identity.actor_proof.read_proof": lambda: {"keys": [parse_public_jwk(ClientKeyPair.fresh("x").jwk)]},
    "identity.aws_caller.read_signed_request": lambda: {"audience": "http://127.0.0.1", "at": AT},
    "identity.bundle.parse_bundle": lambda: {"trust_domain": "example.org"},
    "identity.node.read_join": lambda: {"audience": "http://127.0.0.1", "at": AT},
    "identity.node.read_node_request": lambda: {"find": {"a": NODE}.get, "audience": "http://127.0.0.1", "at": AT},
}
# Whose untrusted argument is not the first one.
NAMED = {
    "policy.own.parse_own": "text",
    "policy.guardrail.parse_guardrails": "text",
    "policy.statement.split_statements": "text",
    "identity.bundle.parse_bundle": "data",
}
# They read what Charter itself wrote, from its own database; nobody else's words come there.
OWN = frozenset({"registry.terms.read_terms", "registry.hold.read_held"})
SEEDS = (
    *NASTY,
    *estate_files().values(),
    "forbid (principal, action, resource) when { context.arguments.amount.number > 5 };",
    '@id("x") forbid (principal, action in Charter::Action::"write", resource) unless { context.approvals == [] };',
    "charter.example/log\n3\n" + "A" * 43 + "=\n\n\u2014 charter.example/log AAAAAAAA\n",
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0.AAAA",
    as_bytes(signed_by(a_key(), a_card())).decode(),
    "a=1&b=%41&c=",
    "=?base64?w6k=?=",
    "spiffe://charter.local/production/agent/refund-agent",
    "2026-11-24T09:30:00.000000Z",
    "08:00-18:00 Europe/Berlin",
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}',
    '{"tools":[{"name":"x","inputSchema":{"type":"object"}}]}',
    '[{"type":"charter_grant","actions":["charge.read"],"objects":["charge/1"],"limits":[{"count":1}]}]',
    '@id("x") permit (principal, action == Charter::Action::"payments:charge.read", resource);',
    '{"subject":{"type":"user","id":"a"},"action":{"name":"r"},"resource":{"type":"x","id":"y"},"evaluations":[{}]}',
    "90d",
    "mon-fri",
    '{"eventID":"1","eventTime":"2026-11-24T09:00:00Z","eventName":"InvokeModel","userIdentity":{"arn":"a/b/c"}}',
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"a","attributes":[{"key":"gen_ai.a","value":{}}]}]}]}]}',
    "syslog+tls://siem.example.com:6514",
)


@dataclass(frozen=True)
class Parser:
    """One parser, as it stands in the code."""

    name: str  # module and function
    kind: str  # of what it parses
    argument: str

    @property
    def function(self) -> Callable[..., Any]:
        module, _, function = self.name.rpartition(".")
        found: Callable[..., Any] = getattr(importlib.import_module(f"charter.{module}"), function)
        return found


def found_parsers() -> list[Parser]:
    parsers = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIXES) and node.args.args:
                name = f"{module}.{node.name}"
                wanted = NAMED.get(name, node.args.args[0].arg)
                argument = next(each for each in node.args.args if each.arg == wanted)
                kind = ast.unparse(argument.annotation) if argument.annotation else ""
                if kind in UNTRUSTED and name not in OWN:
                    parsers.append(Parser(name, kind, argument.arg))
    return parsers


PARSERS = found_parsers()


def test_the_parsers_are_found() -> None:
    names = {parser.name for parser in PARSERS}
    assert {"gateway.mcp.parse_frame", "identity.jose.parse_compact", "registry.document.read_document"} <= names
    assert MORE.keys() <= names
    assert len(names) > 25


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """Return a text of a kind that some parser reads, with pieces of it replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(TEXT) + text[start + draw(st.integers(0, 8)) :]
    return text[:20_000]


def given_to(kind: str) -> st.SearchStrategy[Any]:
    if kind in TEXTS:
        return mangled() | TEXT | JSON.map(lambda value: spelt(value).decode())
    if kind == "bytes":
        return mangled().map(lambda text: text.encode("utf-8", "surrogatepass")) | BROKEN_JSON | JSON.map(spelt)
    if kind == "Mapping[str, str]":
        return st.dictionaries(st.sampled_from(sorted(estate_files())) | TEXT, mangled(), max_size=5)
    if kind == "Iterable[Any]":
        return st.lists(JSON, max_size=4)
    return JSON | st.dictionaries(
        st.sampled_from(["name", "inputSchema", "kty", "crv", "x", "y", "d"]), JSON, max_size=5
    )


def promised(function: Callable[..., Any], err: BaseException) -> bool:
    """Whether a function's docstring says that it raises this: by the name of the error or of its family."""
    said = inspect.getdoc(function) or ""
    names = {kind.__name__ for kind in type(err).__mro__} - {"object", "BaseException", "Exception"}
    return any(name in said for name in names)


@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_a_parser_gives_a_value_or_the_error_it_promises(parser: Parser) -> None:
    function, more = parser.function, MORE.get(parser.name, dict)()

    @fuzzed(40)
    @given(given_to(parser.kind))
    def attempt(value: Any) -> None:
        try:
            function(**{parser.argument: value} | more)
        except Exception as err:
            clear = not isinstance(err, CharterError) or (err.detail and "\n" not in err.detail)
            if not (clear and promised(function, err)):
                raise

    attempt()


def test_numbers_beyond_any_bound_are_told_in_our_words() -> None:
    """Python's own refusal of long numbers names its own functions; ours does not."""
    claims = encode_base64url(b'{"exp":' + b"9" * 5000 + b"}")
    with pytest.raises(CharterError, match="a number has too many digits"):
        parse_compact(f"e30.{claims}.AAAA", "the token", members=frozenset())
