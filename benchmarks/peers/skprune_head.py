"""skprune on a convex head: influence of groups, Newton on the kept rows, scores of single rows."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.task import Answer, Clock, Task, run
from skprune.curvature import HeadGradients, build_curvature
from skprune.evaluation.held_out import HeldOut
from skprune.heads.features import DenseFeatures
from skprune.heads.problem import HeadProblem, Penalty
from skprune.influence import leave_out as removal
from skprune.influence.gradients import HeadInfluence
from skprune.losses.cross_entropy import CrossEntropy


def head_problem(task: Task, X: np.ndarray, y: np.ndarray) -> HeadProblem:
    """The task's objective, its intercept a column of ones that is penalised as the rest."""
    device = torch.device(task.device)
    features = DenseFeatures(torch.from_numpy(X).to(device), ones=True).held()
    labels = torch.from_numpy(y).to(device)
    targets = torch.nn.functional.one_hot(labels, int(task.y.max()) + 1).double()
    weights = torch.ones(len(y), dtype=torch.float64, device=device)
    mask = torch.ones(features.shape[1], 1, dtype=torch.float64, device=device)
    return HeadProblem(features, targets, weights, CrossEntropy(), Penalty(task.l2, mask, weights))


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """``variant``: CURVATURE-METHOD, such as 'ekfac-newton'; the curvature preconditions."""
    curvature, kind = variant.split("-")
    state = [torch.from_numpy(v).double() for v in task.state.values()]
    theta = torch.cat([state[0].T, state[1][None]]).to(task.device)
    with clock("fit"):
        problem = head_problem(task, task.X, task.y)
        held_out = HeldOut(head_problem(task, task.X_val, task.y_val), 1.0, "loss", None)
        outputs = problem.features.forward(theta)
        fitted = build_curvature(curvature, HeadGradients(problem, outputs))
    with clock("rows"):
        operator = HeadInfluence(problem, theta, outputs, fitted)
        rows = removal.leave_one_out(problem, operator, held_out, theta, None)
    removed = torch.from_numpy(task.groups).to(task.device)
    with clock("score"):
        before = held_out.losses(held_out.outputs(theta))
        tolerance = 1e-2 if kind == "newton" else removal.SOLVE_TOLERANCE
        steps = removal.removal_steps(operator, removed, kind, tolerance)
        moved = (theta + step.view_as(theta) for step in steps)
        changes = [held_out.losses(held_out.outputs(there)) - before for there in moved]
    predicted = torch.stack(changes).cpu().numpy()
    return Answer(predicted, rows.cpu().numpy(), facts={"parameters": int(theta.numel())})


if __name__ == "__main__":
    run(method, ("skprune",))
