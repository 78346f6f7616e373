"""The code of the pages gives what they say, the API reference is that of the code, and links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import pyplot
from sklearn.exceptions import ConvergenceWarning

from skvae import _members
from skvae._model import auto
from tests.docs_results import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHAPE = re.compile(r"^(\w+) = .*#.*?(\(\d[\d, ]*\))", re.MULTILINE)  # of an array, as a comment says
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None


def python_blocks(page: Path) -> list[str]:
    """The page's blocks, without those about callbacks where scikit-learn is too old to have them."""
    blocks = BLOCK.findall(page.read_text())
    return [block for block in blocks if HAS_CALLBACKS or "sklearn.callback" not in block]


@pytest.mark.parametrize("name", RESULTS)
def test_code_blocks_run_in_order_and_give_what_the_page_says(name, monkeypatch, tmp_path, capsys):
    # The pages show fits of the default length. A part of the steps gives much the same.
    for schedule in ("SHORT", "LONG"):
        monkeypatch.setattr(auto, schedule, getattr(auto, schedule)._replace(steps=50))
    monkeypatch.setattr(_members, "IMPUTER_STEPS", (50, 50))
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 40)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    pyplot.close("all")
    namespace = {"__name__": "a_user"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", ".* left out of the model")  # as the page says
        for i, block in enumerate(python_blocks(ROOT / name)):
            exec(compile(block, f"{name}, block {i}", "exec"), namespace)
            printed = capsys.readouterr().out
            for variable, shape in SHAPE.findall(block):
                assert namespace[variable].shape == ast.literal_eval(shape)
            result = result_of(name, block)
            if result is not None:
                result(SimpleNamespace(**namespace), printed)
    pyplot.close("all")


def result_of(name, block):
    """What the block must give, as said in docs_results.py."""
    return next((result for start, result in RESULTS[name].items() if block.startswith(start)), None)


def test_every_block_of_every_page_has_a_result():
    pages = [str(page.relative_to(ROOT)) for page in PAGES if BLOCK.search(page.read_text())]
    assert set(pages) - {"docs/api.md"} == set(RESULTS)
    for name, results in RESULTS.items():
        blocks = BLOCK.findall((ROOT / name).read_text())
        without = [block for block in blocks if result_of(name, block) is None and "\nassert " not in f"\n{block}"]
        assert without == [], f"say in docs_results.py what these blocks of {name} give"
        unused = [start for start in results if sum(block.startswith(start) for block in blocks) != 1]
        assert unused == []


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
