"""
A nightly job that uses a selection again
=========================================

A model is trained every night on all rows so far. Choosing rows takes longer than one training, so
it is not done every night: the kept rows of the last selection and the rows that came since are the
training set. Rows are chosen anew once enough new ones have come, or as soon as ``recheck`` says
that the promise does not hold on the new ones.
"""

# %%
# Nights
# ------
#
# A telescope's table, delivered in parts: 6,000 rows to begin with and 800 a night. Every night is
# tested on the 800 rows of the next day.

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

from skprune import InfluencePruner
from skprune.data.magic import load_magic

X, y = load_magic()
order = np.random.default_rng(0).permutation(len(y))
X, y = X[order], y[order]
ends = 6000 + 800 * np.arange(11)

model = make_pipeline(
    QuantileTransformer(n_quantiles=100, random_state=0),
    PolynomialFeatures(2, include_bias=False),
    StandardScaler(),
    LogisticRegression(max_iter=1000),
)


def select(end):
    """A pruner that has chosen from all rows before this one."""
    return InfluencePruner(max_gap=0.02, model=model, random_state=0).fit(X[:end], y[:end])


# %%
# The job
# -------
#
# What is stored from one night to the next is the fitted pruner (``joblib.dump``) or, if only the
# rows are needed, ``sample_indices_``. ``chosen_at`` is the number of rows that it has chosen from.

from itertools import pairwise
from time import perf_counter

chosen_at = ends[0]
start = perf_counter()
pruner = select(chosen_at)
selecting = perf_counter() - start
nights = []
for end, until in pairwise(ends):
    arrived = np.arange(chosen_at, end)
    again = len(arrived) >= 2400
    if len(arrived) and not again:
        again = pruner.recheck(X[arrived], y[arrived]).holds is False
    if again:
        start = perf_counter()
        pruner, chosen_at = select(end), end
        selecting += perf_counter() - start
        arrived = np.arange(end, end)
    rows = np.concatenate([pruner.sample_indices_, arrived])
    losses = []
    for training in (np.arange(end), rows):
        model.fit(X[training], y[training])
        losses.append(log_loss(y[end:until], model.predict_proba(X[end:until])))
    nights.append((end, len(rows), *losses, again))
    print(
        f"{end:,} rows, {len(rows):,} trained on: {losses[1] - losses[0]:+.4f}",
        "chosen anew" * again,
    )

print(f"{selecting:.1f} s for choosing")

# %%
# Ten nights
# ----------

import matplotlib.pyplot as plt

end, used, full, kept, again = (np.array(column) for column in zip(*nights, strict=True))
night = np.arange(1, len(end) + 1)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.bar(night, end, color="0.85", label="all rows")
left.bar(night, used, color="C0", label="trained on")
right.plot(night, full, "o-", color="0.5", label="all rows")
right.plot(night, kept, "o-", color="C0", label="kept and new rows")
for ax in (left, right):
    for when in night[again]:
        ax.axvline(
            when, color="C3", ls=":", label="chosen anew" if when == night[again][0] else None
        )
    ax.set_xlabel("night")
    ax.set_xticks(night)
    ax.legend()
left.set_ylabel("rows")
right.set_ylabel("loss on the next day's rows")
right.margins(y=0.35)
figure.tight_layout()

# %%
# The rows on which the model was trained, all nights together. A model that is slower to train than
# this one saves in proportion; choosing costs the same.

print(f"{end.sum():,} rows without pruning, {used.sum():,} with it")
