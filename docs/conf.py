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
    "sphinx_copybutton",
    "sphinx_design",
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
    # Every class's page lists the examples that use it, and their code links to the class.
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skprune",),
    "reference_url": {"skprune": None},
    "download_all_examples": False,
    "show_memory": False,
    "ignore_repr_types": "Display",  # the figure is what they have to say
}

copybutton_exclude = ".linenos, .gp, .go"  # what is copied runs: no prompts, no output

html_theme = "pydata_sphinx_theme"
html_title = f"skprune {release}"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_context = {
    "github_user": "skprune",
    "github_repo": "skprune",
    "github_version": "main",
    "doc_path": "docs",
}
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": "skprune",
    },
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
    "switcher": {"json_url": "_static/switcher.json", "version_match": release},
    "icon_links": [
        {
            "name": "GitHub",
            "url": "https://github.com/skprune/skprune",
            "icon": "fa-brands fa-github",
        },
        {"name": "PyPI", "url": "https://pypi.org/project/skprune/", "icon": "fa-brands fa-python"},
    ],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    # Generated pages have no source that could be edited.
    "secondary_sidebar_items": {
        "*": ["page-toc", "edit-this-page"],
        "generated/*": ["page-toc"],
        "auto_examples/*": ["page-toc"],
    },
    "use_edit_page_button": True,
}
html_sidebars = {"index": [], "quickstart": []}  # they have no section to show
