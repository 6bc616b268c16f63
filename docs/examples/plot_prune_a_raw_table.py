"""
Dates, categories and NaN with gradient boosting
================================================

A table as it comes out of a database holds words, dates and gaps, and the model that is trained on
it is mostly a gradient boosting: ``HistGradientBoostingClassifier`` here, LightGBM or XGBoost
elsewhere. The pruner takes the table and the model as they are. How many rows can go, and what does
the model lose?
"""

# %%
# The table
# ---------
#
# Simulated orders of a shop: will the parcel be sent back? The weight is missing for every eighth
# order, and is never known for vouchers.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n = 12_000
orders = pd.DataFrame(
    {
        "ordered": pd.Timestamp("2025-01-01")
        + pd.to_timedelta(rng.integers(0, 365 * 24 * 60, n), unit="min"),
        "goods": pd.Categorical(
            rng.choice(
                ["shoes", "shirts", "books", "toys", "voucher"], n, p=[0.3, 0.3, 0.2, 0.15, 0.05]
            )
        ),
        "country": pd.Categorical(rng.choice(["AT", "CH", "DE", "FR", "IT", "PL"], n)),
        "price": rng.lognormal(3.5, 0.7, n).round(2),
        "weight": rng.gamma(2, 0.6, n).round(2),
        "returning": rng.random(n) < 0.6,
    }
)
orders.loc[(rng.random(n) < 1 / 8) | (orders["goods"] == "voucher"), "weight"] = np.nan

january = orders["ordered"].dt.month.eq(1)
evening = orders["ordered"].dt.hour.ge(20)
worn = orders["goods"].isin(["shoes", "shirts"])
odds = -2.2 + 2.2 * worn + 0.9 * (worn & evening) + 1.2 * january - 0.5 * orders["returning"]
odds += 0.8 * (orders["price"] > 60) - 4 * (orders["goods"] == "voucher")
sent_back = rng.random(n) < 1 / (1 + np.exp(-odds))
orders.head()

# %%
# The model
# ---------
#
# Categories and NaN are the boosting's own business. It takes no dates, so a first step makes month
# and hour of them. This is the model that is trained in the end, so it is what the pruner gets.

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def date_parts(table):
    """Month and hour in place of the date."""
    when = table["ordered"].dt
    return table.drop(columns="ordered").assign(month=when.month, hour=when.hour)


model = make_pipeline(
    FunctionTransformer(date_parts),
    HistGradientBoostingClassifier(max_iter=60, random_state=0),
)
X_train, X_test, y_train, y_test = train_test_split(
    orders, sent_back, stratify=sent_back, random_state=0
)

# %%
# Prune
# -----
#
# To *choose* rows, the table is made into numbers: categories become columns, dates their parts,
# gaps the median beside a mark. To *measure* them, the boosting is trained on the raw rows. The
# budget is 0.02 nats of its loss.

from skprune import InfluencePruner

pruner = InfluencePruner(max_gap=0.02, model=model, random_state=0)
X_kept, y_kept = pruner.fit_transform(X_train, y_train)
pruner.report_

# %%
# The kept rows are rows of the table, with its types and gaps.

X_kept.dtypes

# %%
# On the test rows
# ----------------
#
# All rows, the kept ones, and ten draws of as many random ones. Where the pruner found that rows
# with weights serve the boosting better, the weights are part of the result.

from sklearn.metrics import log_loss


def loss_of(X, y, weights=None):
    """Loss on the test rows after training on these."""
    model.fit(X, y, histgradientboostingclassifier__sample_weight=weights)
    return log_loss(y_test, model.predict_proba(X_test))


full = loss_of(X_train, y_train)
kept = loss_of(X_kept, y_kept, pruner.sample_weight_)
random = [
    loss_of(
        *train_test_split(
            X_train, y_train, train_size=len(y_kept), stratify=y_train, random_state=seed
        )[::2]
    )
    for seed in range(10)
]
print(f"{len(y_train):,} rows: {full:.4f}")
print(f"{len(y_kept):,} kept: {kept - full:+.4f}")
print(f"{len(y_kept):,} random: {np.mean(random) - full:+.4f} ± {np.std(random, ddof=1):.4f}")

# %%
# The sizes that were tried
# -------------------------
#
# Every point is a training of the boosting. Boosting needs many rows; a linear model on the same
# table would be content with some hundreds.

from skprune import PruningCurveDisplay

PruningCurveDisplay.from_estimator(pruner)
