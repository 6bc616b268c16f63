"""
Few rows, noisy labels: teacher targets
=======================================

A boosting that is trained on a tenth of the rows fits the noise of their labels.
``targets="teacher"`` hands it the out-of-fold predictions of a model that has seen all rows in
place of the labels: a coreset with what the other rows have to say.
"""

# %%
# The table
# ---------
#
# A gamma-ray telescope; one label in ten of the training rows is turned over. The test rows are
# clean.

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skprune.data.magic import load_magic

X, y = load_magic()
y = (y == "gamma").astype(int)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=8000, stratify=y, random_state=0
)
wrong = np.random.default_rng(0).random(len(y_train)) < 0.1
y_train = np.where(wrong, 1 - y_train, y_train)

# %%
# A tenth of the rows
# -------------------
#
# ``PrunedClassifier`` trains a boosting on what a pruner hands out: rows, weights and targets.

from skprune import InfluencePruner, PrunedClassifier
from skprune.baselines import StratifiedRandom

boosting = HistGradientBoostingClassifier(max_iter=60, random_state=0)
pruners = {
    "random rows": StratifiedRandom(0.1, random_state=0),
    "chosen rows": InfluencePruner(keep=0.1, random_state=0),
    "chosen rows, teacher": InfluencePruner(
        keep=0.1, targets="teacher", verify="retrain", random_state=0
    ),
}
losses = {"all rows": log_loss(y_test, boosting.fit(X_train, y_train).predict_proba(X_test))}
print(f"{'all rows':<22}{losses['all rows']:.4f}")
for name, pruner in pruners.items():
    pruned = PrunedClassifier(boosting, pruner).fit(X_train, y_train)
    losses[name] = log_loss(y_test, pruned.predict_proba(X_test))
    print(f"{name:<22}{losses[name]:.4f}")

# %%
# Chosen rows alone are no better than random ones for this boosting, whose trouble is the noise.
# The report of the last pruner measures the gap on true labels, beside random rows that have
# teacher targets as well.

pruned.pruner_.report_

# %%
# The picture
# -----------

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.5, 2.6))
ax.barh(list(losses), list(losses.values()), color=["0.6", "C3", "C0", "C2"])
ax.axvline(losses["all rows"], color="0.4", ls=":")
ax.set_xlabel("loss on clean test rows")
ax.invert_yaxis()
figure.tight_layout()

# %%
# Where labels are clean, or classes are many, true labels may serve better. ``targets="auto"``
# tries both and takes what loses less: :ref:`teacher`.
