"""How Sphinx builds the documentation; `make docs` runs it. Nothing is fetched."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "deqsci"
author = copyright = "The deqsci authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "pages"]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "deqsci"
html_copy_source = False
default_role = "literal"  # single backticks in docstrings are code

myst_heading_anchors = 4  # those of a code host, so that the same links hold there

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
