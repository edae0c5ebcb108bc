"""Files that commands draft into an estate.

INVARIANT: no file of the estate is overwritten, and none is left half written.
"""

from __future__ import annotations

from pathlib import Path

from charter.adapters import whole_file
from charter.core.errors import ConflictError, ErrorCode


def put_new(target: Path, text: str, *, mend: str) -> None:
    """Write `text` to the file `target`, which does not exist yet. `mend` says what to do if it does.

    Raises:
        ConflictError: it exists.
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        whole_file.create(target, text.encode(), whole_file.SHARED)
    except FileExistsError as err:
        raise ConflictError(ErrorCode.EXISTS, f"`{target}` exists already", help=mend) from err
