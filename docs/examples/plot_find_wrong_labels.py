"""
Wrong labels
============

Before rows are pruned they should be looked at. ``scores_`` is the predicted change of the
held-out loss if that row alone were left out, without any retraining: rows whose score is most
negative are those that the model would rather not have seen, and wrong labels are among them.
"""

# %%
# Digits, some of them with a wrong label
# ---------------------------------------

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
rng = np.random.default_rng(0)
wrong = np.sort(rng.choice(len(y_train), 70, replace=False))
labels = y_train.copy()
labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10

# %%
# Scores
# ------
#
# Any size will do: the scores are of all rows.

from skprune import InfluencePruner

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=1000))
pruner = InfluencePruner(keep=0.5, model=model, random_state=0).fit(X_train, labels)
order = np.argsort(pruner.scores_, kind="stable")
found = np.isin(order, wrong).cumsum()
print(f"{found[69]} of the first 70 rows have a wrong label; chance: {70 * 70 / len(labels):.0f}")

# %%
# Most suspects are wrong, some are only unusual. To leave them out without a look helps already; to
# look at them and correct them helps more.

suspects = order[:70]
for name, left_out in (
    ("all rows", []),
    ("without the suspects", suspects),
    ("without wrong labels", wrong),
):
    model.fit(np.delete(X_train, left_out, axis=0), np.delete(labels, left_out))
    loss = log_loss(y_test, model.predict_proba(X_test))
    print(f"{name:<21} loss {loss:.3f} on clean test rows, {model.score(X_test, y_test):.1%} right")

# %%
# The rows themselves
# -------------------

import matplotlib.pyplot as plt

figure = plt.figure(figsize=(9, 4))
curve, grid = figure.subfigures(1, 2, width_ratios=[1, 1.3])
ax = curve.subplots()
ax.plot(np.arange(1, len(order) + 1), found / len(wrong))
ax.plot([0, len(order)], [0, 1], color="0.6", ls=":", label="chance")
ax.set_xlabel("rows looked at, most harmful first")
ax.set_ylabel("share of the wrong labels found")
ax.legend()
for ax, row in zip(grid.subplots(3, 7).flat, order, strict=False):
    ax.imshow(X_train[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"a {labels[row]}?", color="C3" if row in wrong else "black", fontsize=9)
    ax.axis("off")
