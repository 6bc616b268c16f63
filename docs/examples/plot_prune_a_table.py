"""
Prune a table
=============

A training set of digits is pruned to the smallest subset on which retraining costs at most one
point of accuracy. The report shows what was kept and what it costs; a test set that the pruner
never saw has the last word.
"""

# %%
# The table
# ---------
#
# 1797 images of 8 x 8 pixels, one row each. A quarter is put aside as a test set.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# The model is an ordinary scikit-learn Pipeline. The pruner is given the same one, so that it
# selects for the very penalty that is used in training.

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
model.fit(X_train, y_train).score(X_test, y_test)

# %%
# Prune
# -----

from skprune import InfluencePruner

pruner = InfluencePruner(max_gap=0.01, scoring="accuracy", model=model, random_state=0)
X_kept, y_kept = pruner.fit_transform(X_train, y_train)
pruner.report_

# %%
# On the test set
# ---------------
#
# The model on the kept rows, and on as many rows drawn at random within each class. One random draw
# says little, so ten are made.

model.fit(X_kept, y_kept).score(X_test, y_test)

# %%

random_scores = []
for seed in range(10):
    X_random, _, y_random, _ = train_test_split(
        X_train, y_train, train_size=len(y_kept), stratify=y_train, random_state=seed
    )
    random_scores.append(model.fit(X_random, y_random).score(X_test, y_test))
print(f"random: {np.mean(random_scores):.3f} ± {np.std(random_scores, ddof=1):.3f}")

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
