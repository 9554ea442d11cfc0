"""Makes .venv and installs grpcflow into it, then runs what was asked for there.

    bootstrap.py test [PYTEST ARGUMENT ...]       all checks and the whole suite
    bootstrap.py test-system [PYTEST ARGUMENT ..] what needs packages of the system; see scripts/test-system
    bootstrap.py quickstart [--json FILE]         the census on a cluster of its own
    bootstrap.py example FOLDER [ARGUMENT ...]    the program in a folder of examples/
    bootstrap.py docs build|serve [ARGUMENT ...]  the documentation as a site; see scripts/docs
    bootstrap.py install runtime|examples|docs|dev  the environment and nothing else

Runs on any Python >= 3.11 with the standard library alone: no root, git or compiler. An environment that is already
right is left as it is, so that a second run needs no network. This file may import nothing that has to be installed.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BINARIES = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BINARIES / ("python.exe" if os.name == "nt" else "python")
LEVELS = {"runtime": ".", "examples": ".[examples]", "docs": ".[docs]", "dev": ".[dev]"}
#: What the level "dev" holds as well; the site of the documentation is built by few.
IN_DEV = ("runtime", "examples", "dev")
INSTALL_SECONDS = 900
LOCK_SECONDS = 900
#: Tests start processes of their own, so that more than one session of tests to a CPU gains nothing.
MOST_SESSIONS = 4

#: Settings of the person's shell that must not leak into a cluster or a test that we start. The last one would have
#: each of the hundreds of processes that a run starts compile everything that it imports.
OWN_VARIABLES = (
    "GRPCFLOW_COORDINATOR",
    "GRPCFLOW_APP",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "PYTHONDONTWRITEBYTECODE",
)


class SetupError(Exception):
    """The environment could not be made; the message says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Does what the first argument names and returns the exit code."""
    match arguments:
        case ["test", *rest]:
            install("dev")
            return run_tests(rest)
        case ["test-system", *rest]:
            install("dev")
            return run([str(PYTHON), "-m", "pytest", "tests/system", *rest])
        case ["docs", *rest]:
            install("docs")
            return run([str(PYTHON), "-m", "documentation", *rest], cwd=Path.cwd(), PYTHONPATH=str(ROOT / "scripts"))
        case ["quickstart", *rest]:
            install("runtime")
            return run_quickstart(rest)
        case ["example", folder, *rest]:
            install("examples")
            return run_example(folder, rest)
        case ["install", level] if level in LEVELS:
            install(level)
            return 0
    print(__doc__, file=sys.stderr)
    return 64


def run_tests(arguments: Sequence[str]) -> int:
    """Runs all checks, then the whole suite, whose own summary is the last thing that is printed when all is well."""
    checks = run([str(PYTHON), "scripts/checks.py", "--no-tests"])
    suite = run([str(PYTHON), "-m", "pytest", *side_by_side(), *arguments])
    if checks:
        print("checks FAILED; see above the test session", file=sys.stderr)
    return suite or checks


def side_by_side() -> list[str]:
    """Returns what tells pytest to use all CPUs; `-n0` among the caller's arguments takes it back."""
    # One more than there are CPUs: tests of real processes wait now and then, and a fifth of the time was lost so.
    sessions = min((os.cpu_count() or 1) + 1, MOST_SESSIONS)
    return [] if sessions < 2 else ["-n", str(sessions), "--dist", "worksteal"]


def run_quickstart(arguments: Sequence[str]) -> int:
    """Runs the census against a cluster of its own; paths among the arguments are the caller's."""
    return run([str(PYTHON), "-m", "census", *arguments], cwd=Path.cwd(), PYTHONPATH=str(ROOT / "examples"))


def run_example(folder: str, arguments: Sequence[str]) -> int:
    """Runs the program in a folder of examples/; paths among the arguments are the caller's."""
    program = str(ROOT / "examples" / folder)
    return run([str(PYTHON), program, *arguments], cwd=Path.cwd(), PYTHONPATH=str(ROOT / "examples"))


def run(command: Sequence[str], cwd: Path = ROOT, **variables: str) -> int:
    """Runs a command to its end; Ctrl-C reaches it too, and it is waited for while it cleans up."""
    environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES} | variables
    environment["PATH"] = f"{BINARIES}{os.pathsep}{environment.get('PATH', os.defpath)}"
    process = subprocess.Popen(list(command), cwd=cwd, env=environment, stdin=subprocess.DEVNULL)
    with passed_on(process):
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the terminal sent it to the command as well; a second one ends its clean-up, not ours


@contextlib.contextmanager
def passed_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Hands SIGTERM on to the command, so that whoever stops this script stops what it started."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------------ the environment


def install(level: str) -> None:
    """Makes sure that .venv holds this level of LEVELS; says how long it took where anything was done."""
    if is_installed(level):
        return
    with locked():
        if is_installed(level):
            return
        started = time.monotonic()
        make_venv()
        made = time.monotonic()
        print(f"installing grpcflow and what it needs into {VENV} ...", flush=True)
        pip("install", "--quiet", "--no-compile", "--editable", LEVELS[level])  # compiled where imported, not all of it
        stamp(level).write_text(fingerprint())
        done = time.monotonic()
        print(f"environment {made - started:.1f} s, download and installation {done - made:.1f} s", flush=True)


def is_installed(level: str) -> bool:
    """Says whether .venv was made by this interpreter's version from this pyproject.toml, at this level or above."""
    wanted = fingerprint()
    stamps = [stamp(name) for name in ({"dev", level} if level in IN_DEV else {level})]
    return PYTHON.exists() and any(path.exists() and path.read_text() == wanted for path in stamps)


def stamp(level: str) -> Path:
    """Returns the file that tells what was installed."""
    return VENV / f".installed-{level}"


def fingerprint() -> str:
    """Returns what the environment depends on: where it is, the interpreter and pyproject.toml."""
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"{ROOT} {sys.version_info.major}.{sys.version_info.minor} {sys.platform} {project}\n"


def make_venv() -> None:
    """Makes .venv anew unless it is usable; without ensurepip (as on Debian) it is made without a pip of its own."""
    if PYTHON.exists() and version_of(PYTHON) == sys.version_info[:2]:
        return
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS).returncode == 0:
        return
    bare = subprocess.run([*command, "--without-pip"], capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if bare.returncode:
        reason = bare.stdout + bare.stderr
        raise SetupError(f"{sys.executable} cannot make a virtual environment; set PYTHON to another one.\n{reason}")
    pip("install", "--quiet", "pip")


def version_of(python: Path) -> tuple[int, ...]:
    """Returns the version of an interpreter; empty where it does not run."""
    question = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    answer = subprocess.run(question, capture_output=True, text=True, timeout=60)
    return tuple(int(part) for part in answer.stdout.split()) if answer.returncode == 0 else ()


def pip(*arguments: str) -> None:
    """Runs pip for .venv: its own, or another one that is told to work there."""
    own = [str(PYTHON), "-m", "pip"]
    others = [[sys.executable, "-m", "pip"], *([path] for path in map(shutil.which, ("pip3", "pip")) if path)]
    candidates = [own, *([*other, "--python", str(PYTHON)] for other in others)]
    for candidate in candidates:
        if subprocess.run([*candidate, "--version"], capture_output=True, timeout=60).returncode == 0:
            break
    else:
        raise SetupError(f"{sys.executable} has neither ensurepip nor pip; install pip for it or set PYTHON to another")
    command = [*candidate, "--disable-pip-version-check", *arguments]
    if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS).returncode:
        raise SetupError(f"pip failed (see above); the command was: {' '.join(command)}")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Lets only one of several runs at a time change the environment (not on Windows, which lacks this lock)."""
    VENV.mkdir(exist_ok=True)
    with (ROOT / ".venv.lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            signal.alarm(LOCK_SECONDS)  # ends this script: whoever holds the lock so long is stuck
            fcntl.flock(lock, fcntl.LOCK_EX)
            signal.alarm(0)
        yield


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except subprocess.TimeoutExpired as error:
        print(f"{error}; is the package index reachable?", file=sys.stderr)
        sys.exit(1)
