"""
Trained CNN to Subset to retraining
===================================

A small convolutional network is trained on images, the rows that its last layer can do without are
taken out of the dataset, and the network is trained anew on the ``Subset`` that is left. Every
training is repeated with several seeds, beside random rows, and beside all rows for the same number
of steps.
"""

# %%
# A dataset and a network
# -----------------------
#
# 1797 digits of 8 x 8 pixels, a quarter of them put aside as a test set.

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

images, digits = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
digits = torch.tensor(digits)
train_rows, test_rows = train_test_split(np.arange(1797), stratify=digits, random_state=0)
train_set = TensorDataset(images[train_rows], digits[train_rows])

# %%
# Training is a function of a dataset and a seed. It is ordinary torch code, and skprune takes the
# function itself wherever it has to train.

EPOCHS, BATCH = 10, 64


def train(dataset, seed, steps=None):
    """Train a fresh network, for so many epochs or so many steps."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )
    steps = steps or EPOCHS * -(-len(dataset) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    loader = DataLoader(dataset, BATCH, shuffle=True)
    done = 0
    while done < steps:
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == steps:
                break
    return net.eval()


net = train(train_set, seed=0)


def accuracy(net):
    """Accuracy on the test set, in percent."""
    with torch.no_grad():
        predicted = net(images[test_rows]).argmax(1)
    return 100 * float((predicted == digits[test_rows]).double().mean())


print(f"trained on all rows: {accuracy(net):.1f} %")

# %%
# A Subset of the dataset
# -----------------------
#
# The network goes in as it is, and comes back as it was. With ``layers="head"``, the default, its
# last linear layer is found and taken to its optimum, which the line ``layer`` of the report is
# about.

from skprune import InfluencePruner

pruner = InfluencePruner(keep=0.3, model=net, random_state=0).fit(train_set)
kept = pruner.subset_
print(kept)
pruner.report_

# %%
# The gap in this report is that of the *last layer on features that have seen every row*. It is
# small. What the rows are worth for a network that starts from nothing is another question, and
# only training answers it.
#
# Retrain
# -------
#
# Five seeds each. Random rows are drawn within each class, anew for every seed. "All rows, same
# steps" is the training on everything that costs as much as the training on the subset.

SEEDS = range(5)
steps = EPOCHS * -(-len(kept) // BATCH)


def random_subset(seed):
    """As many rows, drawn at random within each class."""
    rows, _ = train_test_split(
        np.arange(len(train_set)),
        train_size=len(kept),
        stratify=digits[train_rows],
        random_state=seed,
    )
    return Subset(train_set, rows.tolist())


results = {
    "all rows": [accuracy(train(train_set, seed)) for seed in SEEDS],
    "all rows,\nsame steps": [accuracy(train(train_set, seed, steps)) for seed in SEEDS],
    "kept rows": [accuracy(train(kept, seed)) for seed in SEEDS],
    "random rows": [accuracy(train(random_subset(seed), seed)) for seed in SEEDS],
}
for name, values in results.items():
    label = name.replace("\n", " ")
    print(f"{label:<20} {np.mean(values):.1f} % ± {np.std(values, ddof=1):.1f}")

# %%

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3.5))
for place, values in enumerate(results.values()):
    ax.plot([place] * len(values), values, "o", alpha=0.6)
    ax.plot([place - 0.2, place + 0.2], [np.mean(values)] * 2, color="black")
ax.set_xticks(range(len(results)), results)
ax.set_ylabel("test accuracy, %")
ax.set_title(f"{len(kept)} of {len(train_set)} rows, five seeds")
figure.tight_layout()

# %%
# Most of what the subset costs against all rows is the cost of fewer steps: see the second column.
# What the *choice* of the rows is worth is the difference between the last two. With another
# network, another seed of the selection or another measure it can have either sign. A network that
# trains its first layers anew gets little from a balance of the gradients in its last one, and
# subsets that are balanced for the last layer are mostly about as good as random ones of the same
# size.
#
# Let the pruner measure it
# -------------------------
#
# With ``verify="retrain"`` and the training function as the model, the gap in the report is that
# of the whole network, trained anew with three seeds on rows that leave the held-out ones alone.
# Random rows are retrained beside it.

measured = InfluencePruner(keep=0.3, model=train, verify="retrain", random_state=0).fit(train_set)
print(measured.report_)
low, high = measured.gap_.interval(0.95)
print(f"gap between {low:+.3f} and {high:+.3f} nats, at 95 % confidence")
