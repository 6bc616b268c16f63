"""Products with rows in the owner's memory and precision, against a dense float64 matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.device import DEVICE, PretendedDevice
from cases.pruners import head_pruner
from sklearn.preprocessing import StandardScaler

import skprune.heads.features as module
from skprune.data.matrix import MatrixRows
from skprune.heads.encoding import column_moments, features_of
from skprune.heads.features import DenseFeatures, SparseFeatures
from skprune.utils.cache import digest
from skprune.utils.threads import side_by_side

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
PRODUCTS = ["forward", "adjoint", "gram", "adjoint_squared", "forward_squared"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Nothing is held in one block, and a block has few rows."""
    monkeypatch.setattr(module, "HELD_NUMBERS", 0)
    monkeypatch.setattr(module, "BLOCK_BYTES", 320)
    monkeypatch.setattr(module, "DEVICE_BLOCK_BYTES", 320)


def make_matrix(rng, dtype, n=57, d=6):
    X = rng.normal(size=(n, d)) * np.linspace(0.5, 3.0, d) + np.linspace(0.0, 20.0, d)
    return torch.from_numpy(X).to(dtype)


def multiply(features, product, rng, dtype=torch.float64):
    n, D = features.shape
    vector = {"gram": (n,), "forward": (D, 3), "forward_squared": (D, 3)}.get(product, (n, 3))
    operand = torch.from_numpy(rng.normal(size=vector)).to(features.device, dtype)
    return getattr(features, product)(operand).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_the_stored_values(dtype, product, device, rng, small_blocks):
    matrix = make_matrix(rng, dtype)
    index = torch.from_numpy(rng.permutation(57)[:41])
    mean, scale = (torch.from_numpy(rng.uniform(0.5, 2.0, 6)) for _ in range(2))
    lazy = DenseFeatures(matrix, index, mean=mean, scale=scale, ones=True).to(torch.device(device))
    dense = torch.ones(41, 7, dtype=torch.float64)
    dense[:, :6] = (matrix.double()[index] - mean) / scale
    state = rng.bit_generator.state
    found = multiply(lazy, product, rng)
    rng.bit_generator.state = state
    expected = multiply(DenseFeatures(dense), product, rng)
    assert found.dtype == torch.float64
    assert float((found - expected).norm() / expected.norm()) < 1e-12
    rows = torch.tensor([3, 0, 40])
    torch.testing.assert_close(lazy.take(rows).rows(slice(0, 3)).cpu(), dense[rows])


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("product", PRODUCTS)
def test_threads_share_the_rows(product, rng, small_blocks, two_threads):
    features = DenseFeatures(make_matrix(rng, torch.float32), ones=True)
    state = rng.bit_generator.state
    found = multiply(features, product, rng)
    rng.bit_generator.state = state
    expected = multiply(DenseFeatures(features.rows(slice(0, 57))), product, rng)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_threads_work_in_the_mode_of_their_caller(mode, rng, small_blocks, two_threads):
    features = DenseFeatures(make_matrix(rng, torch.float32), ones=True)
    theta = torch.from_numpy(rng.normal(size=(7, 2)))
    dense = features.rows(slice(0, 57))
    with mode():
        found = features.sandwich(lambda part, Z: Z.mul_(2.0), theta)
        Z = features.forward(theta)
    torch.testing.assert_close(found, 2 * dense.T @ dense @ theta)
    torch.testing.assert_close(Z, dense @ theta)
    assert side_by_side(lambda i: torch.get_num_threads(), 2) == [1, 1]


def test_mistakes_in_a_thread_are_raised(two_threads):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda i: 1 // i, 2)


def test_no_copy_is_made_of_a_large_matrix(rng, small_blocks, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, rng.normal(size=(57, 6)).astype(np.float32))
    X = np.load(path, mmap_mode="r")
    features = features_of(MatrixRows(X).take_rows(np.arange(0, 57, 2)), ones=True)
    assert features.matrix.data_ptr() == X.ctypes.data
    assert features.take(torch.arange(5)).matrix.data_ptr() == X.ctypes.data
    dense = torch.from_numpy(np.array(X, dtype=np.float64)[::2])
    torch.testing.assert_close(features.rows(slice(0, 29))[:, :-1], dense, rtol=0, atol=0)


def test_small_matrices_are_held_ready_to_multiply(rng):
    rows = torch.tensor([5, 3, 40])
    for dtype, width in ((torch.float64, 7), (torch.float32, 6)):
        features = DenseFeatures(make_matrix(rng, dtype), rows, ones=True)
        held = features.held()
        assert held.matrix.dtype == dtype
        assert held.matrix.shape == (3, width)
        assert held.held() is held
        every = slice(0, 3)
        torch.testing.assert_close(held.rows(every), features.rows(every), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_with_float32_are_close(dtype, product, device, rng, small_blocks):
    matrix = make_matrix(rng, dtype)
    mean, scale = matrix.double().mean(0), matrix.double().std(0)
    features = DenseFeatures(matrix, mean=mean, scale=scale, ones=True).to(torch.device(device))
    assert features.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    state = rng.bit_generator.state
    expected = multiply(features, product, rng)
    rng.bit_generator.state = state
    found = multiply(features, product, rng, torch.float32)
    assert found.dtype == torch.float32
    assert 0.0 < float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_standard_scaler(weighted, rng, small_blocks):
    X = make_matrix(rng, torch.float64).numpy()
    X[:, 2], X[:, 3] = 7.1, X[:, 3] * 1e-9 + 1e6
    w = rng.uniform(0.0, 2.0, 57) if weighted else None
    scaler = StandardScaler().fit(X, sample_weight=w)
    moments = column_moments(MatrixRows(X), w)
    np.testing.assert_allclose(moments["mean"], scaler.mean_, rtol=1e-13)
    np.testing.assert_allclose(moments["scale"], scaler.scale_, rtol=1e-6)
    np.testing.assert_allclose(moments["scale"][[0, 1, 4, 5]], scaler.scale_[[0, 1, 4, 5]], 1e-13)
    assert moments["scale"][2] == 1.0


@pytest.mark.parametrize("kind", [np.float16, np.float32, "memmap"])
def test_the_pruner_finds_the_same_whatever_holds_the_values(kind, rng, tmp_path):
    X = rng.normal(size=(300, 5)).astype(np.float16 if kind == np.float16 else np.float32)
    y = (X @ rng.normal(size=(5, 3)) + rng.gumbel(size=(300, 3))).argmax(1)
    given = X
    if kind == "memmap":
        np.save(tmp_path / "X.npy", X)
        given = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = head_pruner(keep=0.3, random_state=0).fit(X.astype(np.float64), y)
    found = head_pruner(keep=0.3, random_state=0).fit(given, y)
    np.testing.assert_array_equal(found.sample_indices_, expected.sample_indices_)
    # Scores are as precise as the products of rows that are stored in float32 or less.
    precision = 1e-5 * np.abs(expected.scores_).max()
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=0, atol=precision)
    assert found.transform(given).dtype == X.dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_pruner_finds_the_same_by_blocks(dtype, rng, monkeypatch):
    X = rng.normal(size=(300, 5)).astype(dtype)
    y = (X @ rng.normal(size=(5, 3)) + rng.gumbel(size=(300, 3))).argmax(1)
    expected = head_pruner(keep=0.3, random_state=0).fit(X, y)
    monkeypatch.setattr(module, "HELD_NUMBERS", 0)
    monkeypatch.setattr(module, "BLOCK_BYTES", 800)
    found = head_pruner(keep=0.3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(found.sample_indices_, expected.sample_indices_)
    precision = (1e-5 if dtype == np.float32 else 1e-12) * np.abs(expected.scores_).max()
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=0, atol=precision)


def test_digests_tell_contents_apart_and_not_their_holders(rng):
    X = make_matrix(rng, torch.float64)
    index, mean = torch.arange(3), torch.ones(6, dtype=torch.float64)
    contents = [
        DenseFeatures(X),
        DenseFeatures(X, ones=True),
        DenseFeatures(X, index),
        DenseFeatures(X, index + 1),
        DenseFeatures(X, mean=mean),
        DenseFeatures(X.float()),
        DenseFeatures(X.bfloat16()),
        SparseFeatures(sp.csr_matrix(X.numpy())),
    ]
    assert len({digest(*features.content()) for features in contents}) == len(contents)
    assert digest(X) == digest(X.T.contiguous().T)
    assert digest(X.numpy()) == digest(np.asfortranarray(X.numpy()))


def test_rows_that_do_not_fit_stay_where_they_are(rng, small_blocks, monkeypatch):
    monkeypatch.setattr(module, "_fits", lambda nbytes, device: False)
    matrix = make_matrix(rng, torch.float32)
    theta = torch.from_numpy(rng.normal(size=(7, 2)))
    expected = DenseFeatures(matrix, ones=True).forward(theta)
    with PretendedDevice():
        features = DenseFeatures(matrix, ones=True).to(DEVICE)
        assert features.matrix.device.type == "cpu"
        found = features.forward(theta.to(DEVICE))
        assert found.device == DEVICE
        torch.testing.assert_close(found.cpu(), expected)
