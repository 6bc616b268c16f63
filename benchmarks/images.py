"""Images of the benchmarks: CIFAR-10 and -100, Fashion-MNIST, Tiny ImageNet, and drawn ones.

Files are looked for under `data_root`, or under the folder that ``SKPRUNE_DATA`` names:
``cifar10/``, ``cifar100/``, ``fashion_mnist.npz`` and ``tiny-imagenet-200/``. What is not there
comes from the loader that any user has, torchvision or OpenML; of Tiny ImageNet there is none.
Drawn images need no file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn import datasets

from benchmarks.harness import write_arrays

PathLike = str | os.PathLike[str]
Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

#: First digits of the sha256 of x_train, y_train, x_test, y_test, all uint8.
SHA256 = {
    "cifar10": ("47af8b02cfcfb6cd", "2b7cd2f244873176", "f9b1e2130bab680d", "cec8a24a1e92aa2e"),
    "cifar100": ("4e457917601a66ae", "9f11b9f97aad759b", "4cb8e5d9309da489", "4dad7d09c7c97d33"),
    "fashion_mnist": (
        "2e487a6c89124f78",
        "657fbd221bfc9f41",
        "c867c93ff9536059",
        "3d0e6c6ea990b53b",
    ),
}
#: Small images that are drawn by a generator, always the same.
DRAWN = "drawn"
#: As it is distributed: a folder of JPEG files, 64 x 64, of 200 classes.
TINY, TINY_FOLDER = "tiny_imagenet", "tiny-imagenet-200"
IMAGES = (*SHA256, TINY, DRAWN)


def root(data_root: PathLike | None) -> Path:
    """The folder of all data."""
    return Path(data_root or os.environ.get("SKPRUNE_DATA") or "skprune-data")


def fetch(what: str, path: Path, loader: Callable[[], Any]) -> Any:
    """Call a loader of the network; a failure says which file was looked for, and what to do."""
    try:
        return loader()
    except Exception as exc:
        raise FileNotFoundError(
            f"There is no {path}, and fetching {what} failed: {exc}. Point data_root or "
            "SKPRUNE_DATA at a folder that holds it, or allow network access."
        ) from exc


def load_images(name: str, data_root: PathLike | None = None) -> Images:
    """Load images as ``x_train, y_train, x_test, y_test``, all uint8, checked against their sha256.

    Images have the shape (n, side, side, channels): 32 x 32 x 3, 28 x 28 x 1 of Fashion-MNIST, and
    64 x 64 x 3 of Tiny ImageNet, whose test images are the published validation images, and which
    is not checked.
    """
    if name == DRAWN:
        return _drawn()
    if name == TINY:
        return _tiny(root(data_root))
    if name not in SHA256:
        raise ValueError(f"Unknown images {name!r}; there are {IMAGES}.")
    folder, file = root(data_root) / name, root(data_root) / f"{name}.npz"
    if (folder / "labels.npz").exists():
        with np.load(folder / "labels.npz") as z:
            train, test = _mosaics(folder, "train", 50000), _mosaics(folder, "test", 10000)
            arrays = train, z["y_train"], test, z["y_test"]
    elif file.exists():
        with np.load(file) as z:
            arrays = z["x_train"], z["y_train"], z["x_test"], z["y_test"]
    else:
        arrays = fetch(name, file, lambda: _download(name))
    for array, digits in zip(arrays, SHA256[name], strict=True):
        if not hashlib.sha256(array.tobytes()).hexdigest().startswith(digits):
            raise ValueError(f"An array differs from the canonical {name} ({digits}...).")
    x_train, y_train, x_test, y_test = arrays
    if x_train.ndim == 3:
        x_train, x_test = x_train[..., None], x_test[..., None]
    return x_train, y_train, x_test, y_test


def _mosaics(folder: Path, part: str, rows: int) -> np.ndarray:
    """Cut mosaics of 32 x 32 images, row-major, the last padded, into images."""
    tiles = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.glob(f"{part}_*"))]
    images = [t.reshape(32, 32, 32, 32, 3).transpose(0, 2, 1, 3, 4) for t in tiles]
    return np.concatenate(images).reshape(-1, 32, 32, 3)[:rows]


def _tiny(where: Path) -> Images:
    """Tiny ImageNet from its folder, or from the arrays that an earlier call made of that."""
    folder, file = where / TINY_FOLDER, where / f"{TINY}.npz"
    if not file.exists():
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no {folder}, and nothing fetches it: unpack tiny-imagenet-200.zip under "
                "data_root or the folder that SKPRUNE_DATA names."
            )
        classes = sorted(path.name for path in (folder / "train").iterdir())
        train = [(p, c) for c in classes for p in sorted((folder / "train" / c).rglob("*.JPEG"))]
        lines = (folder / "val" / "val_annotations.txt").read_text().splitlines()
        fields = [line.split("\t") for line in lines]
        test = [(folder / "val" / "images" / name, label) for name, label, *_ in fields]
        arrays = {}
        for part, rows in (("train", train), ("test", test)):
            images = [np.asarray(Image.open(path).convert("RGB")) for path, _ in rows]
            arrays[f"x_{part}"] = np.stack(images)  # some are grey
            labels = [classes.index(label) for _, label in rows]
            arrays[f"y_{part}"] = np.array(labels, dtype=np.uint8)
        write_arrays(file, **arrays)
    with np.load(file) as z:
        return z["x_train"], z["y_train"], z["x_test"], z["y_test"]


def _download(name: str) -> Images:
    try:
        import torchvision
    except ImportError:
        return _openml(name)
    kind = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}[name]
    home = Path.home() / ".cache" / "skprune"
    loader = getattr(torchvision.datasets, kind)
    train, test = (loader(home, train=part, download=True) for part in (True, False))
    arrays = train.data, train.targets, test.data, test.targets
    return tuple(np.asarray(a, dtype=np.uint8) for a in arrays)  # type: ignore[return-value]


def _openml(name: str) -> Images:
    title = {"cifar10": "CIFAR_10", "cifar100": "CIFAR-100", "fashion_mnist": "Fashion-MNIST"}[name]
    X, y = datasets.fetch_openml(title, version=1, return_X_y=True, as_frame=False)
    X, y = X.astype(np.uint8), y.astype(np.uint8)
    X = X.reshape(-1, 28, 28) if X.shape[1] == 784 else X.reshape(-1, 3, 32, 32)
    X = X if X.ndim == 3 else np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    return X[:-10000], y[:-10000], X[-10000:], y[-10000:]


def _drawn(n_classes: int = 4, side: int = 16, rows: int = 1000, test: int = 400) -> Images:
    """Smooth patterns, one a class, in noise that hides the rows of some more than of others."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(n_classes, 4, 4, 3))
    patterns = coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    y = rng.integers(n_classes, size=rows + test)
    noise = rng.gamma(2.0, 1.0, size=(len(y), 1, 1, 1)) * rng.normal(size=(len(y), side, side, 3))
    x = np.clip(128 + 40 * (patterns[y] + noise), 0, 255).astype(np.uint8)
    y = y.astype(np.uint8)
    return x[:rows], y[:rows], x[rows:], y[rows:]
