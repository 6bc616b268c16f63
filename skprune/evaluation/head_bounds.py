"""Where a head's optimum on some rows is, surely.

Between theta and theta + v the Hessian of row i changes by a factor of at most exp(rho_i(v)), where
rho_i(v) is by how much the row's outputs part: the range of phi_i'v_k over the classes k of a
softmax, the largest |phi_i'v_k| for labels that stand alone, 0 for squared errors. With H the
Hessian of F_K at theta and r the largest rho_i(v) that a kept row has at |v|_H = 1, every step of
the length d is uphill at least by d (1 - exp(-r d)) / r. The slope at theta is nu d at most, with
nu = |grad F_K|_{H^-1} the Newton decrement. So if r nu < 1, the optimum exists, and [1]_

    |theta_K - theta|_H <= -log(1 - r nu) / r.

This holds at any theta. It is taken where a Newton step or a few from the optimum of all rows end:
after one nu is of second order, and zero for squared errors. What follows for any row is a matter
of |phi|_{H^-1}, and holds for all rows at once, because nothing in it is random.

References
----------
.. [1] Bach, "Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4,
   2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import HeadGradients
from skprune.curvature.head import DENSE_PARAMETERS, hessian_matrix
from skprune.evaluation.head_levels import Predicted
from skprune.heads.features import Features
from skprune.heads.problem import HeadProblem
from skprune.results.bounds import PredictionBounds
from skprune.subset import Selection

#: A column is taken for a sum of others if so little of its curvature is its own.
OWN_CURVATURE = 1e-11
#: Newton steps at most, and the radius, as a share of the first decrement, that needs no more.
STEPS, SMALL = 3, 0.01


@dataclass(frozen=True)
class Ball:
    """All theta with |theta - centre|_H <= radius, of which one is the optimum.

    Attributes
    ----------
    centre : Tensor of shape (D, K)
    inverse : Tensor of shape (p, p)
        Of H, the Hessian at the centre.
    radius : float
        Infinite if the condition does not hold.
    condition : float
        r nu, which has to be less than 1.
    decrement : float
        nu.
    step : Tensor of shape (D, K)
        From the centre, the Newton step.
    """

    centre: Tensor
    inverse: Tensor
    radius: float
    condition: float
    decrement: float
    step: Tensor


def around(problem: HeadProblem, theta: Tensor) -> Ball | None:
    """Where the optimum of ``problem`` is, as told at ``theta``; None if its Hessian is singular.

    Parameters
    ----------
    problem : HeadProblem
        The kept rows.
    theta : Tensor of shape (D, K)
        Any point.
    """
    loss, Z = problem.loss, problem.features.forward(theta)
    H = hessian_matrix(HeadGradients(problem, Z)).mul_(problem.total)
    if loss.exclusive:  # the common shift of all classes, which nothing feels
        D, K = problem.theta_shape
        shift = H.diagonal().reshape(D, K).mean(1)
        H += torch.kron(torch.diag(shift), torch.full((K, K), 1.0 / K).to(H))
    scale = H.diagonal().clamp_min(torch.finfo(H.dtype).tiny).rsqrt()
    root, failed = torch.linalg.cholesky_ex(scale[:, None] * H * scale)
    if failed or float(root.diagonal().min()) ** 2 < OWN_CURVATURE:
        return None
    inverse = scale[:, None] * torch.cholesky_inverse(root) * scale
    gradient = problem.gradient(theta, Z).reshape(-1)
    step = -inverse @ gradient
    decrement = math.sqrt(max(0.0, -float(step @ gradient)))
    r = 0.0
    if not loss.quadratic:
        counted = problem.features.take(torch.nonzero(problem.weights)[:, 0])
        r = math.sqrt(float(parting(output_gram(counted, inverse), loss.exclusive).max()))
    condition, radius = r * decrement, math.inf
    if condition < 1:
        radius = -math.log1p(-condition) / r if condition > 0 else decrement
    return Ball(theta, inverse, radius, condition, decrement, step.reshape(theta.shape))


def output_gram(features: Features, inverse: Tensor) -> Tensor:
    """<phi e_k, phi e_l> in the metric of H^-1 for every row, shape (n, K, K)."""
    D = features.shape[1]
    K = len(inverse) // D
    grams, flat = inverse.new_empty(len(features), K, K), inverse.reshape(D, K * D * K)
    for part in features.chunks(D * K * K):
        rows = features.rows(part)
        half = (rows @ flat).reshape(len(rows), K, D, K)
        grams[part] = torch.einsum("bkdl,bd->bkl", half, rows)
    return grams


def parting(gram: Tensor, exclusive: bool) -> Tensor:
    """Squared lengths of what makes outputs part, (n, K, K) of pairs or (n, K) of single ones."""
    own = gram.diagonal(dim1=1, dim2=2)
    return own[:, :, None] + own[:, None, :] - 2 * gram if exclusive else own


def parted(Z: Tensor, exclusive: bool) -> float:
    """The largest rho of rows whose outputs change by ``Z`` (n, K)."""
    return float((Z.amax(1) - Z.amin(1)).max() if exclusive else Z.abs().max())


@dataclass(frozen=True)
class Movement:
    """What is sure of the optimum on kept rows, beside that on all rows.

    Parameters
    ----------
    kept : HeadProblem
    theta : Tensor of shape (D, K)
        The optimum on all rows.
    start, ball : Ball
        What is told at ``theta``, and after the last Newton step.
    """

    kept: HeadProblem
    theta: Tensor
    start: Ball
    ball: Ball

    @property
    def distance(self) -> tuple[float, float]:
        """Bounds of |theta_K - theta|_H, with the Hessian of the kept rows at ``theta``."""
        if not math.isfinite(self.ball.radius):
            return 0.0, self.start.radius
        step, features = self.ball.centre - self.theta, self.kept.features
        Hv = self.kept.hessian(features.forward(self.theta))(step.reshape(1, -1))
        moved = math.sqrt(max(0.0, float(Hv[0] @ step.reshape(-1))))
        # At the centre the Hessian is another one, by so much at most.
        loss = self.kept.loss
        rho = 0.0 if loss.quadratic else parted(features.forward(step), loss.exclusive)
        slack = _exp(rho / 2) * self.ball.radius
        return max(0.0, moved - slack), min(moved + slack, self.start.radius)

    def outputs(self, features: Features) -> tuple[Tensor, Tensor]:
        """Bounds of the outputs of any rows, (n, K) each; of classes less their mean."""
        exclusive = self.kept.loss.exclusive
        Z, gram = features.forward(self.ball.centre), output_gram(features, self.ball.inverse)
        Z = centred(Z, exclusive)
        if exclusive:
            means = gram.mean(2)
            spread = gram.diagonal(dim1=1, dim2=2) - 2 * means + means.mean(1, keepdim=True)
        else:
            spread = gram.diagonal(dim1=1, dim2=2)
        half = self.ball.radius * spread.clamp_min(0.0).sqrt()
        return Z - half, Z + half

    def loss_gap(self, rows: HeadProblem) -> tuple[float, float]:
        """Bounds of the mean loss of any rows at the optimum, less that at ``theta``.

        The mean loss L of the rows is convex and as self-concordant as F_K: with its gradient G and
        Hessian M at the centre, d the radius, and rho the largest of the rows for it, L lies
        between L(centre) - d |G| and L(centre) + d |G| + d^2 tr(H^-1 M) e^rho / 2.
        """
        ball, loss = self.ball, rows.loss
        if not math.isfinite(ball.radius):
            return -math.inf, math.inf
        weights = rows.weights / rows.weights.sum()
        Z, before = (rows.features.forward(theta) for theta in (ball.centre, self.theta))
        values, old = (loss.value(outputs, rows.targets) for outputs in (Z, before))
        gap = float(weights @ (values - old))
        E = loss.residual(Z, rows.targets) * weights[:, None]
        G = rows.features.adjoint(E).reshape(-1)
        slope = ball.radius * math.sqrt(max(0.0, float(G @ ball.inverse @ G)))
        gram, P = output_gram(rows.features, ball.inverse), loss.mean(Z)
        d = loss.variance(P)
        trace = (d * gram.diagonal(dim1=1, dim2=2)).sum(1)
        rho = 0.0
        if loss.exclusive:
            trace = trace - torch.einsum("nk,nkl,nl->n", d, gram, d)
        if not loss.quadratic:
            rho = ball.radius * math.sqrt(float(parting(gram, loss.exclusive).max()))
        bend = ball.radius**2 * float(weights @ trace) * _exp(rho) / 2
        return gap - slope, gap + slope + bend


def centred(Z: Tensor, exclusive: bool) -> Tensor:
    """Outputs without what nothing depends on."""
    return Z - Z.mean(1, keepdim=True) if exclusive else Z


def _exp(x: float) -> float:
    """Infinite where a row is so large that nothing is sure of it."""
    return math.exp(x) if x < 700 else math.inf


def movement(kept: HeadProblem, theta: Tensor) -> Movement | None:
    """What is sure of the optimum on the rows of ``kept``; None if they do not determine one.

    Parameters
    ----------
    kept : HeadProblem
    theta : Tensor of shape (D, K)
        The optimum on all rows.
    """
    start = ball = around(kept, theta)
    for _ in range(STEPS):
        if start is None or ball is None or ball.radius <= SMALL * start.decrement:
            break
        ball = around(kept, ball.centre + ball.step)
    return None if start is None or ball is None else Movement(kept, theta, start, ball)


def head_bounds(
    predicted: Predicted, kept: Selection, target_scale: float, *, labelled: bool
) -> PredictionBounds:
    """What is sure of the head on kept rows, on the held-out rows of ``predicted``, in words too.

    Parameters
    ----------
    predicted : Predicted
        Knows all rows, their optimum, and the rows in question.
    kept : Selection
    target_scale : float
        From outputs of the head to those of the model.
    labelled : bool
        Whether the rows in question have targets.
    """
    theta, rows = predicted.theta, predicted.held_out.problem
    full = centred(rows.features.forward(theta), rows.loss.exclusive)
    known = theta.numel() <= DENSE_PARAMETERS
    found = movement(predicted.kept(kept), theta) if known else None
    low, high = torch.full_like(full, -math.inf), torch.full_like(full, math.inf)
    gap, distance, condition = (-math.inf, math.inf), (0.0, math.inf), math.inf
    if found is not None:
        distance, condition = found.distance, found.ball.condition
    if found is not None and condition < 1:
        low, high = found.outputs(rows.features)
        least, most = found.loss_gap(rows)
        gap = (predicted.held_out.unit * least, predicted.held_out.unit * most)
        away = target_scale * float(torch.maximum(high - full, full - low).max())
        said = (
            f"sure, with a condition of {condition:.2g} (less than 1): on these {len(full):,} rows "
            f"no output of the head on the {len(kept.indices):,} kept rows is more than {away:.2g} "
            "away from that of the head on all rows"
        )
        if labelled:
            said += f", and its mean loss is {gap[0]:+.2g} to {gap[1]:+.2g} larger"
    else:
        said = (
            f"nothing is sure of the head on the {len(kept.indices):,} kept rows: "
            f"{_why_not(theta.numel(), found)}"
        )

    def shaped(Z: Tensor) -> NDArray[np.float64]:
        outputs: NDArray[np.float64] = target_scale * Z.cpu().numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    return PredictionBounds(
        shaped(full),
        shaped(low),
        shaped(high),
        gap if labelled else None,
        distance,
        condition,
        condition < 1,
        said,
    )


def _why_not(p: int, found: Movement | None) -> str:
    """Why there are no bounds, and what to do."""
    if p > DENSE_PARAMETERS:
        return (
            f"it has {p:,} parameters, and its matrix of second derivatives is made for up to "
            f"{DENSE_PARAMETERS:,}. Reduce the columns, for example by PCA"
        )
    if found is None:
        return (
            "they do not determine it, for their Hessian is singular. Give the model a ridge "
            "penalty, drop columns that are sums of others, or keep more rows"
        )
    return (
        f"the condition is {found.ball.condition:.2g} and has to be less than 1. They move the "
        "head further than its curvature is known; keep more rows, raise the penalty, or measure "
        "the gap with verify='refit'"
    )
