"""The loss of labels and of a teacher against its formula, and in a loop over kept rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch import nn

from skprune.torch import BalancedSampler, distilled

RNG = np.random.default_rng(0)
Z, TEACHER, Y = RNG.normal(size=(7, 4)), 2 * RNG.normal(size=(7, 4)), np.arange(7) % 4


def losses(z=Z, teacher=TEACHER, y=Y, **options):
    return distilled(torch.from_numpy(z), torch.from_numpy(y), teacher, **options)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_formula(share, temperature):
    labelled = -log_softmax(Z, axis=1)[np.arange(7), Y]
    p, q = (softmax(z / temperature, axis=1) for z in (Z, TEACHER))
    expected = (1 - share) * labelled + share * temperature**2 * entropy(q, p, axis=1)
    assert_allclose(losses(share=share, temperature=temperature), expected)


def test_the_gradient_is_that_of_cross_entropies_and_none_goes_to_the_teacher():
    z, teacher = (torch.from_numpy(a).requires_grad_() for a in (Z, TEACHER))
    y = torch.from_numpy(Y)
    distilled(z, y, teacher, 0.5, 1.0).sum().backward()
    other = torch.from_numpy(Z).requires_grad_()
    taught = nn.functional.cross_entropy(other, torch.from_numpy(softmax(TEACHER, axis=1)))
    (0.5 * 7 * (nn.functional.cross_entropy(other, y) + taught)).backward()
    assert_allclose(z.grad, other.grad, atol=1e-12)
    assert teacher.grad is None


def test_one_logit_is_that_of_the_second_class():
    z, teacher, y = Z[:, :1], TEACHER[:, :1].astype(np.float16), Y % 2
    both = [np.c_[0 * a, a] for a in (z, teacher)]
    found = losses(z, teacher, y.astype(float), temperature=2.0)
    assert_allclose(found, losses(*both, y, temperature=2.0))


def test_a_row_that_says_what_the_teacher_says_has_nothing_to_learn():
    assert_allclose(losses(Z, Z + 1, share=1.0, temperature=4.0), 0, atol=1e-12)
    sampler = BalancedSampler(7, 3)
    loss = sampler.weigh(losses(), np.arange(7))
    assert_allclose(loss, (sampler.weights(np.arange(7)).double() * losses()).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, "share=1.5"),
        ({"temperature": 0}, "temperature=0"),
        ({"teacher": TEACHER[:3]}, r"shape \(7, 4\), and those of the teacher \(3, 4\)"),
        ({"z": Z[:, 0], "teacher": Z[:, 0]}, "same rows and classes"),
    ],
)
def test_messages(options, message):
    with pytest.raises(ValueError, match=message):
        losses(**options)
