"""Sphinx configuration: `make docs` builds the site into docs/_build."""

import tomato_dao

project = "tomato-dao"
author = "the tomato-dao developers"
copyright = author
version = release = tomato_dao.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # nothing is fetched while building
suppress_warnings = ["misc.highlighting_failure"]  # $1 in SQL, … in Python
html_theme = "furo"
html_title = f"tomato-dao {version}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
