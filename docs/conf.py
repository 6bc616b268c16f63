"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "skprune"
author = "The skprune developers"
copyright = "2026, The skprune developers"
release = installed_version("skprune")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc sections state the types
numpydoc_show_class_members = False  # the class template lists them

# The code of the pages is run by `sphinx-build -b doctest`; a page is one namespace.
doctest_test_doctest_blocks = ""

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": None,
    "download_all_examples": False,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skprune {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {
    "index": [],
    "quickstart": [],
    "pipelines": [],
    "choosing": [],
    "comparing": [],
    "torch": [],
    "theory": [],
}
