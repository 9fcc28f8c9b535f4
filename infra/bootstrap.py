"""Sets a checkout up from a bare Python 3.11, an installed package with jars; must import the standard library only."""

# SPDX-License-Identifier: Apache-2.0
# Each step has a stamp: the hash of all that it depends on, written when it is done. A step runs when its stamp is
# absent or stale, so an interrupted set-up goes on where it was, and a second one has nothing to do.
from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import Corrupt, Invalid, SpringtideError, Unavailable
from infra.local import jars, package_installer, tools
from infra.local.java import java_tool

ROOT = Path(__file__).resolve().parents[1]
STATE = jars.HOME / "setup"
LOGS = jars.HOME / "logs"
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
NOT_COMPILED = "/(tests?|examples|mypyc?|pip|setuptools)/"  # a quarter of all files, and never imported by what runs
JAR_TIME = "--date=2020-01-01T00:00:00Z"
LAST_LINES = 10
STEPS_AND_START = 5 if jars.IS_CHECKOUT else 3  # the demo's own line is the last: starting the processes
TERMINAL_POLL = 0.2
STILL_SECONDS = 30.0
INTERRUPTED = 130
NETWORK_CURE = "check that this machine reaches the package registry, then run the same command again; it resumes"


class Step(ABC):
    """One thing to set up."""

    name: str
    log_name: str
    done = "ready"
    note = ""

    def __init__(self) -> None:
        self.log = LOGS / f"setup-{self.log_name}.log"
        self.stamp = STATE / f"{self.log_name}.stamp"

    def is_done(self) -> bool:
        """Whether the result of an earlier run is there and still right."""
        return self.stamp.is_file() and self.stamp.read_text(encoding="ascii") == self.inputs() and self.is_whole()

    @abstractmethod
    def inputs(self) -> str:
        """The hash of everything that the result depends on."""

    @abstractmethod
    def is_whole(self) -> bool:
        """Whether the result is there; quick."""

    @abstractmethod
    def missing(self) -> list[tools.Missing]:
        """The tools that the step needs and that are not there."""

    @abstractmethod
    def run(self) -> Iterator[list[str | Path]]:
        """Yields commands to run one after the other; what comes after a yield happens when it has succeeded."""

    @abstractmethod
    def failure(self, what: str) -> SpringtideError:
        """The error that says what to do when a command has failed."""


class Environment(Step):
    name = "python environment"
    log_name = "environment"

    def inputs(self) -> str:
        return digest([LOCK], platform.python_version(), str(ROOT))

    def is_whole(self) -> bool:
        return (VENV / "bin" / "python").is_file() and (VENV / "bin" / "pytest").is_file()

    def missing(self) -> list[tools.Missing]:
        return tools.missing_for_environment(ROOT)

    def run(self) -> Iterator[list[str | Path]]:
        python = VENV / "bin" / "python"
        # A folder that was moved, or made by another Python, is made anew; a good one keeps its packages.
        usable = python.is_file() and subprocess.run([python, "-m", "pip", "-V"], capture_output=True, check=False)
        if not usable or usable.returncode != 0 or str(VENV).encode() not in usable.stdout:
            yield [sys.executable, "-m", "venv", "--clear", VENV]
        pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
        pip += ["--no-compile", "--require-hashes", "-r"]
        installer = self.stamp.with_name("installer.txt")
        installer.write_text(package_installer.locked(LOCK), encoding="utf-8")
        yield [*pip, installer]
        yield package_installer.install(python, LOCK, [*pip, LOCK])
        # Neither compiles on all cores; some packages carry files that are not meant to compile.
        quietly = ["-m", "compileall", "-q", "-j", "0", "-x", NOT_COMPILED]
        yield ["sh", "-c", '"$@" || true', "sh", python, *quietly, VENV / "lib"]

    def failure(self, what: str) -> SpringtideError:
        return Unavailable(what, cure=NETWORK_CURE)


class Jars(Step):
    name = "kafka, flink jars"
    log_name = "jars"
    note = "(checksums verified)"

    def inputs(self) -> str:
        return digest([pom(), jars.CHECKSUMS])

    def is_whole(self) -> bool:
        try:
            jars.verify()
        except (Unavailable, Corrupt):
            return False
        return True

    def missing(self) -> list[tools.Missing]:
        return tools.missing_for_jars()

    def run(self) -> Iterator[list[str | Path]]:
        fresh = jars.JARS.with_name("jars.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield ["mvn", "-q", "-B", "-ntp", "-f", pom(), f"-Djars={fresh}", "generate-resources"]
        jars.verify(fresh)
        shutil.rmtree(jars.JARS, ignore_errors=True)
        fresh.rename(jars.JARS)

    def failure(self, what: str) -> SpringtideError:
        return Unavailable(what, cure=NETWORK_CURE)


class Decoder(Step):
    """What Flink reads events with: Java, compiled against the Flink of the environment."""

    name = "event decoder"
    log_name = "decoder"
    sources = ROOT / "streaming" / "decoder"

    def inputs(self) -> str:
        files = sorted(path for path in self.sources.rglob("*") if path.is_file())
        return digest([LOCK, jars.CHECKSUMS, *files], str(ROOT))

    def is_whole(self) -> bool:
        return jars.DECODER.is_file()

    def missing(self) -> list[tools.Missing]:
        return tools.missing_for_decoder()

    def run(self) -> Iterator[list[str | Path]]:
        self.done = "built"
        classes = jars.DECODER.with_name("classes")
        shutil.rmtree(classes, ignore_errors=True)
        shutil.copytree(self.sources, classes, ignore=shutil.ignore_patterns("*.java"))
        packages = VENV / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" if jars.IS_CHECKOUT else ROOT
        libraries = [*packages.glob("pyflink/lib/*.jar"), *jars.event_decoder()[1:]]
        path = os.pathsep.join(map(str, libraries))
        sources = sorted(self.sources.rglob("*.java"))
        yield [java_tool("javac"), "-Xlint:all,-processing", "-Werror", "-d", classes, "-cp", path, *sources]
        fresh = jars.DECODER.with_suffix(".new")
        # With one time for all entries the same sources make the same bytes.
        yield [java_tool("jar"), "--create", JAR_TIME, "--file", fresh, "-C", classes, "."]
        fresh.replace(jars.DECODER)

    def failure(self, what: str) -> SpringtideError:
        return Invalid(what, cure="the compiler's message in the log names the file and line")


class Kernels(Step):
    name = "kernels"
    log_name = "kernels"

    def inputs(self) -> str:
        sources = [ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", LOCK]
        sources += sorted(path for path in (ROOT / "kernels" / "src").rglob("*") if path.is_file())
        return digest(sources, str(ROOT))

    def is_whole(self) -> bool:
        return (VENV / "bin" / "springtide").is_file()

    def missing(self) -> list[tools.Missing]:
        return tools.missing_for_kernels()

    def run(self) -> Iterator[list[str | Path]]:
        self.done = "built"
        pip: list[str | Path] = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
        yield [*pip, "--no-build-isolation", "--no-deps", "-e", ROOT]

    def failure(self, what: str) -> SpringtideError:
        return Invalid(what, cure="the compiler's message in the log names the file and line")


def pom() -> Path:
    return jars.CHECKSUMS.with_name("pom.xml")


def digest(files: list[Path], *more: str) -> str:
    """One hash of the files' names and contents and of ``more``."""
    total = hashlib.sha256("\0".join(more).encode())
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        total.update(f"{file.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def say(line: str, *, again: bool = False) -> None:
    """Prints a line; on a terminal ``again`` writes over it next time."""
    terminal = sys.stdout.isatty()
    sys.stdout.write(("\r\033[K" if terminal else "") + line + ("" if again and terminal else "\n"))
    sys.stdout.flush()


def line_of(number: int, step: Step, state: str, seconds: float, note: str = "") -> str:
    spent = f"{seconds:.0f} s" if seconds >= 0 else ""
    return f"  {number}/{STEPS_AND_START} {step.name:<22}{state:<8}{spent:>7}{note and '   '}{note}".rstrip()


def execute(command: list[str | Path], step: Step, number: int, begin: float, lock: int) -> int:
    """Runs one command into the step's log; its exit status. Shows the seconds passing."""
    # cmake and ninja are looked for in PATH.
    environment = {**os.environ, "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    with step.log.open("ab") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            pass_fds=[lock],  # should this process be killed, nobody starts before its command has ended too
        )
        poll = TERMINAL_POLL if sys.stdout.isatty() else STILL_SECONDS
        try:
            while True:
                try:
                    return process.wait(poll)
                except subprocess.TimeoutExpired:
                    say(line_of(number, step, "…", time.monotonic() - begin), again=True)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def perform(number: int, step: Step, lock: int) -> None:
    """Runs a step if it is not done, and says how long it took.

    Raises:
        SpringtideError: A command failed; the message holds the last lines of its output.
    """
    begin = time.monotonic()
    if step.is_done():
        say(line_of(number, step, "ready", -1, step.note))
        return
    step.stamp.unlink(missing_ok=True)
    step.log.write_bytes(b"")
    if sys.stdout.isatty():
        say(line_of(number, step, "…", 0), again=True)
    try:
        for command in step.run():
            if execute(command, step, number, begin, lock) != 0:
                lines = step.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
                shown = "".join(f"\n      {line}" for line in lines)
                raise step.failure(f"{Path(command[0]).name} failed:{shown}\n     ")
    except SpringtideError:
        say(line_of(number, step, "FAILED", time.monotonic() - begin, f"log: {os.path.relpath(step.log)}"))
        raise
    step.stamp.write_text(step.inputs(), encoding="ascii")
    say(line_of(number, step, step.done, time.monotonic() - begin, step.note))


@contextmanager
def only_one() -> Iterator[int]:
    """Waits until no other set-up of this checkout runs; yields the lock's descriptor."""
    with (STATE / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  waiting for another set-up of this folder to end", again=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def set_up() -> None:
    """Brings the checkout, or the installed package, to the state that its files ask for.

    Raises:
        SpringtideError: Tools are missing (all are named at once), or a step failed.
    """
    of_package: list[Step] = [Jars(), Decoder()]
    steps = [Environment(), *of_package, Kernels()] if jars.IS_CHECKOUT else of_package
    missing = [*tools.missing_python(), *tools.missing_java()]
    for step in steps:
        if not step.is_done():
            missing += step.missing()
    if missing:
        raise Invalid("this machine lacks\n" + "\n".join(f"  {one}" for one in missing) + "\n ")
    STATE.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    with only_one() as lock:
        for number, step in enumerate(steps, start=1):
            perform(number, step, lock)


def main() -> int:
    """Prints the arguments as a title, then a line for every step; the exit status tells the kind of failure."""
    if sys.argv[1:]:
        say(" ".join(sys.argv[1:]))
    try:
        set_up()
    except SpringtideError as error:
        sys.stderr.write(f"  {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n  interrupted; the same command goes on from here\n")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
