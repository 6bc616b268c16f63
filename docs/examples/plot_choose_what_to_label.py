"""
Which rows to label
===================

Labels cost money, and rows are there in plenty: which of them should somebody label? No label is
known, so nothing can be said of losses or gradients; but strategies that look at features alone can
be asked. Twenty labels that one of them asks for are worth some sixty random ones; others do worse
than chance.
"""

# %%
# Rows without labels
# -------------------
#
# Images of digits, 1,078 of them in the pool and 719 for the test. ``labels`` are hidden: they are
# looked at only for rows that a strategy has asked for.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
pool, X_test, labels, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

# %%
# Ask for 40 labels
# -----------------
#
# Strategies that need no labels are fitted without: ``fit(X)``. Facility location takes rows such
# that every row of the pool is near to one of them. ``ranking_`` is the order to label in, which
# serves every smaller number as well.

from skprune.baselines import FacilityLocation

chosen = FacilityLocation(40, random_state=0).fit(pool)
figure, axes = plt.subplots(2, 10, figsize=(9, 2), layout="constrained")
for ax, row in zip(axes.flat, chosen.ranking_, strict=False):
    ax.imshow(pool[row].reshape(8, 8), cmap="gray_r")
    ax.set_axis_off()
figure.suptitle("the first 20 to label")
found = np.unique(labels[chosen.ranking_[:20]])
print(f"classes among them: {len(found)} of 10")

# %%
# What the labels are worth
# -------------------------
#
# A logistic regression is trained on the rows that were labelled, and tested on others. Every
# strategy is drawn five times; the band is a standard error.

from skprune.baselines import GMMatching, Herding, KCenter, Prototypes, Random

sizes = [20, 40, 80, 160, 320]
strategies = {
    "random": Random,
    "facility location": FacilityLocation,
    "geometric median": GMMatching,
    "herding": Herding,
    "k-center": KCenter,
    "far from prototypes": Prototypes,
}


def right(strategy, size, seed):
    """Share of the test rows that is right after labelling so many."""
    rows = strategy(size, random_state=seed).fit(pool).sample_indices_
    return model.fit(pool[rows], labels[rows]).score(X_test, y_test)


scores = {
    name: np.array([[right(kind, size, seed) for size in sizes] for seed in range(5)])
    for name, kind in strategies.items()
}
print(f"{'labels':<20}" + "".join(f"{size:>8}" for size in sizes))
for name, found in scores.items():
    print(f"{name:<20}" + "".join(f"{score:>8.1%}" for score in found.mean(0)))

# %%
# The curves
# ----------
#
# Where few labels can be paid for, rows that cover the pool are the ones to ask for: 20 of them do
# as well as some 60 random ones. Rows at the border (k-center, far from prototypes) are the odd
# ones, which say little of the others as long as these are not known.

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, found in scores.items():
    grey = {"color": "0.4", "linestyle": ":", "linewidth": 2} if name == "random" else {}
    mean, error = found.mean(0), found.std(0, ddof=1) / len(found) ** 0.5
    (line,) = ax.plot(sizes, mean, marker="o", markersize=4, label=name, **grey)
    ax.fill_between(sizes, mean - error, mean + error, color=line.get_color(), alpha=0.15)
ax.set_xscale("log")
ax.set_xticks(sizes, sizes)
ax.set_xticks([], minor=True)
ax.set_xlabel("rows that are labelled")
ax.set_ylabel("right on test rows")
ax.legend(frameon=False)

full = model.fit(pool, labels).score(X_test, y_test)
few = np.interp(scores["facility location"].mean(0)[0], scores["random"].mean(0), sizes)
print(f"all {len(pool):,} labels: {full:.1%}")
print(f"20 labels by facility location are worth {few:.0f} random ones")

# %%
# Once there are labels, more is known: :class:`~skprune.InfluencePruner` chooses in the metric of
# the model itself. For images and texts, take embeddings as rows: distances in pixels mean little.
