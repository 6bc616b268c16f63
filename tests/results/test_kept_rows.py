"""KeptRowsDisplay draws the rows that it names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from cases.pruners import head_pruner
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from torch.utils.data import TensorDataset

from skprune import InfluencePruner, KeptRowsDisplay
from skprune.baselines import StratifiedRandom

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("no_windows")
DIGITS = load_digits()
IMAGES, FLAT, Y = DIGITS.images[:600], DIGITS.data[:600], DIGITS.target[:600]
SORTS = ["kept, helps most", "kept, harms most", "removed, helps most", "removed, harms most"]


@pytest.fixture(scope="module")
def pruner():
    return head_pruner(keep=0.3, random_state=0).fit(FLAT, Y)


def drawn(display, i, j):
    return [ax.images[0].get_array() for ax in display.axes_[i, j] if ax.images]


@pytest.mark.parametrize(
    ("items", "options"),
    [
        (IMAGES, {}),
        (FLAT, {"image_shape": (8, 8)}),
        (IMAGES[:, None], {}),
        (pd.DataFrame(FLAT), {"image_shape": (8, 8)}),
        (torch.tensor(IMAGES)[:, None], {}),
        (TensorDataset(torch.tensor(IMAGES), torch.tensor(Y)), {}),
    ],
    ids=["images", "flat", "channels first", "frame", "tensor", "dataset"],
)
def test_images_that_help_and_harm_most(pruner, items, options):
    display = KeptRowsDisplay.from_pruner(pruner, items, Y, n_each=2, **options)
    assert display.axes_.shape == (10, 4, 2)
    rows = pruner.rows_.assign(y=Y)
    for i, (label, line) in enumerate(display.rows.items()):
        assert list(line) == SORTS
        for j, (sort, positions) in enumerate(line.items()):
            some = rows[(rows["y"] == int(label)) & (rows["kept"] == sort.startswith("kept"))]
            ends = some["score"].nlargest(2) if "helps" in sort else some["score"].nsmallest(2)
            assert rows["score"][positions].tolist() == ends.tolist()
            np.testing.assert_array_equal(drawn(display, i, j), IMAGES[positions])
    display.figure_.canvas.draw()


def test_texts():
    texts = [f"text number {i} " + 40 * "and so on " for i in range(len(Y))]
    pruner = head_pruner(keep=0.3, random_state=0).fit(FLAT, Y)
    display = KeptRowsDisplay.from_pruner(pruner, texts, Y, classes=[3, 1])
    assert display.axes_.shape == (2, 4, 1)
    assert list(display.rows) == ["3", "1"]
    (shown,) = [t.get_text() for t in display.axes_[1, 2, 0].texts if "number" in t.get_text()]
    assert [int(part.split()[2]) for part in shown.split("\n\n")] == [*display.rows["1"][SORTS[2]]]
    assert len(shown) < 300
    display.figure_.canvas.draw()


def test_pruners_without_scores_and_rows_without_classes():
    import matplotlib.pyplot as plt

    random = StratifiedRandom(0.3, random_state=0).fit(FLAT, Y)
    figure = plt.figure()
    display = KeptRowsDisplay.from_pruner(random, IMAGES, figure=figure)
    assert display.figure_ is figure
    assert list(display.rows) == ["all rows"]
    assert list(display.rows["all rows"]["removed"]) == random.removed_indices_[:3].tolist()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.0, 3.0), (0, 255)])
def test_colours_are_in_range(low, high):
    kind = np.uint8 if isinstance(high, int) else float
    image = np.linspace(low, high, 48).reshape(3, 2, 8).astype(kind)
    (shown,) = drawn(KeptRowsDisplay([image], {"a": {"kept": np.array([0])}}).plot(), 0, 0)
    assert shown.shape == (2, 8, 3)
    expected = image if kind is np.uint8 else (image - low) / (high - low)
    np.testing.assert_allclose(shown, np.moveaxis(expected, 0, 2))


def test_refusals(pruner):
    with pytest.raises(NotFittedError):
        KeptRowsDisplay.from_pruner(InfluencePruner(), IMAGES, Y)
    with pytest.raises(ValueError, match="y has 5 rows, and the pruner was fitted on 600"):
        KeptRowsDisplay.from_pruner(pruner, IMAGES, Y[:5])
    with pytest.raises(ValueError, match=r"shape \(64,\), which is no image; pass image_shape="):
        KeptRowsDisplay.from_pruner(pruner, FLAT, Y)
