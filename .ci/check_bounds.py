"""Compare the lower bounds of the run-time dependencies in pyproject.toml with the pins in constraints-oldest.txt.

A bound is honest when the tests have run with just that version. Torch is left out: it is tested at one version only.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOUND = re.compile(r"([A-Za-z0-9_-]+)>=([\w.]+)")


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = dict(BOUND.findall(" ".join([*project["dependencies"], *extras["plot"], *extras["polars"]])))
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE))
    wrong = [
        f"{name}: pyproject.toml says >={bound}, constraints-oldest.txt pins {pins.get(name, 'nothing')}"
        for name, bound in bounds.items()
        if name != "torch" and pins.get(name) != bound
    ]
    print("\n".join(wrong) or f"{len(bounds) - 1} lower bounds are the versions tested")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
