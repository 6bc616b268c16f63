"""How far a total penalty may change the mix of labels among few kept rows.

The penalty of ``LogisticRegression(C)`` does not shrink with the number of rows. To have the same
optimum on m of n rows as on all, the gradients of the kept rows must add up to the whole pull
alpha P^2 theta of the penalty, while those of a random draw add up to a share m / n of it. The
difference is only reached by keeping labels in other proportions. Along an eigenvector of the
data's Hessian with eigenvalue d, and with r = (n / m) alpha / d, the ratio of the penalty to the
information in m rows,

    the head gains about  1/2 (d / n) theta^2 (r / (1 + r))^2   nats a row,
    and the labels tilt   1/2 (d / n) theta^2 r^2               nats a row (a divergence).

In a direction with much data the tilt is small; in one with little data the gain is small, however
large the tilt. For example, if parts of dates are columns beside the seconds since 1970, a head
gains nothing, but the shares of late flights in three months that are equal in the data become 12,
1 and 70 % among a tenth of the rows, which misleads every other model. So only the share
1 / (1 + PRICE r^2) of the difference is reached, which for large r minimises the sum of the lost
gain and PRICE times the tilt. The rest of the pull is shared among the rows, as with a penalty per
row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.curvature import Curvature

#: Nats of gap that a nat of tilt must save; half the difference is reached where r = 58. With 3, 10
#: and 20 % of simulated flights with dates beside seconds, the late shares of 12 months deviate by
#: chi^2 = 25 to 240 without a price, and by 5 to 10 with it, which is chance. At 10 and 20 % the
#: head's own gap stays the same on letter, magic, adult and synthetic classes, and within its
#: standard error on digits, breast cancer, diabetes and words; at prices from 1e-2 on it grows by
#: 0.02 on unscaled breast cancer.
PRICE = 3e-4
#: Dimension of the Krylov space in which the pull is resolved; it finds both ends of a spectrum.
KRYLOV = 32
#: A part of a vector below this share of it is rounding.
ROUNDING = 1e-10


@dataclass(frozen=True)
class PullSpectrum:
    """The pull of a total penalty, resolved by the penalty's share of the curvature.

    Attributes
    ----------
    basis : Tensor of shape (p, k)
        Orthonormal whitened directions.
    shares : Tensor of shape (k,)
        beta = alpha / (d + alpha) of every direction, from 0 (all curvature is the data's) to 1
        (all is the penalty's; more is possible if the curvature is approximate).
    parts : Tensor of shape (k,)
        The whitened pull in that basis.
    """

    basis: Tensor
    shares: Tensor
    parts: Tensor

    def too_dear(self, fraction: float, total: float) -> Tensor | None:
        """The vector u whose pull B u is left out when that fraction of the rows is kept.

        It is None if that would save less tilt than any random draw has along one direction. Tilt
        adds up over all rows, whose weights sum to ``total``.
        """
        known = (1.0 - self.shares).clamp_min(torch.finfo(self.shares.dtype).eps)
        scale = 1.0 / (fraction * known)
        ratio = scale * self.shares  # r
        along = PRICE * scale * ratio / (1.0 + PRICE * ratio.square()) * self.parts
        saved = float(((self.shares * along).square() / known).sum()) / (fraction * total)
        return self.basis @ along if saved > 1.0 else None


def pull_spectrum(curvature: Curvature, pull: Tensor, mask: Tensor) -> PullSpectrum:
    """Resolve ``pull`` (p,) by the share of the penalty, lam P^2, in the curvature L L'.

    This uses the Rayleigh-Ritz method in the Krylov space of B = L^-1 diag(lam P^2) L^-T and the
    whitened pull; ``mask`` (p,) is the diagonal of P^2.
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
