"""
Prune a table
=============

A training set of digits is pruned to the smallest subset on which retraining costs at most 0.02
of the loss. The report shows what was kept and what it costs; a test set that the pruner never saw
has the last word.
"""

# %%
# The table
# ---------
#
# 1797 images of 8 x 8 pixels, one row each. A quarter is put aside as a test set.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# The model is an ordinary scikit-learn Pipeline. The pruner is given the same one, so that it
# selects for the very penalty that is used in training.

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


def test_loss(X, y):
    """Loss on the test set after training on these rows."""
    return log_loss(y_test, model.fit(X, y).predict_proba(X_test))


full = test_loss(X_train, y_train)
print(f"loss with all rows: {full:.3f}")

# %%
# Prune
# -----

from skprune import InfluencePruner

pruner = InfluencePruner(max_gap=0.02, model=model, random_state=0)
X_kept, y_kept = pruner.fit_transform(X_train, y_train)
pruner.report_

# %%
# On the test set
# ---------------
#
# The gap of the kept rows, and of as many rows drawn at random within each class. One random draw
# says little, so ten are made; the number behind them is their standard deviation.

print(f"kept rows:   {test_loss(X_kept, y_kept) - full:+.3f}")

gaps = []
for seed in range(10):
    X_random, _, y_random, _ = train_test_split(
        X_train, y_train, train_size=len(y_kept), stratify=y_train, random_state=seed
    )
    gaps.append(test_loss(X_random, y_random) - full)
print(f"random rows: {np.mean(gaps):+.3f} ± {np.std(gaps, ddof=1):.3f}")

# %%
# The sizes that were tried
# -------------------------
#
# Every size on the way has its measured gap. The display puts stratified random rows of the same
# size beside them.

from skprune import PruningCurveDisplay

PruningCurveDisplay.from_estimator(pruner)

# %%
# Single rows
# -----------
#
# ``scores_`` looks at rows one by one: how much the held-out loss would change without that row.
# The rows at the negative end are those the model would rather not have seen, such as unclear
# digits.

import matplotlib.pyplot as plt

worst = np.argsort(pruner.scores_, kind="stable")[:8]
figure, axes = plt.subplots(1, len(worst), figsize=(10, 1.8))
for ax, row in zip(axes, worst, strict=True):
    ax.imshow(X_train[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"a {y_train[row]}")
    ax.axis("off")
