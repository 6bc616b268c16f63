"""
Which rows were kept
====================

A subset that trains a model as well as all rows do: what does it look like? First in a plane, where
every row can be seen, then in pictures of digits.
"""

# %%
# In a plane
# ----------
#
# Two half moons of 3,000 points, and a logistic regression on polynomials of the coordinates. Of
# the rows 100 are kept: by the pruner, at random within the classes, and the hardest.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skprune import InfluencePruner, KeptRowsDisplay
from skprune.baselines import EL2N, StratifiedRandom

X, y = make_moons(3000, noise=0.3, random_state=0)
model = make_pipeline(
    PolynomialFeatures(3, include_bias=False),
    StandardScaler(),
    LogisticRegression(C=100, max_iter=1000),
)
pruners = {
    "all rows": None,
    "InfluencePruner": InfluencePruner(keep=100, model=model, random_state=0),
    "random": StratifiedRandom(100, random_state=0),
    "hardest (EL2N)": EL2N(100, random_state=0),
}

# %%
# The line is where the model that was trained on these rows is undecided; the thin line is that
# of all rows. Balanced rows lie everywhere, as random ones do, but their model is that of all
# rows. The hardest rows lie where the classes overlap, and teach the model something else.

grid = np.stack(np.meshgrid(np.linspace(-2, 3, 120), np.linspace(-1.6, 2.1, 120)), axis=-1)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharex=True, sharey=True)
full = model.fit(X, y).predict_proba(grid.reshape(-1, 2))[:, 1].reshape(120, 120)
for ax, (name, pruner) in zip(axes, pruners.items(), strict=True):
    X_kept, y_kept = (X, y) if pruner is None else pruner.fit_transform(X, y)
    found = model.fit(X_kept, y_kept).predict_proba(grid.reshape(-1, 2))[:, 1].reshape(120, 120)
    ax.scatter(*X.T, c="0.9", s=4)
    ax.scatter(*X_kept.T, c=np.where(y_kept, "C0", "C1"), s=6 if pruner is None else 18)
    ax.contour(grid[..., 0], grid[..., 1], full, [0.5], colors="black", linewidths=0.8)
    ax.contour(grid[..., 0], grid[..., 1], found, [0.5], colors="C3", linewidths=2)
    ax.set_title(f"{name}: {len(y_kept)}")
figure.tight_layout()

# %%
# Digits
# ------
#
# ``scores_`` is the predicted change of the held-out loss if that row alone is removed: positive
# means that the row helps. Of every digit: the two rows that help most and that harm most, among
# the kept and among the removed ones.

X, y = load_digits(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
pruner = InfluencePruner(keep=0.3, model=model, random_state=0).fit(X, y)

KeptRowsDisplay.from_pruner(pruner, X.reshape(-1, 8, 8), y, n_each=2)

# %%
# Ten classes on 64 pixels have 650 parameters, so that the 539 kept rows have to determine them:
# rows with a large effect are kept, whether it is to help or to harm, and rows that change
# nothing are removed. Where rows are many for every parameter, as in the plane above, hardly any
# is special, and other subsets are as good. Clean the rows that harm before you prune.

order = np.argsort(pruner.scores_)
figure, ax = plt.subplots(figsize=(6, 3))
ax.bar(range(1, 11), [100 * pruner.keep_mask_[part].mean() for part in np.array_split(order, 10)])
ax.set_xlabel("tenth of the rows, from those that harm to those that help")
ax.set_ylabel("kept, %")
ax.set_xticks(range(1, 11))
figure.tight_layout()
