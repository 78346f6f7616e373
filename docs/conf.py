"""Sphinx configuration: ``make docs`` writes the site."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import skvae

project = "skvae"
author = "skvae developers"
copyright = "skvae developers"
version = release = skvae.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_theme = "pydata_sphinx_theme"
html_title = f"skvae {release}"
