"""
Strategies compared
===================

Six published ways to choose rows are compared with random rows and with ``InfluencePruner`` on a
table of digits: where many rows are kept all of them do well, and where few are kept most of
them do worse than chance.
"""

# %%
# The rows and the model
# ----------------------
#
# A quarter of the rows is held out by ``compare`` itself. The estimator is what is trained on every
# choice of rows.

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))

# %%
# The strategies
# --------------
#
# Names stand for strategies with their default parameters; any pruner may stand beside them.
# Predictions, gradients and training dynamics are found once for all of them.

from skprune import InfluencePruner, LinearProxy, compare

strategies = {
    "forgetting": "forgetting",
    "el2n": "el2n",
    "herding": "herding",
    "k-center": "k-center",
    "ccs": "ccs",
    "dataset pruning, as published": "dataset pruning",
    "InfluencePruner": InfluencePruner(model=LinearProxy()),
}
found = compare(X, y, strategies, [0.05, 0.1, 0.2, 0.4], estimator=model, seeds=3)

# %%
# The picture
# -----------
#
# The hardest rows alone (``el2n``) teach little until enough of them are kept, and neither do the
# rows that the published method keeps, which only asks that the others cancel.

found.plot()

# %%
# What it took
# ------------
#
# Seconds of what all strategies share, and of what each did on top of it.

print({name: round(seconds, 3) for name, seconds in found.evidence_seconds.items()})
found.to_frame().groupby("strategy")[["selection_seconds", "training_seconds"]].mean().round(3)
