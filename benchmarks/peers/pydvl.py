"""pyDVL: influence by conjugate gradients, EK-FAC, Arnoldi and Nystroem."""

from __future__ import annotations

import torch
from pydvl.influence.torch import (
    ArnoldiInfluence,
    CgInfluence,
    EkfacInfluence,
    NystroemSketchInfluence,
)
from pydvl.influence.torch.influence_function_model import TorchInfluenceFunctionModel
from torch.nn.functional import cross_entropy

from benchmarks.peers.task import Answer, Clock, Task, run, sum_over_groups


def influence(variant: str, task: Task) -> TorchInfluenceFunctionModel:
    """The model of a variant: 'cg', 'ekfac', 'arnoldi200', 'nystroem200'."""
    model = task.model()
    if variant == "cg":
        return CgInfluence(
            model,
            cross_entropy,
            regularization=task.l2,
            maxiter=100,
            solve_simultaneously=True,
            warn_on_max_iteration=False,
        )
    if variant == "ekfac":
        return EkfacInfluence(model, update_diagonal=True, hessian_regularization=task.l2)
    if variant.startswith("arnoldi"):
        rank = int(variant[7:])
        return ArnoldiInfluence(model, cross_entropy, regularization=task.l2, rank=rank)
    if variant.startswith("nystroem"):
        rank = int(variant[8:])
        return NystroemSketchInfluence(model, cross_entropy, rank=rank, regularization=task.l2)
    raise ValueError(f"pyDVL is run as cg, ekfac, arnoldiN or nystroemN, not {variant!r}.")


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """Influence factors of the held-out rows, multiplied with the gradients of all rows."""
    torch.manual_seed(task.seed)
    model = influence(variant, task)
    with clock("fit"):
        model = model.fit(task.loader(task.rows(), 2048)).to(torch.device(task.device))
    parts, together = [], []
    with clock("factors"):
        factors = model.influence_factors(*task.held_out().tensors)
        mean = factors.mean(0, keepdim=True)
    with clock("score"):
        for inputs, labels in task.loader(task.rows(), 2048):
            parts.append(model.influences_from_factors(factors, inputs, labels).T.cpu())
    with clock("rows"):
        for inputs, labels in task.loader(task.rows(), 2048):
            together.append(model.influences_from_factors(mean, inputs, labels).T.cpu())
    # The factors of the held-out rows are needed for both kinds of scores.
    for suffix in ("seconds", "cpu_seconds"):
        spent = clock.seconds.pop(f"factors_{suffix}")
        for part in ("score", "rows"):
            clock.seconds[f"{part}_{suffix}"] += spent
    rows = torch.cat(together)[:, 0] / len(task.y)
    return Answer(sum_over_groups(task, torch.cat(parts) / len(task.y)), rows.numpy())


if __name__ == "__main__":
    run(method, ("pyDVL",))
