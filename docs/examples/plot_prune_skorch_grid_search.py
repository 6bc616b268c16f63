"""
A skorch net in a grid search
=============================

skorch gives a torch network the interface of a scikit-learn classifier. ``PrunedClassifier`` puts
a pruner before it, and GridSearchCV then searches the share of the rows together with the
parameters of the training. Here: does a network that is trained on fewer rows want more epochs?
"""

# %%
# The net
# -------

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from skorch import NeuralNetClassifier
from torch import nn

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)


class Perceptron(nn.Module):
    """One hidden layer."""

    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(width, 10)

    def forward(self, X):
        """Outputs for the ten classes."""
        return self.head(self.body(X))


net = NeuralNetClassifier(
    Perceptron,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=1e-2,
    batch_size=64,
    max_epochs=15,
    train_split=None,
    verbose=0,
)

# %%
# Pruned before it is trained
# ---------------------------
#
# The pruner is given the same net. As it is not fitted, the pruner trains a clone of it on the
# rows that are not held out, and uses its last layer as the proxy; the criterion and the weight
# decay are read from the net.

from skprune import InfluencePruner, PrunedClassifier

torch.manual_seed(0)
pruned = PrunedClassifier(net, InfluencePruner(keep=0.3, model=net, random_state=0))
pruned.fit(X_train, y_train)
print(f"accuracy on the test rows: {pruned.score(X_test, y_test):.3f}")
pruned.pruner_.report_

# %%
# The search
# ----------
#
# Everything is cut inside the folds: the rows of a validation fold take part neither in choosing
# rows nor in training. ``keep=1.0`` is the net on all rows of the fold.

search = GridSearchCV(
    pruned,
    {"pruner__keep": [0.15, 0.3, 1.0], "estimator__max_epochs": [10, 30]},
    cv=3,
)
search.fit(X_train, y_train)

results = search.cv_results_
for parameters, mean, seconds in zip(
    results["params"], results["mean_test_score"], results["mean_fit_time"], strict=True
):
    print(
        f"keep {parameters['pruner__keep']:<5} {parameters['estimator__max_epochs']} epochs: "
        f"accuracy {mean:.3f}, {seconds:.1f} s a fit, pruning included"
    )

# %%
import matplotlib.pyplot as plt

keep = np.asarray(results["param_pruner__keep"], dtype=float)
epochs = np.asarray(results["param_estimator__max_epochs"], dtype=int)
figure, ax = plt.subplots(figsize=(6, 3.5))
for count in np.unique(epochs):
    line = epochs == count
    ax.errorbar(
        keep[line],
        results["mean_test_score"][line],
        yerr=results["std_test_score"][line],
        marker="o",
        capsize=3,
        label=f"{count} epochs",
    )
ax.set_xlabel("share of the rows kept")
ax.set_ylabel("accuracy, 3 folds")
ax.legend()
figure.tight_layout()

# %%
# A good part of what fewer rows cost is that they are fewer *steps*: with more epochs the pruned
# net gains more than the full one does. GridSearchCV takes the best score, and as rows seldom
# hurt, that is mostly the largest share. :doc:`/pipelines` has a ``refit=`` that takes the fewest
# rows within one standard error of it.

print(f"best: {search.best_params_}, {search.score(X_test, y_test):.3f} on the test rows")

# %%
# A net that is given as ``model=`` is a model of its own: a search over
# ``estimator__module__width`` does not change it, while a pruner without ``model=`` uses every
# candidate's own net. An unfitted net is also trained again for every candidate.
# ``InfluencePruner(keep=0.3, model="softmax")`` uses a softmax head on the columns instead,
# which costs next to nothing and is the same for all candidates.
