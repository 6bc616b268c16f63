"""Losses against torch's own losses and autograd."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
import torch
from cases.heads import reference_loss
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from skprune import InfluencePruner, TorchProxy
from skprune.losses.base import Loss
from skprune.losses.binary import BinaryCrossEntropy
from skprune.losses.cross_entropy import CrossEntropy
from skprune.losses.custom import Custom
from skprune.losses.read import LOSSES, loss_class, read_loss
from skprune.losses.squared import SquaredError

CASES = [(kind(), K) for kind in LOSSES for K in (1, 2, 5)]
#: What torch's losses may be given; "weight" is of classes or outputs.
OPTIONS = {
    "weight": torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64),
    "pos_weight": torch.tensor([3.0, 0.5, 1.0], dtype=torch.float64),
    "label_smoothing": 0.1,
}
#: What modules end in whose outputs torch's losses take, where these are no logits.
LAST = {nn.NLLLoss: ("log_softmax", nn.LogSoftmax(1)), nn.BCELoss: ("sigmoid", nn.Sigmoid())}


def torch_cases():
    """Every torch loss of every registered one, without options, with each, and with all."""
    for module in (m for kind in LOSSES for m in kind.torch_losses):
        known = [name for name in OPTIONS if name in signature(module).parameters]
        for names in dict.fromkeys([(), *((name,) for name in known), tuple(known)]):
            label = "-".join((module.__name__, *names))
            yield pytest.param(module, {name: OPTIONS[name] for name in names}, id=label)


def make_rows(loss, K, n=7, scale=3.0):
    generator = torch.Generator().manual_seed(K)
    Z = scale * torch.randn(n, K, generator=generator, dtype=torch.float64)
    if loss.exclusive:
        Y = torch.eye(K, dtype=torch.float64)[torch.randint(K, (n,), generator=generator)]
    elif loss.predicts_classes:
        Y = torch.randint(2, (n, K), generator=generator).double()
    else:
        Y = torch.randn(n, K, generator=generator, dtype=torch.float64)
    return Z, Y


def second_derivatives(value, Z):
    """(b, K, K) by autograd of ``value(Z)``, whose rows are independent."""
    H = torch.autograd.functional.hessian(lambda z: value(z).sum(), Z)
    return torch.diagonal(H, dim1=0, dim2=2).permute(2, 0, 1)


def is_hessian(found, H):
    """Check product, root and random cotangents of an ``OutputHessian``."""
    S, generator = found.columns(), torch.Generator().manual_seed(0)  # S (K, b, K)
    torch.testing.assert_close(torch.einsum("rbk,rbm->bkm", S, S), H)
    V = torch.randn(2, *H.shape[:2], generator=generator, dtype=torch.float64)
    torch.testing.assert_close(found.product(V), torch.einsum("bkm,vbm->vbk", H, V))
    drawn = found.sample(20_000, generator)
    drawn = torch.einsum("rbk,rbm->bkm", drawn, drawn)
    torch.testing.assert_close(drawn, H, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("module", "options"), list(torch_cases()))
def test_every_registered_loss_keeps_the_contract(module, options):
    activation, last = LAST.get(module, ("identity", nn.Identity()))
    Z, Y = make_rows(loss_class(module), 3, scale=1.0)
    y = Y.argmax(1).numpy() if loss_class(module).exclusive else Y.numpy()
    loss = read_loss(module(**options), activation, y, 3)
    targets = loss.encode(y, 3)

    def truth(Z, reduction="none"):
        values = module(**options, reduction=reduction)(last(Z), targets)
        return values.mean(1) if values.ndim == 2 else values

    torch.testing.assert_close(loss.value(Z, targets), truth(Z))
    leaf = Z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(truth(leaf).sum(), leaf)
    torch.testing.assert_close(loss.residual(Z, targets), gradient)
    is_hessian(loss.hessian(Z, targets), second_derivatives(truth, Z))
    in_mean = loss.in_mean(y, np.ones(len(y)), 3)
    torch.testing.assert_close(loss.value(Z, targets).mean() / in_mean, truth(Z, "mean"))
    if loss.exclusive:  # distributions as well
        torch.testing.assert_close(loss.value(Z, Y), truth(Z))
        torch.testing.assert_close(loss.residual(Z, Y), gradient)

    # Of a head, which has targets and weights instead of options.
    head, (T, factor) = type(loss)(), loss.soften(targets, 3, torch.float64)
    torch.testing.assert_close(
        loss.scale * factor * (head.mean(Z) - T), gradient, rtol=1e-9, atol=1e-12
    )
    if factor.shape[1] == 1:
        torch.testing.assert_close(loss.scale * factor[:, 0] * head.value(Z, T), truth(Z))
    torch.testing.assert_close(head.mean(head.link(head.mean(Z))), head.mean(Z))

    # What goes in, and in what unit it is reported.
    torch.testing.assert_close(loss.mean(loss.logits(last(Z))), loss.mean(Z))
    torch.testing.assert_close(targets.double(), torch.from_numpy(y).double())
    with pytest.raises(ValueError, match=r"has 3 outputs|the model 3 output"):
        loss.encode(y + 3 if targets.ndim == 1 else np.hstack([y, y]), 3)
    w = np.random.default_rng(0).uniform(0.2, 2.0, len(y))
    reported = loss.unit(targets, torch.from_numpy(w)) * loss.value(Z, targets).numpy()
    if loss.predicts_classes:
        np.testing.assert_allclose(reported, truth(Z))
        assert loss.classes(3).tolist() == [0, 1, 2]
    else:
        variance = np.diag(np.cov(y.T, aweights=w, ddof=0)).sum()
        np.testing.assert_allclose(reported, ((Z.numpy() - y) ** 2).sum(1) / variance)
        assert loss.classes(3) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda z, y: torch.log1p(torch.exp(z - y)).pow(2).sum(1),
        lambda z, y: functional.softplus(z - y),
        lambda z, y: (z - y).sum(1),
    ],
    ids=["full", "diagonal", "linear"],
)
def test_custom_losses_are_differentiated(function):
    Z, Y = make_rows(SquaredError(), 3, scale=1.0)
    loss = Custom(function)
    H = second_derivatives(lambda z: loss.value(z, Y), Z)
    is_hessian(loss.hessian(Z, Y), H)


def test_a_loss_that_is_not_convex_has_its_negative_part_left_out():
    Z = torch.zeros(2, 2, dtype=torch.float64)
    loss = Custom(lambda z, y: z[:, 0] ** 2 - 3.0 * z[:, 1] ** 2)
    expected = torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64)).expand(2, 2, 2)
    is_hessian(loss.hessian(Z, Z), expected)


class Huber(Loss):
    def value(self, Z, targets):
        return functional.huber_loss(Z, targets, reduction="none").sum(1)


class Poisson(Loss):
    def value(self, Z, targets):
        return (Z.exp() - targets * Z).sum(1)

    def mean(self, Z):
        return Z.exp()


@pytest.mark.parametrize("loss", [Huber(), Poisson()], ids=lambda loss: type(loss).__name__)
def test_a_new_loss_is_a_class_with_a_value(loss):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(200, 4))).float()
    y = torch.from_numpy(rng.poisson(2.0, 200))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

    def pruned(given, y):
        proxy = TorchProxy(net, loss=given, layers="all", weight_decay=0.1)
        return InfluencePruner(model=proxy, keep=0.5, random_state=0).fit(TensorDataset(X, y))

    found = pruned(loss, y)
    assert len(found.sample_indices_) == 100
    # The same as a function, of which nothing is known.
    other = pruned(lambda Z, targets: loss.value(Z, targets), y[:, None].float())
    np.testing.assert_array_equal(found.sample_indices_, other.sample_indices_)
    np.testing.assert_allclose(found.scores_, other.scores_)
    assert float(found.gap_) == pytest.approx(float(other.gap_))
    Z, targets = net(X).detach().double()[:7], loss.encode(y.numpy()[:7], 1)
    is_hessian(loss.hessian(Z, targets), second_derivatives(lambda z: loss.value(z, targets), Z))


def row_hessian(loss, z, y):
    name = type(loss).__name__
    return torch.autograd.functional.hessian(lambda t: reference_loss(name, t, y), z)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{case[1]}")
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


@pytest.mark.parametrize(
    "loss", [kind() for kind in LOSSES if kind.predicts_classes], ids=lambda loss: loss.name
)
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
    if loss.exclusive:
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
        CrossEntropy().value(two, one_hot), BinaryCrossEntropy().value(z, y), rtol=1e-12, atol=1e-14
    )
