"""Resolve the locks again: exact versions with hashes, for every platform, without any index's address.

A new release rests a week before it is taken.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
OPTIONS = "-q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate"
SOURCES = {
    "runtime.txt": ["pyproject.toml"],
    "dev.txt": ["pyproject.toml", "--extra", "dev", "-c", "requirements/runtime.txt"],
    "build.txt": ["requirements/build.in"],
    "spark.txt": ["requirements/spark.in"],
    "servers.txt": ["requirements/servers.in"],
    "servers-v1.txt": ["requirements/servers-v1.in"],
    "peers.txt": ["requirements/peers.in"],
    "agentdojo.txt": ["requirements/agentdojo.in"],
    "litellm.txt": ["requirements/litellm.in"],
    "contextforge.txt": ["requirements/contextforge.in"],
}


def main() -> None:
    rested = (dt.datetime.now(dt.UTC) - dt.timedelta(days=7)).date().isoformat()
    for target, source in SOURCES.items():
        options = [*OPTIONS.split(), "--exclude-newer", rested]
        command = ["uv", "pip", "compile", *options, *source, "-o", f"requirements/{target}"]
        print(" ".join(command), flush=True)
        subprocess.run(command, cwd=REQUIREMENTS.parent, check=True)


if __name__ == "__main__":
    main()
