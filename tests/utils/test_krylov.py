"""Conjugate gradients on many systems side by side, against dense solves."""

from __future__ import annotations

import pytest
import torch

from skprune.utils.krylov import conjugate_gradients

B, P = 5, 12


@pytest.fixture
def systems(rng):
    """B positive definite matrices (B, p, p), and right-hand sides (B, p), one of them zero."""
    roots = torch.from_numpy(rng.normal(size=(B, P, P)))
    V = torch.from_numpy(rng.normal(size=(B, P)))
    V[3] = 0.0
    return roots @ roots.mT + 0.1 * torch.eye(P, dtype=torch.float64), V


def times(A):
    return lambda X: (A @ X[:, :, None])[:, :, 0]


def by_diagonal(A):
    return lambda X: X / A.diagonal(dim1=1, dim2=2)


@pytest.mark.parametrize("precondition", [lambda A: lambda X: X, by_diagonal])
def test_every_system_is_solved_to_its_own_tolerance(precondition, systems):
    A, V = systems
    X, left = conjugate_gradients(times(A), V, precondition(A), rtol=1e-12)
    torch.testing.assert_close(X, torch.linalg.solve(A, V), rtol=1e-8, atol=1e-8)
    assert float(left.max()) <= 1e-12
    rtol = torch.logspace(-1, -5, B)
    X, left = conjugate_gradients(times(A), V, precondition(A), rtol=rtol)
    own = (times(A)(X) - V).norm(dim=1) / V.norm(dim=1).clamp_min(1e-300)
    torch.testing.assert_close(left, own, rtol=1e-4, atol=1e-12)
    assert bool((own <= rtol).all())
    # As alone: nobody's convergence is averaged with that of the others, nor goes on for them.
    for i in range(B):
        parts = times(A[i : i + 1]), V[i : i + 1], precondition(A[i : i + 1])
        alone, _ = conjugate_gradients(*parts, rtol=rtol[i])
        torch.testing.assert_close(alone[0], X[i], rtol=1e-9, atol=1e-12)


def test_what_is_left_is_told(systems):
    A, V = systems
    X, left = conjugate_gradients(times(A), V, lambda X: X, rtol=0.0, max_iter=1)
    torch.testing.assert_close(left[:3], (times(A)(X) - V)[:3].norm(dim=1) / V[:3].norm(dim=1))
    assert float(left[:3].min()) > 0.01
    assert float(left[3]) == float(X[3].norm()) == 0.0
    A[1, 2, 2] = float("nan")
    X, left = conjugate_gradients(times(A), V, lambda X: X, rtol=1e-10)
    assert torch.isnan(left).tolist() == [False, True, False, False, False]
    keep = [0, 2, 3, 4]
    torch.testing.assert_close(X[keep], torch.linalg.solve(A[keep], V[keep]))


def test_flat_directions_are_left_alone(rng):
    roots = torch.from_numpy(rng.normal(size=(B, P, 3)))
    A = roots @ roots.mT
    V = times(A)(torch.from_numpy(rng.normal(size=(B, P))))
    X, _ = conjugate_gradients(times(A), V, lambda X: X, rtol=1e-10)
    torch.testing.assert_close(X, times(torch.linalg.pinv(A))(V), rtol=1e-6, atol=1e-8)
    X, left = conjugate_gradients(times(-A), V, lambda X: X, rtol=1e-10)  # no minimum at all
    assert float(X.abs().max()) == 0.0
    torch.testing.assert_close(left, torch.ones(B, dtype=torch.float64))
