"""The code of the README and the user guide runs, the API reference is that of the code, and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import runpy
import warnings
from pathlib import Path

import matplotlib
import pytest
from sklearn.exceptions import ConvergenceWarning

from skvae import _auto, _imputer_models

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None


def python_blocks(page: Path) -> list[str]:
    """The page's blocks, without those about callbacks where scikit-learn is too old to have them."""
    blocks = BLOCK.findall(page.read_text())
    return [block for block in blocks if HAS_CALLBACKS or "sklearn.callback" not in block]


@pytest.mark.parametrize(
    "name", ["README.md", "docs/user_guide.md", "docs/tables.md", "docs/imputation.md", "docs/outliers.md"]
)
def test_code_blocks_run_in_order(name, monkeypatch, tmp_path):
    # The pages show fits of the default length; that they run is seen as well after a few steps.
    monkeypatch.setattr(_auto, "STEPS", 20)
    monkeypatch.setattr(_auto, "EPOCHS", 2)
    monkeypatch.setattr(_imputer_models, "STEPS", (20, 20))
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    blocks = python_blocks(ROOT / name)
    assert blocks, f"{name} has no python block"
    namespace = {"__name__": "a_user"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for i, block in enumerate(blocks):
            exec(compile(block, f"{name}, block {i}", "exec"), namespace)
    assert namespace.keys() & {"X_train", "known_good", "train"}


def test_api_reference_is_up_to_date():
    written = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    assert written["TARGET"].read_text() == written["page"](), "run `python docs/make_api.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(page.read_text()) if not link.startswith("http")]
    broken = [link for link in links if not leads_somewhere(page, link)]
    assert not broken


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and MyST give to headings."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
