"""Sphinx settings of the report; `tsc_lib.report.build` copies this folder, adds what was computed, and builds it."""

import importlib.util
from pathlib import Path

project = "Energy-efficient transformers for time series"
author = "the tsc_lib authors"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generated/*"]

# Everything a page loads is part of the site: no CDN for widgets, and MathJax as one local file.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # what cells make has tables
mathjax_folder = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
html_static_path = ["_static", str(mathjax_folder / "tex-svg.js")]
mathjax_path = "tex-svg.js"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has the search field already
    "show_navbar_depth": 1,
    "use_fullscreen_button": False,
}
html_css_files = ["report.css"]
html_context = {"default_mode": "auto"}
html_show_sphinx = False
html_copyright = ""

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "ignore-module-all": True,
    "exclude-members": "set, set_score_request",  # matplotlib and scikit-learn put them into every subclass
}
napoleon_google_docstring = False
napoleon_use_ivar = True  # else autodoc lists the attributes of a dataclass a second time

# Attributes of several classes have the same names, and none of them is meant alone.
suppress_warnings = ["ref.python"]
