"""Heavy tails: where a few rows far from all others make a gap, and its standard error is none.

The loss of a row that lies far out grows with its output. Where the odds to be t times as far out
fall like t^-a with a below 2, losses have no variance that a sample could tell: the rows that make
the true gap are mostly not among those that were held out. How far the farthest of n rows is tells
a: it is about as many times as far out as the row of rank n / 4 as (n / 4)^(1 / a). The labels have
no part in this, so that rare classes, of which few rows make every gap, raise no alarm.
"""

from __future__ import annotations

import math

from torch import Tensor

#: Rank among the farthest rows with which the farthest is compared, as a share: the median would
#: not do where more than half of the rows are nearly the same.
RANK = 0.25
#: Fewest rows that tell.
FEWEST = 50
#: Tail index below which the standard error is doubted. Shares of draws below it, 400 of each:
#:
#: =========  =====  =====  =======
#: held out     120    300    1,200
#: =========  =====  =====  =======
#: Cauchy      0.86   0.88     0.93
#: t(2)        0.09   0.04     0.01
#: lognormal   0.02   0.00     0.00
#: =========  =====  =====  =======
#:
#: None of 24 fits each on normal, lognormal, t(2) and t(3) columns, with balanced and with 1:100
#: classes, and all of those on Cauchy columns. Of 20 splits of tables, none of digits, breast
#: cancer, adult, letter, magic, california, house, bank, fars, kddcup and sleep; of cpu_act and
#: shuttle two where 120 rows are held out, none where 1,200 are.
HEAVY = 1.2


def tail_index(outputs: Tensor) -> float:
    """Tail index of outputs (n, K), by their distances from the median.

    Infinite where there are too few rows to tell.
    """
    n = len(outputs)
    distances = (outputs - outputs.median(0).values).norm(dim=1)
    rank = round(RANK * n)
    if n < FEWEST:
        return math.inf
    near, far = float(distances.topk(rank).values[-1]), float(distances.max())
    return math.log(rank) / math.log(far / near) if far > near > 0 else math.inf


def heavy_tails(outputs: Tensor) -> tuple[str, ...]:
    """Why the standard error of a mean loss may not be believed; nothing if it may.

    Parameters
    ----------
    outputs : Tensor of shape (n, K)
        Of the model of all rows on the held-out rows.
    """
    index = tail_index(outputs)
    if index >= HEAVY:
        return ()
    return (
        "The outputs on the held-out rows have heavy tails (a tail index of about "
        f"{index:.1f}; below 2 losses have no variance): a few rows far from all others make the "
        "gap, and it may be many standard errors off. Clip or transform the columns with far "
        "outliers (QuantileTransformer, a logarithm), or measure by a bounded score such as "
        'scoring="accuracy".',
    )
