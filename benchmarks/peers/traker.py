"""TRAK (package traker): scores of the margin through random projections; they have no scale."""

from __future__ import annotations

import logging
import tempfile

import torch
from trak import TRAKer

from benchmarks.peers.task import Answer, Clock, Task, run, sum_over_groups


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """``variant`` is the dimension of the projection: 'proj512'."""
    model = task.model()
    with tempfile.TemporaryDirectory() as folder:
        with clock("fit"):
            traker = TRAKer(
                model=model,
                task="image_classification",
                train_set_size=len(task.y),
                save_dir=folder,
                device=task.device,
                proj_dim=int(variant.removeprefix("proj")),
                use_half_precision=False,
                lambda_reg=task.l2,
                logging_level=logging.ERROR,
            )
            traker.load_checkpoint(model.state_dict(), model_id=0)
            for batch in task.loader(task.rows(), 512):
                batch = [part.to(task.device) for part in batch]
                traker.featurize(batch=batch, num_samples=len(batch[1]))
            traker.finalize_features()
        with clock("score"):
            traker.start_scoring_checkpoint("held_out", model.state_dict(), 0, len(task.y_val))
            for batch in task.loader(task.held_out(), 512):
                batch = [part.to(task.device) for part in batch]
                traker.score(batch=batch, num_samples=len(batch[1]))
            scores = torch.as_tensor(traker.finalize_scores("held_out"))
            rows = scores.mean(1)
    # A positive score lifts the margin of the held-out row, so that removal harms it.
    return Answer(sum_over_groups(task, scores), rows.numpy(), facts={"scaled": False})


if __name__ == "__main__":
    run(method, ("traker",))
