"""
A million rows
==============

What is chosen from is never a matrix of rows by parameters: gradients stay in factors, so that
time and memory grow with the table itself. Here a million rows are pruned for a logistic
regression, with the cost estimated before it is paid.
"""

# %%
# The table
# ---------
#
# A million rows of 20 columns in float32: 80 MB.

from time import perf_counter

import numpy as np

rng = np.random.default_rng(0)
n = 1_000_000
X = rng.standard_normal((n, 20), dtype=np.float32)
slopes = rng.normal(size=20)
y = (X @ slopes + rng.logistic(scale=2, size=n) > 0).astype(int)
X_test, y_test = X[-200_000:], y[-200_000:]
X_train, y_train = X[:-200_000], y[:-200_000]

# %%
# What will it take?
# ------------------
#
# ``estimate_cost`` looks at a few rows and says how many seconds and bytes ``fit`` will take.

from sklearn.linear_model import LogisticRegression

from skprune import InfluencePruner

model = LogisticRegression()
pruner = InfluencePruner(keep=2000, model=model, random_state=0)
print(pruner.estimate_cost(X_train, y_train))

# %%
# Prune
# -----

start = perf_counter()
X_kept, y_kept = pruner.fit_transform(X_train, y_train)
print(f"{len(y_kept):,} of {len(y_train):,} rows in {perf_counter() - start:.1f} s")
pruner.report_

# %%
# The coefficients
# ----------------
#
# The model on 2,000 chosen rows is the model on 800,000 rows; the model on 2,000 random rows is
# that with the noise of 2,000 rows.

import matplotlib.pyplot as plt
from sklearn.metrics import log_loss

from skprune.baselines import StratifiedRandom

X_random, y_random = StratifiedRandom(2000, random_state=0).fit_transform(X_train, y_train)
full = model.fit(X_train, y_train).coef_.ravel().copy()
figure, ax = plt.subplots(figsize=(5, 4.2))
for name, rows in {"random": (X_random, y_random), "chosen": (X_kept, y_kept)}.items():
    model.fit(*rows)
    loss = log_loss(y_test, model.predict_proba(X_test))
    ax.plot(full, model.coef_.ravel(), "o", label=f"2,000 {name} rows, test loss {loss:.4f}")
ax.axline((0, 0), slope=1, color="0.6", lw=1)
ax.set_xlabel("coefficients on 800,000 rows")
ax.set_ylabel("coefficients on 2,000 rows")
ax.legend()
figure.tight_layout()
