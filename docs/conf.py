"""Sphinx configuration."""

project = "researchpacs"
author = "the researchpacs developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "researchpacs"
myst_heading_anchors = 3
