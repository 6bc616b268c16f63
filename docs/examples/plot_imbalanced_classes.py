"""
Imbalanced classes
==================

Where one class is rare, the usual remedy is to throw away rows of the other one at random until
both are equal. That is fast to train, and forgets most of what was known of the common class. A
pruner that gets the model with its ``class_weight`` keeps fewer rows, and loses less.
"""

# %%
# The table
# ---------
#
# Flashes of light in a gamma-ray telescope, one in ten of them a hadron.

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skprune.data.magic import load_magic

X, y = load_magic()
hadrons = np.flatnonzero(y == "hadron")
few = np.random.default_rng(0).choice(hadrons, 1400, replace=False)
rows = np.concatenate([np.flatnonzero(y == "gamma"), few])
X, y = np.sign(X[rows]) * np.log1p(np.abs(X[rows])), (y[rows] == "hadron").astype(int)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
print(f"{len(y_train):,} training rows, {y_train.sum()} of the rare class")

# %%
# The model weights both classes equally. ``InfluencePruner`` reads ``class_weight`` from the model
# and measures its loss with the same weights: a gap of 0.02 is one of the *balanced* loss.

model = make_pipeline(
    StandardScaler(),
    PolynomialFeatures(2, include_bias=False),
    StandardScaler(),
    LogisticRegression(class_weight="balanced", max_iter=2000),
)

# %%
# Prune
# -----

from skprune import InfluencePruner

pruner = InfluencePruner(max_gap=0.02, model=model, random_state=0)
kept = pruner.fit_transform(X_train, y_train)
pruner.report_

# %%
# Beside under-sampling
# ---------------------
#
# imbalanced-learn's ``RandomUnderSampler`` keeps all rows of the rare class and as many of the
# other: here about twice the rows that the pruner keeps. Rows drawn at random within the classes,
# as many as the pruner keeps, have too few of the rare class.

from imblearn.under_sampling import RandomUnderSampler

from skprune.baselines import StratifiedRandom


def judge(rows):
    """Balanced loss and average precision on the test rows after training on these rows."""
    probability = model.fit(*rows).predict_proba(X_test)[:, 1]
    weight = np.where(y_test == 1, 1 / y_test.mean(), 1 / (1 - y_test.mean()))
    loss = log_loss(y_test, probability, sample_weight=weight)
    return len(rows[1]), loss, average_precision_score(y_test, probability)


size = len(kept.y)
results = {
    "all rows": [judge((X_train, y_train))],
    "InfluencePruner": [judge(kept)],
    "under-sampled": [
        judge(RandomUnderSampler(random_state=seed).fit_resample(X_train, y_train))
        for seed in range(10)
    ],
    "stratified random": [
        judge(StratifiedRandom(size, random_state=seed).fit_transform(X_train, y_train))
        for seed in range(10)
    ],
}
for name, values in results.items():
    n, loss, precision = np.mean(values, axis=0)
    print(f"{name:<18}{n:>6,.0f} rows  loss {loss:.3f}  average precision {precision:.3f}")

# %%
# The picture
# -----------
#
# Ten draws of the random rows, one point each.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
titles = {1: "balanced loss (less is better)", 2: "average precision (more is better)"}
for ax, (column, title) in zip(axes, titles.items(), strict=True):
    for place, values in enumerate(results.values()):
        points = [value[column] for value in values]
        ax.plot(points, [place] * len(points), "o", color=f"C{place}", alpha=0.7)
    ax.set_title(title)
    ax.axvline(results["all rows"][0][column], color="0.6", ls=":")
names = [f"{name}, {values[0][0]:,}" for name, values in results.items()]
axes[0].set_yticks(range(len(names)), names)
axes[0].invert_yaxis()
figure.tight_layout()

# %%
# ``min_per_class`` keeps a minimum of every class. Where that is far above its share, the kept
# rows no longer look like the table, and ``class_weight="balanced"`` means other weights on them
# than on all rows: look at the gap in the report before you use it.
