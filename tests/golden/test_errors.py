"""What each error is on each edge, to the byte: programs are written against these.

`errors.txt` has a block for each kind of error with the codes it comes with: what the control API answers (RFC 9457),
the OAuth endpoints (RFC 6749), the gateway (JSON-RPC), SCIM (RFC 7644), the Workload API (gRPC), and what a command
ends with. Run as a program this file adds the blocks that are missing, to be read before they are committed.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charter
from charter.cli.output import exit_code, fail
from charter.core.errors import CharterError, ErrorCode
from charter.gateway.mcp_answers import error_of
from charter.gateway.mcp_protocol import RpcCode
from charter.registry.problem import Problem
from charter.server.oauth_http import answer_of
from charter.server.problems import error_from_problem, problem_of
from charter.server.scim import scim_error
from charter.server.workload import grpc_error

SOURCE = Path(charter.__file__).parent
GOLDEN = Path(__file__).with_name("errors.txt")
DETAIL, HELP = 'the value `é\n"` is wrong', "send another"
PLACE = Problem("principals/a.yaml", 3, 5, "`grants` is missing", "say what it may do")
# The parameters of an error's own beside code, detail and help.
OWN = {
    "verdict_id": "vrd_1",
    "retry_after_seconds": 7,
    "sent": True,
    "perhaps_made": True,
    "problems": [PLACE],
    "rpc": RpcCode.HEADER_MISMATCH,
    "data": {"supported": []},
    "detail": DETAIL,
}


def kinds() -> dict[str, type[CharterError]]:
    """Return all classes of the family, by name."""
    for module in pkgutil.walk_packages([str(SOURCE)], "charter."):
        if not any(part in module.name for part in ("__main__", ".demo.", ".migrations.")):
            importlib.import_module(module.name)
    found = {}
    waiting = [CharterError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            found[kind.__name__] = kind
            waiting.append(kind)
    return found


def raised() -> set[tuple[str, str]]:
    """Return each kind of error and code that stand together in the code."""
    there, pairs = kinds(), set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in there:
                pairs |= {(node.func.id, code) for code in named(node.args[:1])}
            if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id in there:
                pairs |= {(node.returns.id, code) for code in named(node.args.defaults + node.body)}
    fixed = {name for name, kind in there.items() if "code" not in inspect.signature(kind).parameters}
    return {pair for pair in pairs if pair[0] not in fixed} | {
        (name, made(there[name], ErrorCode.BAD_VALUE).code.value) for name in fixed
    }


def named(nodes: Any) -> Iterator[str]:
    for node in nodes:
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "ErrorCode":
                yield ErrorCode[each.attr].value


def made(kind: type[CharterError], code: str) -> CharterError:
    """Return an error with everything it can carry."""
    wanted = inspect.signature(kind).parameters
    given = {name: value for name, value in (OWN | {"code": ErrorCode(code), "help": HELP}).items() if name in wanted}
    return kind(**given)


def edges(error: CharterError) -> list[str]:
    """Return what `error` is on each edge."""
    status, body = problem_of(error)
    oauth = answer_of(error)
    scim = scim_error(error)
    grpc = grpc_error(error)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        fail(error, as_json=True)
    return [
        f"http {status} {dumped(body)}",
        f"oauth {oauth.status}{headers(oauth.headers)} {dumped(oauth.body)}",
        f"mcp {dumped(error_of(error))}",
        f"scim {scim[0]}{headers(scim[2])} {dumped(scim[1])}",
        f"grpc {grpc.status.name} {dumped(grpc.message)}",
        f"cli {exit_code(error)} {dumped(json.loads(said.getvalue()))}",
    ]


def dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def headers(given: Any) -> str:
    return "".join(f" [{name.decode()}: {value.decode()}]" for name, value in given)


def kept() -> dict[tuple[str, str], str]:
    """Return the blocks of the file by kind and code."""
    found = {}
    for block in GOLDEN.read_text(encoding="utf-8").rstrip("\n").split("\n\n"):
        kind, code = block.partition("\n")[0].split(" ")
        found[kind, code] = block
    return found


def fresh(pairs: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    there = kinds()
    return {
        (kind, code): "\n".join([f"{kind} {code}", *edges(made(there[kind], code))]) for kind, code in sorted(pairs)
    }


def test_each_error_is_on_each_edge_what_it_always_was() -> None:
    assert fresh(set(kept())) == kept()


def test_each_kind_and_each_code_is_among_them() -> None:
    assert {kind for kind, _ in kept()} == set(kinds())
    assert {code for _, code in kept()} == {code.value for code in ErrorCode}


def test_each_code_is_raised_somewhere() -> None:
    texts = [file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py")]
    unused = [code for code in ErrorCode if not any(f"ErrorCode.{code.name}" in text for text in texts)]
    assert unused == []


def test_a_command_gets_the_error_that_the_server_had() -> None:
    there = kinds()
    for kind, code in sorted(kept()):
        error = made(there[kind], code)
        status, body = problem_of(error)
        told = error_from_problem(status, json.loads(json.dumps(body)))
        assert isinstance(error, type(told))
        assert problem_of(told) == (status, body)
        assert exit_code(told) == exit_code(error)


if __name__ == "__main__":
    there = set(kept()) if GOLDEN.exists() else set()
    GOLDEN.write_text("\n\n".join(fresh(there | raised()).values()) + "\n", encoding="utf-8")
