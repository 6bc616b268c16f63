"""dattri: conjugate gradients, Arnoldi and EK-FAC, on one full batch as its solvers want it."""

from __future__ import annotations

import torch
from dattri.algorithm.influence_function import (
    IFAttributorArnoldi,
    IFAttributorCG,
    IFAttributorEKFAC,
)
from dattri.task import AttributionTask
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from benchmarks.peers.task import Answer, Clock, Task, run, sum_over_groups


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """``variant``: 'cg10' (its default number of iterations), 'cg100', 'ekfac', 'arnoldi200'."""
    model = task.model()

    def loss(params: dict[str, torch.Tensor], rows: tuple[torch.Tensor, ...]) -> torch.Tensor:
        inputs, labels = (part.to(task.device) for part in rows)
        single = labels.ndim == 0  # under vmap a row comes without its batch dimension
        outputs = functional_call(model, params, inputs[None] if single else inputs)
        return cross_entropy(outputs, labels[None] if single else labels)

    attribution = AttributionTask(loss, model, model.state_dict())
    if variant.startswith("cg"):
        attributor = IFAttributorCG(
            attribution,
            device=task.device,
            max_iter=int(variant[2:]),
            regularization=task.l2,
        )
    elif variant.startswith("arnoldi"):
        attributor = IFAttributorArnoldi(
            attribution, device=task.device, proj_dim=int(variant[7:]), regularization=task.l2
        )
    elif variant == "ekfac":
        attributor = IFAttributorEKFAC(attribution, device=task.device, damping=task.l2)
    else:
        raise ValueError(f"dattri is run as cgN, arnoldiN or ekfac, not {variant!r}.")
    train, held_out = task.loader(task.rows()), task.loader(task.held_out())
    with clock("fit"):
        attributor.cache(train)
    with clock("score"):
        scores = attributor.attribute(train, held_out).detach().cpu() / len(task.y)
        rows = scores.mean(1)
    return Answer(sum_over_groups(task, scores), rows.numpy())


if __name__ == "__main__":
    run(method, ("dattri",))
