"""Losses against torch's own losses and autograd."""

from __future__ import annotations

import pytest
import torch
from conftest import reference_loss

from skprune.losses.head import Sigmoid, Softmax, Squared

LOSSES = [Softmax(), Sigmoid(), Squared()]
CASES = [(loss, K) for loss in LOSSES for K in (1, 2, 5)]


def make_rows(loss, K, n=7, scale=3.0):
    generator = torch.Generator().manual_seed(K)
    Z = scale * torch.randn(n, K, generator=generator, dtype=torch.float64)
    if isinstance(loss, Softmax):
        Y = torch.eye(K, dtype=torch.float64)[torch.randint(K, (n,), generator=generator)]
    elif isinstance(loss, Sigmoid):
        Y = torch.randint(2, (n, K), generator=generator).double()
    else:
        Y = torch.randn(n, K, generator=generator, dtype=torch.float64)
    return Z, Y


def row_hessian(loss, z, y):
    name = type(loss).__name__
    return torch.autograd.functional.hessian(lambda t: reference_loss(name, t, y), z)


@pytest.fixture(params=CASES, ids=lambda case: f"{type(case[0]).__name__}-{case[1]}")
def case(request):
    loss, K = request.param
    return loss, K, *make_rows(loss, K)


def test_value_and_residual(case):
    loss, _, Z, Y = case
    name = type(loss).__name__
    expected = torch.stack([reference_loss(name, z, y) for z, y in zip(Z, Y, strict=True)])
    torch.testing.assert_close(loss.value(Z, Y), expected, rtol=1e-12, atol=1e-12)
    leaf = Z.clone().requires_grad_()
    total = sum(reference_loss(name, z, y) for z, y in zip(leaf, Y, strict=True))
    gradient = torch.autograd.grad(total, leaf)[0]
    torch.testing.assert_close(loss.residual(Z, Y), gradient, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss.mean(Z) - Y, gradient, rtol=1e-12, atol=1e-12)


def test_hessian_entry_product_and_along(case):
    loss, K, Z, Y = case
    P = loss.mean(Z)
    H = torch.stack([row_hessian(loss, z, y) for z, y in zip(Z, Y, strict=True)])
    entries = torch.zeros_like(H)
    for k in range(K):
        for m in range(K):
            entry = loss.hessian_entry(P, k, m)
            if entry is None:
                assert float(H[:, k, m].abs().max()) < 1e-14
            else:
                entries[:, k, m] = entry
    torch.testing.assert_close(entries, H, rtol=1e-11, atol=1e-13)

    generator = torch.Generator().manual_seed(9)
    V = torch.randn(Z.shape, generator=generator, dtype=torch.float64)
    product = torch.einsum("nkm,nm->nk", H, V)
    given = V.clone()
    torch.testing.assert_close(loss.hessian_product(P, V), product, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(V, given, rtol=0, atol=0)  # the argument is not written to

    directions = torch.randn(K, 3, generator=generator, dtype=torch.float64)
    along = torch.einsum("kc,nkm,mc->nc", directions, H, directions)
    torch.testing.assert_close(loss.hessian_along(P, directions), along, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES[:2], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("size", [40.0, 800.0])
def test_extreme_outputs_stay_finite_and_right(loss, K, size):
    # One output at +-size, the others at 0; in these cases the loss is known to rounding.
    Z = torch.zeros(2, K, dtype=torch.float64)
    Z[0, 0], Z[1, 0] = size, -size
    Y = torch.zeros(2, K, dtype=torch.float64)
    Y[:, 0] = 1.0
    value, residual, P = loss.value(Z, Y), loss.residual(Z, Y), loss.mean(Z)
    log2 = float(torch.log(torch.tensor(2.0, dtype=torch.float64)))
    if isinstance(loss, Softmax):
        expected = [0.0, 0.0] if K == 1 else [0.0, size + log2]
        wrong = 0.0 if K == 1 else -1.0
    else:
        expected = [(K - 1) * log2, size + (K - 1) * log2]
        wrong = -1.0
    torch.testing.assert_close(
        value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        residual[:, 0], torch.tensor([0.0, wrong], dtype=torch.float64), atol=1e-12, rtol=0
    )
    directions = torch.eye(K, dtype=torch.float64)
    for numbers in (
        P,
        loss.hessian_product(P, torch.ones_like(P)),
        loss.hessian_along(P, directions),
    ):
        assert bool(torch.isfinite(numbers).all())
    assert bool((loss.hessian_along(P, directions) >= 0).all())


def test_the_two_class_losses_agree():
    # A softmax over (0, z) is the sigmoid of z.
    z = torch.linspace(-30, 30, 41, dtype=torch.float64)[:, None]
    y = (torch.arange(41) % 2).double()[:, None]
    two = torch.cat([torch.zeros_like(z), z], 1)
    one_hot = torch.cat([1 - y, y], 1)
    torch.testing.assert_close(
        Softmax().value(two, one_hot), Sigmoid().value(z, y), rtol=1e-12, atol=1e-14
    )
