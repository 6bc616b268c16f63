"""What a total penalty asks of the labels of few rows, and where that is too dear.

The penalty of ``LogisticRegression(C)`` stays whole when rows go. For the optimum on m of n rows to
be that on all of them, the kept gradients must add up to all of the pull alpha P^2 theta, while
those of a random draw add up to a share m / n of it. What is missing is bought with labels of
another mix. Along an eigenvector of the data's Hessian of value d, with r = (n / m) alpha / d the
weight of the penalty beside what m rows know,

    the head gains about  1/2 (d / n) theta^2 (r / (1 + r))^2   nats a row,
    and the labels tilt   1/2 (d / n) theta^2 r^2               nats a row (a divergence).

A direction that is well known costs little; one that is hardly known gains little, whatever it
costs. Of date parts beside the seconds since 1970 a head gains nothing, and of months that are late
as often as each other 12, 1 and 70 % are late among a tenth of the rows, which misleads every other
model. Hence the share 1 / (1 + PRICE r^2) of what is missing is bought, which for large r makes the
lost gain and PRICE times the tilt least together. The rest of the pull is shared out among the
rows, as a penalty per row is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.curvature import Curvature

#: Nats of gap that a nat of tilt must save: half is bought where r = 58. At 3, 10 and 20 % of
#: made-up flights with dates beside seconds the late shares of 12 months lie chi^2 = 25 to 240 off
#: without a price, 5 to 10 with it, which is chance. At 10 and 20 % the head's own gap stays the
#: same on letter, magic, adult and synthetic classes, and within its standard error on digits,
#: breast cancer, diabetes and words; from 1e-2 on it grows by 0.02 on unscaled breast cancer.
PRICE = 3e-4
#: Dimension of the Krylov space in which the pull is resolved: both ends of a spectrum come first.
KRYLOV = 32
#: A part of a vector below this share of it is rounding.
ROUNDING = 1e-10


@dataclass(frozen=True)
class PullSpectrum:
    """The pull of a total penalty, by how much of the curvature is the penalty's.

    Attributes
    ----------
    basis : Tensor of shape (p, k)
        Orthonormal whitened directions.
    shares : Tensor of shape (k,)
        beta = alpha / (d + alpha) of every direction, from 0 (the data's) to 1 (the penalty's, and
        more where the curvature is approximate).
    parts : Tensor of shape (k,)
        The whitened pull in that basis.
    """

    basis: Tensor
    shares: Tensor
    parts: Tensor

    def too_dear(self, fraction: float, total: float) -> Tensor | None:
        """The vector u whose pull B u is not to be bought when that fraction of the rows is kept.

        None if less tilt would be saved than chance gives every draw along one direction; it adds
        up over all rows, whose weights sum to ``total``.
        """
        known = (1.0 - self.shares).clamp_min(torch.finfo(self.shares.dtype).eps)
        scale = 1.0 / (fraction * known)
        ratio = scale * self.shares  # r
        along = PRICE * scale * ratio / (1.0 + PRICE * ratio.square()) * self.parts
        saved = float(((self.shares * along).square() / known).sum()) / (fraction * total)
        return self.basis @ along if saved > 1.0 else None


def pull_spectrum(curvature: Curvature, pull: Tensor, mask: Tensor) -> PullSpectrum:
    """Resolve ``pull`` (p,) by the share of the penalty, lam P^2, in the curvature L L'.

    By Rayleigh and Ritz in the Krylov space of B = L^-1 diag(lam P^2) L^-T and the whitened pull;
    ``mask`` (p,) is the diagonal of P^2.
    """
    ridge = curvature.penalty * mask
    whitened = rest = curvature.whiten(pull)
    basis = images = whitened.new_zeros(curvature.dim, 0)
    negligible = ROUNDING * float(whitened.norm())
    while basis.shape[1] < min(KRYLOV, curvature.dim) and float(rest.norm()) > negligible:
        vector = rest / rest.norm()
        rest = curvature.whiten(ridge * curvature.unwhiten(vector))
        basis, images = (
            torch.cat([M, v[:, None]], 1) for M, v in ((basis, vector), (images, rest))
        )
        for _ in range(2):  # the second time for what rounding left
            rest = rest - basis @ (basis.T @ rest)
        negligible = ROUNDING
    products = basis.T @ images
    shares, rotation = torch.linalg.eigh((products + products.T) / 2)
    basis = basis @ rotation
    return PullSpectrum(basis, shares, basis.T @ whitened)
