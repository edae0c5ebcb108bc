"""What `charter check --json` found, as a run's outputs (standard output) and annotations in its log (standard error).

Only the standard library: it runs by the interpreter that Charter was installed with, isolated from everything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_ANNOTATIONS = 50


def outputs(found: dict[str, Any], results: str) -> Iterator[str]:
    """Yield `name=value` lines."""
    tests, diff = found.get("tests"), found.get("diff")
    yield f"results={results}"
    yield f"passed={'true' if tests and not tests['failed'] else 'false'}"
    yield f"coverage={tests['coverage']['percent'] if tests else ''}"
    yield f"changes={len(diff['changes']) if diff else ''}"
    wider = bool(diff) and any(effect["conclusion"] in ("widens", "not proven") for effect in diff["effects"])
    yield f"widens={'true' if wider else 'false'}"


def annotations(found: dict[str, Any], folder: str) -> Iterator[str]:
    """Yield workflow commands that put each problem at its line."""
    for problem in found.get("problems", ()):
        text = f"{problem['text']}. {problem['help'] or ''}"
        yield _command("error", folder, problem["path"], (problem["line"], problem["column"]), text)
    if "error" in found and not found.get("problems"):
        yield f"::error::{_data(found['detail'])}"
    tests = found.get("tests") or {"results": [], "properties": []}
    for each in (*tests["results"], *tests["properties"]):
        if not each["passed"]:
            yield _placed("error", folder, each["source"], f"{each['name']}: {each['why']}")
    for each in tests["properties"]:
        if each["state"] == "searched":
            yield _placed("warning", folder, each["source"], f"{each['name']}: {each['why']}")


def _placed(kind: str, folder: str, source: str, text: str) -> str:
    path, line, column = (*source.rsplit(":", 2), "1", "1")[:3]
    return _command(kind, folder, path, (line, column), text)


def _command(kind: str, folder: str, path: str, at: tuple[object, object], text: str) -> str:
    file = "/".join(each for each in (folder.rstrip("/").removeprefix("./"), path) if each not in ("", "."))
    place = f"file={_property(file)},line={at[0]},col={at[1]}"
    return f"::{kind} {place},title=Charter::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def main() -> None:
    """Write outputs to standard output and annotations to standard error, which the run's log shows."""
    results, folder = sys.argv[1:3]
    try:
        found = json.loads(Path(results).read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    print("\n".join(outputs(found, results)))
    for number, line in enumerate(annotations(found, folder)):
        if number < MAX_ANNOTATIONS:
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
