"""Where an estimator's page of the documentation is."""

from __future__ import annotations

from typing import Any


class Documented:
    """An estimator whose HTML box in a notebook links to its page of the documentation.

    scikit-learn reads these three attributes. Classes that are defined elsewhere, as subclasses of
    ours, have no such page, and get no link.
    """

    _doc_link_module = "skprune"
    _doc_link_template: Any = (
        "https://skprune.readthedocs.io/en/stable/generated/{home}.{name}.html"
    )

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        baseline = type(self).__module__.startswith("skprune.baselines.")
        home = "skprune.baselines" if baseline else "skprune"
        return {"home": home, "name": type(self).__name__}
