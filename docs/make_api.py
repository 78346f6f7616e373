"""Write docs/api.md from the docstrings: ``python docs/make_api.py``. A test compares the two."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from numpydoc.docscrape import NumpyDocString

TARGET = Path(__file__).resolve().parent / "api.md"

PARTS = {
    "skvae": "The estimators.",
    "skvae.displays": "Pictures of fitted models, in scikit-learn's Display convention; they need matplotlib.",
    "skvae.metrics": "How like real rows drawn ones are. All functions take what the estimators take; the two need "
    "neither be as many rows nor stand in the same container.",
    "skvae.nn.likelihoods": "What p(x|z) is for a block of columns. Pass one, or a `functools.partial` of one, as "
    "`likelihood`.",
    "skvae.nn.priors": "What p(z) is. Pass one, or a `functools.partial` of one, as `prior`.",
}
CHOSEN = {
    "skvae.nn.likelihoods": (
        "Likelihood",
        "Gaussian",
        "StudentT",
        "StudentTMixture",
        "GaussianMixture",
        "LogNormal",
        "Bernoulli",
        "Categorical",
        "Ordinal",
        "Poisson",
        "NegativeBinomial",
        "ZeroInflatedPoisson",
        "ZeroInflatedNegativeBinomial",
    ),
    "skvae.nn.priors": ("Prior", "StandardNormal", "Mixture", "AggregatedPosterior"),
}
LISTS = ("Parameters", "Attributes", "Returns", "Raises", "Warns")
TEXTS = ("Notes", "References")


def page() -> str:
    """The whole page."""
    out = ["# API reference", "", "Written from the docstrings by `python docs/make_api.py`; do not edit.", ""]
    for name, summary in PARTS.items():
        module = import_module(name)
        out += [f"## `{name}`", "", summary, ""]
        for member in CHOSEN.get(name) or module.__all__:
            thing = getattr(module, member)
            if inspect.isclass(thing):
                out += class_section(thing, name)
            elif inspect.isfunction(thing):
                out += [f"### {member}", "", *signature(f"{name}.{member}", thing), *docstring(thing.__doc__ or "")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def class_section(cls: type, module: str) -> list[str]:
    out = [
        f"### {cls.__name__}",
        "",
        *signature(f"{module}.{cls.__name__}", cls),
        *docstring(cls.__doc__ or ""),
    ]
    for name in public_methods(cls):
        method = getattr(cls, name)
        out += [f"#### {cls.__name__}.{name}", "", *signature(name, method), *docstring(method.__doc__)]
    return out


def public_methods(cls: type) -> list[str]:
    """Methods that this package defines and documents; an override without a docstring is the base class's business."""
    found: dict[str, Any] = {}
    for owner in cls.__mro__:
        if owner.__module__.startswith("skvae"):
            found |= {n: m for n, m in vars(owner).items() if not n.startswith("_") and n not in found}
    return [n for n, m in found.items() if isinstance(m, (FunctionType, classmethod, staticmethod)) and m.__doc__]


def signature(name: str, member: Any) -> list[str]:
    parameters = [p for p in inspect.signature(member).parameters.values() if p.name != "self"]
    bare = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    lines = textwrap.wrap(f"{name}{bare}", 110, subsequent_indent="    ", break_long_words=False)
    return ["```python", *lines, "```", ""]


def docstring(text: str) -> list[str]:
    doc = NumpyDocString(inspect.cleandoc(text))
    out = [prose(doc["Summary"]), "", prose(doc["Extended Summary"]), ""]
    for title in LISTS:
        if doc[title]:
            out += [f"**{title}**", "", *(item(*entry) for entry in doc[title]), ""]
    for title in TEXTS:
        lines = doc[title].splitlines() if isinstance(doc[title], str) else doc[title]
        if lines:
            out += [f"**{title}**", "", prose(lines), ""]
    if doc["See Also"]:
        names = (name for entry in doc["See Also"] for name, _ in entry[0])
        out += ["**See also**: " + ", ".join(f"`{name}`" for name in names), ""]
    if doc["Examples"]:
        out += ["**Examples**", "", "```pycon", *doc["Examples"], "```", ""]
    return out


def item(name: str, kind: str, description: list[str]) -> str:
    """One entry of a list section; its own lists and paragraphs stay inside it."""
    head = f"- **{name}**" if name else "-"
    head += f" : {prose([kind])}" if kind else ""
    body = prose(description)
    return head + ("\n\n" + "\n".join(f"  {line}".rstrip() for line in body.splitlines()) + "\n" if body else "")


def prose(lines: list[str]) -> str:
    """ReStructuredText of the few sorts that the docstrings use, as Markdown."""
    text = inspect.cleandoc("\n".join(lines))
    text = re.sub(r"^\.\. math:: (.+)$", r"$$\1$$", text, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    text = re.sub(r"^\.\. \[(\d+)\] ", r"- \\[\1\\] ", text, flags=re.MULTILINE)
    text = re.sub(r"^   (?=\S)", "  ", text, flags=re.MULTILINE)
    text = re.sub(r"\[(\d+)\]_", r"\\[\1\\]", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    TARGET.write_text(page())
