"""
A support vector machine, searched on fewer rows
================================================

The time that a support vector machine takes grows with the square of its rows and more, and a
search pays it for every candidate in every fold. ``PrunedSearchCV`` tries the candidates on a
fifth of the rows, compares the best few on all rows, and fits the winner to all rows.
"""

# %%
# The plain search
# ----------------
#
# A gamma-ray telescope: is a flash of light a gamma ray, or background? The table comes with
# skprune.

from time import perf_counter

from scipy.stats import loguniform
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skprune.data.magic import load_magic

X, y = load_magic()
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=5000, test_size=5000, stratify=y, random_state=0
)
search = RandomizedSearchCV(
    make_pipeline(StandardScaler(), SVC()),
    {"svc__C": loguniform(0.1, 100), "svc__gamma": loguniform(0.01, 1)},
    n_iter=16,
    cv=3,
    random_state=0,
)
start = perf_counter()
search.fit(X_train, y_train)
seconds = {"all rows": perf_counter() - start}
print(f"{seconds['all rows']:.1f} s, {search.score(X_test, y_test):.1%} right")

# %%
# The same on a fifth of the rows
# -------------------------------
#
# ``PrunedSearchCV`` is wrapped around the search. ``LinearProxy()`` chooses the rows with a
# logistic regression, in a fraction of a second for each fold; validation folds stay whole.

from skprune import InfluencePruner, LinearProxy, PrunedSearchCV

pruner = InfluencePruner(keep=0.2, model=LinearProxy(), random_state=0)
pruned = PrunedSearchCV(search, pruner, finalists=3)
start = perf_counter()
pruned.fit(X_train, y_train)
seconds["a fifth"] = perf_counter() - start
print(f"{seconds['a fifth']:.1f} s, {pruned.score(X_test, y_test):.1%} right")
pruned.report_

# %%
# Random rows
# -----------
#
# Any pruner can choose the rows. For an SVC random rows rank the candidates about as well: the time
# is saved by fewer rows, and the finalists make it safe.

from skprune.baselines import StratifiedRandom

random = PrunedSearchCV(search, StratifiedRandom(0.2, random_state=0), finalists=3)
start = perf_counter()
random.fit(X_train, y_train)
seconds["a random fifth"] = perf_counter() - start
print(f"{seconds['a random fifth']:.1f} s, {random.score(X_test, y_test):.1%} right")

# %%
# Is the order the same?
# ----------------------
#
# Every point is a candidate, with its score on kept rows and on all rows. The finalists are those
# that the search on kept rows ranks first; what matters is that the best on all rows is among them.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), width_ratios=[2, 1])
on_all = search.cv_results_["mean_test_score"]
for name, found, marker in (("chosen rows", pruned, "o"), ("random rows", random, "x")):
    left.plot(found.cv_results_["mean_test_score"], on_all, marker, alpha=0.7, label=name)
    few = found.cv_results_["mean_test_score"][found.finalist_indices_]
    left.plot(few, on_all[found.finalist_indices_], "o", ms=13, mfc="none", color="C3")
left.plot([], [], "o", ms=13, mfc="none", color="C3", label="finalists")
left.set_xlabel("score on a fifth of the rows")
left.set_ylabel("score on all rows")
left.legend()
right.bar(list(seconds), list(seconds.values()), color=["0.6", "C0", "C1"])
right.set_ylabel("seconds, refit included")
right.tick_params(axis="x", rotation=20)
figure.tight_layout()

# %%
# With Optuna instead of ``RandomizedSearchCV``, ``PrunedSearchCV`` goes around ``OptunaSearchCV``
# in the same way. :doc:`/searching` says for which models a search on fewer rows can be believed:
# for boosting on noisy tables the order of the candidates on few rows means little.
