"""skprune on every layer of a network: each curvature, sum of influences or Newton on kept rows."""

from __future__ import annotations

import torch

from benchmarks.peers.task import Answer, Clock, Task, run
from skprune.curvature import build_curvature
from skprune.data.sources import as_source
from skprune.influence.ensemble import Member
from skprune.influence.gradients import NetworkInfluence
from skprune.influence.leave_out import removal_steps
from skprune.losses.cross_entropy import CrossEntropy
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """``variant``: CURVATURE-METHOD[-last][-auto], such as 'ekfac-newton'.

    'last' studies the last layer only, 'auto' takes the default damping instead of none beyond
    the penalty.
    """
    curvature, kind, *more = variant.split("-")
    model = TorchModel(task.model(), task.device)
    layers = [str(len(model.module) - 1)] if "last" in more else "all"
    n = len(task.y)
    with model.frozen():
        with clock("fit"):
            problem = NetworkProblem(
                model,
                CrossEntropy(),
                as_source(task.X, task.y),
                torch.from_numpy(task.y),
                penalty=task.l2,
                layers=layers,
                batch_size=min(n, 1024),
            )
            held_out = problem.on(as_source(task.X_val, task.y_val), torch.from_numpy(task.y_val))
            damping = "auto" if "auto" in more else 0.0
            fitted = build_curvature(curvature, RowGradients(problem), damping)
        member, removed = Member(fitted, fitted, held_out), torch.from_numpy(task.groups)
        with clock("score"):
            change = member.predict_removal(removed, kind)
            linear = held_out.scores(removal_steps(NetworkInfluence(fitted), removed, kind))
        with clock("rows"):
            rows = member.row_scores()
    facts = {"damping": float(fitted.damping), "parameters": problem.dim}
    arrays = (t.double().cpu().numpy() for t in (change.losses, rows, linear))
    return Answer(*arrays, facts=facts)


if __name__ == "__main__":
    run(method, ("skprune",))
