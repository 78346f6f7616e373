"""What the page for contributors names is there, and every stage of the checks that is called is one."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PATHS = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|py))`", CONTRIBUTING)
INSIDE = re.findall(r"""[`"]([^`"\n]+)[`"] in `([\w.-]+/[\w./-]+)`""", CONTRIBUTING)
STAGES = set(re.findall(r"^  ([a-z-]+)\) # ", (ROOT / ".ci" / "stage").read_text(), re.MULTILINE))
BESIDE = {"ci", "NAME"}  # what else the pages say after make

CALLS = {
    ".ci/run": r"^STAGES=\((.*)\)$",
    ".pre-commit-config.yaml": r"entry: \.ci/stage (.*)$",
    "README.md": r"`make ([^`]+)`",
    "CONTRIBUTING.md": r"`make ([^`]+)`",
    "docs/architecture.md": r"`make ([^`]+)`",
}


@pytest.mark.parametrize("file", CALLS)
def test_stages_that_are_called_are_there(file):
    calls = re.findall(CALLS[file], (ROOT / file).read_text(), re.MULTILINE)
    called = {word for call in calls for word in call.split() if "=" not in word}
    assert called
    assert called - STAGES <= BESIDE


def test_stages_are_listed():
    done = subprocess.run(["bash", ROOT / ".ci" / "stage"], capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == STAGES


def test_another_stage_is_an_error_that_lists_them():
    done = subprocess.run(["bash", ROOT / ".ci" / "stage", "lnit"], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'no stage "lnit"' in done.stderr
    assert "\nlint " in done.stderr


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_paths_that_the_page_names_are_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("name", "path"), sorted(set(INSIDE)))
def test_what_the_page_says_is_in_a_file_is_in_it(name, path):
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / path).read_text())


def test_the_page_is_read():
    assert {".ci/run", "CHANGELOG.md", "skvae/_table/frames/", "skvae/nn/priors.py"} <= set(PATHS)
    assert {("FACTORIES", "tests/nn/test_priors.py"), ("Rivals", "docs/benchmarks.md")} <= set(INSIDE)
