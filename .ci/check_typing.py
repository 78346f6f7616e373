"""Have mypy and pyright read the users' scripts in tests/typing.

Each must report the lines marked "# error", and no others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "tests" / "typing").glob("*.py"))
MARK = "  # error"

Lines = set[tuple[str, int]]


def marked() -> Lines:
    """The lines in which an error is expected."""
    lines = ((script.name, i, line) for script in SCRIPTS for i, line in enumerate(script.read_text().splitlines(), 1))
    return {(name, i) for name, i, line in lines if line.endswith(MARK)}


def output(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, SCRIPTS)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):  # 1: errors were found
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def mypy() -> Lines:
    """Under --strict, as a user whose code must not be told of the package's own."""
    told = [
        json.loads(line) for line in output("mypy", "--strict", "--follow-imports=silent", "-O", "json").splitlines()
    ]
    return {(Path(found["file"]).name, found["line"]) for found in told if found["severity"] == "error"}


def pyright() -> Lines:
    told = json.loads(output("pyright", "--outputjson", "--pythonpath", sys.executable))["generalDiagnostics"]
    errors = [found for found in told if found["severity"] == "error"]
    return {(Path(found["file"]).name, found["range"]["start"]["line"] + 1) for found in errors}


def main() -> int:
    checkers: tuple[Callable[[], Lines], ...] = (mypy, pyright)
    expected, wrong = marked(), False
    for checker in checkers:
        found = checker()
        wrong |= found != expected
        print(f"{checker.__name__}: {len(found & expected)} of {len(expected)} expected errors")
        for text, lines in (("not reported", expected - found), ("reported", found - expected)):
            for name, line in sorted(lines):
                print(f"  {text}: tests/typing/{name}:{line}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
