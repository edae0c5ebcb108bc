"""Prepare a machine for Charter's two commands, with nothing but Python's standard library.

    python3 tools/prepare.py demo     runtime, the demo's public MCP servers (and the npm one where node is present)
    python3 tools/prepare.py test     runtime, test tools, the same servers, Chromium
    python3 tools/prepare.py test-all what `test` takes, and Spark with Java, for the longer suite
    python3 tools/prepare.py bench    what `test` takes, and the peers that benchmarks stand beside

Each part is done once: a stamp holds the digest of the lock it was made from, so a second run only compares digests.
System packages come from Debian (python3-venv, chromium, softhsm2, nginx-light, curl, golang-go and
golang-golang-x-mod-dev) and are installed only when missing; as an ordinary user that takes sudo.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
VENVS: dict[str, dict[str, tuple[str, ...]]] = {
    ".venv": {"demo": ("build", "runtime"), "test": ("build", "dev")},
    ".venv-servers": {"demo": ("servers",), "test": ("servers",)},
    ".venv-servers-v1": {"demo": ("servers-v1",), "test": ("servers-v1",)},
    ".venv-peers": {"bench": ("peers",)},
    ".venv-agentdojo": {"bench": ("agentdojo",)},
    ".venv-litellm": {"bench": ("litellm",)},
    ".venv-contextforge": {"bench": ("contextforge",)},
}


def say(text: str) -> None:
    print(f"prepare: {text}", flush=True)


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; show its last lines and stop if it fails."""
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        print("\n".join(done.stdout.splitlines()[-30:]), file=sys.stderr)
        sys.exit(f"prepare: `{' '.join(str(c) for c in command)}` failed with exit code {done.returncode}")


def install_debian(*packages: str) -> None:
    """Install Debian packages, as root or through sudo."""
    if not shutil.which("apt-get"):
        sys.exit(f"prepare: please install {', '.join(packages)} with your system's package tool, then run this again")
    root = [] if os.geteuid() == 0 else ["sudo"]
    if root and not shutil.which("sudo"):
        sys.exit(f"prepare: please run as root: apt-get install {' '.join(packages)}")
    say(f"installing Debian packages: {' '.join(packages)}")
    run(*root, "apt-get", "update", "-q")
    run(
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        *packages,
    )


def digest_of(paths: list[Path]) -> str:
    parts = [sys.version, sysconfig.get_platform(), *(p.read_text() for p in paths)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_current(stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text() == digest


def make_venv(folder: Path) -> None:
    """Create a virtual environment, installing Debian's python3-venv if this Python lacks it."""
    if (folder / "bin" / "python").exists():
        return
    done = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        install_debian("python3-venv", f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
        run(sys.executable, "-m", "venv", folder)


def fill_venv(name: str, locks: tuple[str, ...], *options: str) -> None:
    """Install the locked packages, by hash, into one virtual environment."""
    folder = ROOT / name
    files = [ROOT / "requirements" / f"{lock}.txt" for lock in locks]
    own = [ROOT / "pyproject.toml"] if name == ".venv" else []
    digest = digest_of([*files, *own])
    stamp = folder / f".prepared-{'-'.join(locks)}"
    if is_current(stamp, digest):
        return
    started = time.monotonic()
    filling = folder / ".filling"
    if filling.exists():  # an installation was broken off there: pip cannot go on from half a package
        say(f"{name}: starting again, as an earlier installation was broken off")
        shutil.rmtree(folder)
    say(f"{name}: installing {', '.join(f.name for f in files)} (by hash)")
    make_venv(folder)
    filling.touch()
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-input"]
    for file in files:
        run(*pip, *options, "--require-hashes", "--no-deps", "-r", file)  # a lock is whole: nothing is resolved here
    if own:
        run(*pip, "--no-deps", "--no-build-isolation", "-e", ".")
    stamp.write_text(digest)
    filling.unlink()
    say(f"{name}: ready in {time.monotonic() - started:.0f} s")


def fill_npm(goal: str) -> None:
    """Install what comes from npm: a server for the demo where node is present; for tests, peers that they need."""
    has_node = shutil.which("node") and shutil.which("npm")
    if goal != "demo" and not has_node:
        install_debian("nodejs", "npm")
    elif not has_node:
        say("node is not present: the demo runs without the filesystem server from npm")
        return
    fill_npm_folder("npm", "the filesystem MCP server")
    if goal != "demo":
        fill_npm_folder("npm-test", "an OpenID provider and client for the tests")
        fill_npm_folder("npm-conformance", "the public conformance suite of MCP for the tests")
    if goal == "bench" and sysconfig.get_platform() == "linux-x86_64":
        fill_npm_folder("npm-bench", "a policy decision point for the benchmarks", into=".venv-peers")


def fill_npm_folder(name: str, what: str, *, into: str = ".venv-servers") -> None:
    """Install the locked packages of one folder of tools/."""
    source = ROOT / "tools" / name
    digest = digest_of([source / "package-lock.json"])
    target = ROOT / into / name
    stamp = target / ".prepared"
    if is_current(stamp, digest):
        return
    say(f"installing {what} from npm")
    target.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(source / file, target / file)
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=target)
    stamp.write_text(digest)


def install_missing_tools() -> None:
    """Install the system programs that the tests drive, if they are missing."""
    missing = [] if shutil.which("chromium") or shutil.which("chromium-browser") else ["chromium"]
    missing += [] if shutil.which("softhsm2-util") else ["softhsm2"]
    missing += [] if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") else ["nginx-light"]
    missing += [] if shutil.which("curl") else ["curl"]
    has_reference = shutil.which("go") and Path("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog").is_dir()
    missing += [] if has_reference else ["golang-go", "golang-golang-x-mod-dev"]
    if missing:
        install_debian(*missing)


def fill_spark() -> None:
    """Install Spark (half a gigabyte, and Java), which only the longer suite needs; it is built by what is locked."""
    fill_venv(".venv", ("spark",), "--no-build-isolation")
    if not shutil.which("java"):
        install_debian("openjdk-17-jre-headless")


def main() -> None:
    goal = sys.argv[1] if len(sys.argv) > 1 else ""
    if goal not in ("demo", "test", "test-all", "bench"):
        sys.exit("usage: python3 tools/prepare.py demo|test|test-all|bench")
    is_whole, goal = goal == "test-all", "test" if goal == "test-all" else goal
    if sys.version_info < MINIMUM:
        sys.exit(f"prepare: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed; this is {sys.version.split()[0]}")
    for name, locks in VENVS.items():
        for each in ("test", "bench") if goal == "bench" else (goal,):
            if each in locks:
                fill_venv(name, locks[each])
    if is_whole:
        fill_spark()
    # commands start in half the time where the sources are compiled already, also where Python is told to keep nothing
    run(ROOT / ".venv" / "bin" / "python", "-m", "compileall", "-q", "src")
    fill_npm(goal)
    if goal != "demo":
        install_missing_tools()


if __name__ == "__main__":
    main()
