"""A picture of rows that were kept and removed, for images and texts."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skprune.data.containers import n_rows
from skprune.results.display import pyplot

#: Classes that are drawn, unless others are asked for.
CLASSES = 10
#: Letters of a text that are shown, and those of a line.
LETTERS, LINE = 90, 30
#: Width of a letter of a label, in inches.
LETTER = 0.09

Rows = NDArray[np.int64]


class KeptRowsDisplay:
    """Images or texts of rows that were kept and removed, with a line for every class.

    Of both sorts those are shown whose scores are highest and lowest: the rows that help a model
    most and those that harm it most. Wrong labels are often among the latter.

    Make one with :meth:`from_pruner`; the arguments below are stored as attributes.

    Parameters
    ----------
    items : indexable of n images or texts
        The rows. An item may also be a tuple whose first entry is the image or text.
    rows : dict of str to dict of str to array of int
        For every class and every sort of rows, the positions of those that are drawn.
    image_shape : tuple of int, default=None
        The shape of an image, if the rows are flat.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (n_classes, n_sorts, n_each)
        Texts have one for each sort: the last length is then 1.
    figure_ : matplotlib Figure

    See Also
    --------
    InfluencePruner : Its ``rows_`` have the same of all rows, as a table.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skprune import InfluencePruner, KeptRowsDisplay, LinearProxy
    >>> digits = load_digits()
    >>> pruner = InfluencePruner(keep=0.3, model=LinearProxy()).fit(digits.data, digits.target)
    >>> display = KeptRowsDisplay.from_pruner(pruner, digits.images, digits.target)
    >>> display.axes_.shape
    (10, 4, 3)
    """

    def __init__(
        self,
        items: Any,
        rows: dict[str, dict[str, Rows]],
        *,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.items = items
        self.rows = rows
        self.image_shape = image_shape

    @classmethod
    def from_pruner(
        cls,
        pruner: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        n_each: int = 3,
        classes: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        figure: Any = None,
    ) -> KeptRowsDisplay:
        """Draw rows that a fitted pruner kept and removed.

        Parameters
        ----------
        pruner : InfluencePruner or a strategy to compare with
            Fitted. Without ``scores_`` the first rows of every sort are drawn.
        X : array-like of n images or texts, or a dataset
            The fitted rows as one looks at them, which need not be what was fitted: images for
            their embeddings, texts for their counts. Images have the shape (height, width), with
            channels first or last.
        y : array-like of shape (n,), default=None
            The class of every row; None draws all rows as one.
        n_each : int, default=3
            How many rows of every sort and class.
        classes : array-like, default=None
            The classes to draw, in their order; None takes the first ten.
        image_shape : tuple of int, default=None
            The shape of an image, if the rows of X are flat.
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.

        Returns
        -------
        KeptRowsDisplay

        Raises
        ------
        NotFittedError
            If the pruner has not been fitted.
        ValueError
            If X or y has another number of rows than were fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(pruner)
        kept = pruner.keep_mask_
        for name, data in (("X", X), ("y", y)):
            if data is not None and (found := _length(data)) != len(kept):
                raise ValueError(
                    f"{name} has {found} rows, and the pruner was fitted on {len(kept)}; pass what "
                    "belongs to the fitted rows, in their order."
                )
        scores = getattr(pruner, "scores_", None)
        best, worst = "highest score", "lowest score"
        if hasattr(pruner, "estimate_cost"):  # of an InfluencePruner
            best, worst = "helps most", "harms most"
        labels = np.full(len(kept), "all rows") if y is None else np.asarray(y)
        shown = np.unique(labels)[:CLASSES] if classes is None else np.asarray(classes)
        rows: dict[str, dict[str, Rows]] = {}
        for label in shown:
            rows[str(label)] = line = {}
            for sort, mask in (("kept", kept), ("removed", ~kept)):
                these = np.flatnonzero(mask & (labels == label))
                if scores is None:
                    line[sort] = these[:n_each]
                    continue
                order = these[np.argsort(-scores[these], kind="stable")]
                line[f"{sort}, {best}"] = order[:n_each]
                line[f"{sort}, {worst}"] = order[::-1][:n_each]
        return cls(X, rows, image_shape=image_shape).plot(figure)

    def plot(self, figure: Any = None) -> KeptRowsDisplay:
        """Draw the rows.

        Parameters
        ----------
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.

        Returns
        -------
        KeptRowsDisplay
            self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        lines = list(self.rows.items())
        sorts = list(lines[0][1])
        drawn = [at for _, line in lines for rows in line.values() for at in rows]
        texts = bool(drawn) and isinstance(self._item(drawn[0]), str)
        n_each = max(len(rows) for _, line in lines for rows in line.values())
        columns = 1 if texts else max(1, n_each)
        beside = 0.3 + LETTER * max(len(label) for label in self.rows)
        if figure is None:
            width = (2.9 if texts else 0.85 * columns) * len(sorts) + beside
            height = (0.55 * n_each + 0.1 if texts else 0.8) * len(lines) + 0.4
            figure = pyplot(type(self).__name__).figure(figsize=(width, height))
        # A narrow empty column stands between two sorts.
        widths = ([1.0] * columns + [0.25]) * len(sorts)
        grid = figure.add_gridspec(
            len(lines),
            len(widths),
            width_ratios=widths,
            left=beside / figure.get_figwidth(),
            right=1.0,
            bottom=0.01,
            top=1.0 - 0.35 / figure.get_figheight(),
            wspace=0.05,
            hspace=0.05,
        )
        self.axes_ = np.empty((len(lines), len(sorts), columns), dtype=object)
        for i, (label, line) in enumerate(lines):
            for j, sort in enumerate(sorts):
                start = j * (columns + 1)
                axes = [figure.add_subplot(grid[i, start + k]) for k in range(columns)]
                self.axes_[i, j] = axes
                for ax in axes:
                    ax.set_axis_off()
                if i == 0:
                    self._title(axes, sort)
                self._draw(axes, line[sort], texts)
            self.axes_[i, 0, 0].text(
                -0.15, 0.5, label, ha="right", va="center", transform=self.axes_[i, 0, 0].transAxes
            )
        self.figure_ = figure
        return self

    def _title(self, axes: list[Any], sort: str) -> None:
        """The name of a sort, above the middle of its columns."""
        axes[0].text(
            len(axes) / 2,
            1.08,
            sort,
            ha="center",
            va="bottom",
            color="C0" if sort.startswith("kept") else "C3",
            transform=axes[0].transAxes,
        )

    def _draw(self, axes: list[Any], rows: Rows, texts: bool) -> None:
        """Draw rows of one class and one sort."""
        if texts:
            cut = [textwrap.shorten(self._item(at), LETTERS, placeholder=" …") for at in rows]
            lines = [textwrap.fill(text, LINE) for text in cut]
            axes[0].text(
                0.0, 0.97, "\n\n".join(lines), fontsize=8, va="top", transform=axes[0].transAxes
            )
            return
        for ax, at in zip(axes, rows, strict=False):
            image = self._image(at)
            ax.imshow(image, cmap="gray_r" if image.ndim == 2 else None)

    def _item(self, at: int) -> Any:
        item = getattr(self.items, "iloc", self.items)[int(at)]
        return item[0] if isinstance(item, (tuple, list)) else item

    def _image(self, at: int) -> NDArray[Any]:
        """An image as matplotlib draws it: channels last, and numbers from 0 to 1 if coloured."""
        image = np.asarray(self._item(at))
        if self.image_shape is not None:
            image = image.reshape(self.image_shape)
        if image.ndim not in (2, 3):
            raise ValueError(
                f"an item has the shape {image.shape}, which is no image; pass image_shape=, as in "
                "image_shape=(28, 28), or the images themselves."
            )
        if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
            image = np.moveaxis(image, 0, 2)
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        if image.ndim == 2 or image.dtype.kind in "ui":
            return image
        low, high = float(image.min()), float(image.max())
        return image if low >= 0 and high <= 1 else (image - low) / ((high - low) or 1.0)


def _length(data: Any) -> int:
    return n_rows(data) if hasattr(data, "shape") else len(data)
