"""What `charter init` writes: a starter estate that validates, tests, plans and applies at once.

The files stand in `estate/`, as they will stand on disk, and are held valid by tests. `init` writes them whole or not
at all: into a new folder by one rename, into an empty one by taking back what it wrote if anything fails.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path

from charter.core.errors import ConflictError, ErrorCode, UnavailableError
from charter.registry.schema import FOLDER, json_schemas

# The dates in the files. `init` puts them right, so that a charter begun today holds for a year.
APPROVED_ON = dt.date(2026, 11, 2)
EXPIRES_ON = dt.date(2027, 11, 2)
_MAY_BE_THERE = frozenset({".git"})  # `git init` comes first for many


def init(path: Path, *, today: dt.date | None = None) -> list[Path]:
    """Write the starter estate into the folder `path`; return the files written, relative to it.

    Args:
        path: a folder that does not exist, or holds nothing (a `.git` may be there).
        today: the day its charters are approved; they hold for a year from it. None: the dates as shipped.

    Raises:
        ConflictError: something is there already; nothing is written.
        UnavailableError: the folder cannot be written to; nothing is left behind.
    """
    target = path.resolve()
    files = starter_files(today)
    try:
        _refuse_if_taken(path, target)
        if target.is_dir():
            _write_into(target, files)
        else:
            _write_beside(target, files)
    except OSError as err:
        raise UnavailableError(
            ErrorCode.STORE_FAILED, f"`{path}` cannot be written: {err.strerror or err}", help="choose another folder"
        ) from err
    return [Path(name) for name in files]


def starter_files(today: dt.date | None = None) -> dict[str, str]:
    """Return the starter estate's files: path -> text, JSON Schemas included."""
    root = resources.files(__name__) / "estate"
    files = {_placed(name): _dated(each.read_text(encoding="utf-8"), today) for name, each in _walk(root, "")}
    for name, schema in json_schemas().items():
        files[f"{FOLDER}/{name}"] = json.dumps(schema, indent=2) + "\n"
    return dict(sorted(files.items()))


def _walk(folder: Traversable, below: str) -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _walk(each, f"{below}{each.name}/")
        else:
            yield f"{below}{each.name}", each


def _placed(name: str) -> str:
    """Return where a shipped file goes; packaging tools would act upon a `.gitignore` of ours."""
    return ".gitignore" if name == "gitignore" else name


def _dated(text: str, today: dt.date | None) -> str:
    if today is None:
        return text
    expires = today + (EXPIRES_ON - APPROVED_ON)
    return text.replace(EXPIRES_ON.isoformat(), expires.isoformat()).replace(APPROVED_ON.isoformat(), today.isoformat())


def _refuse_if_taken(path: Path, target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir() or any(each.name not in _MAY_BE_THERE for each in target.iterdir()):
        raise ConflictError(
            ErrorCode.EXISTS, f"`{path}` is there already and not empty", help="name a folder that does not exist yet"
        )


def _write_beside(target: Path, files: dict[str, str]) -> None:
    """Write into a new folder beside `target` and rename it: all of it appears at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.parent / f".{target.name}.{os.getpid()}"
    try:
        _write(fresh, files)
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write_into(target: Path, files: dict[str, str]) -> None:
    """Write into an empty folder that may be someone's current one, so it cannot be renamed over."""
    try:
        _write(target, files)
    except OSError:
        for top in {name.partition("/")[0] for name in files}:
            shutil.rmtree(target / top, ignore_errors=True)
            (target / top).unlink(missing_ok=True)
        raise


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as opened:
            opened.write(text)
