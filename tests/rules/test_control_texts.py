"""What people write by hand to the control API stands in evidence and is shown: it is one line of visible text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter

from charter.core.errors import MalformedError
from charter.server import control  # noqa: F401 - it imports every router, and so every body
from charter.server.control_shape import Command


def texts() -> Iterator[Any]:
    """Yield each field of a body that holds a reason or names a person."""
    kinds = [Command]
    for kind in kinds:
        kinds += kind.__subclasses__()
        for name in ("reason", "actor", "person", "about"):
            if name in kind.model_fields:
                field = kind.model_fields[name]
                yield pytest.param(
                    Annotated[field.annotation, "as declared", *field.metadata], id=f"{kind.__name__}.{name}"
                )


@pytest.mark.parametrize("field", [*texts()])
@pytest.mark.parametrize("text", ["a\x1b[31m", "a\x07", "a\u202eb", "a\u200bb", "a" * 100_000])
def test_no_control_character_and_no_page_of_text_is_taken(field: Any, text: str) -> None:
    with pytest.raises(MalformedError):
        TypeAdapter(field).validate_python(text)
