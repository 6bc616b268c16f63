"""kronfluence: K-FAC and EK-FAC influence, its factors on disk as it wants them."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task as KronfluenceTask
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.peers.task import Answer, Clock, Task, run, sum_over_groups


class Classification(KronfluenceTask):
    """Summed cross-entropy; labels drawn from the network for the true Fisher."""

    def compute_train_loss(
        self, batch: Any, model: nn.Module, sample: bool = False
    ) -> torch.Tensor:
        """Of a batch."""
        inputs, labels = batch
        outputs = model(inputs)
        if sample:
            with torch.no_grad():
                labels = torch.multinomial(outputs.float().softmax(1), 1).flatten()
        return cross_entropy(outputs, labels, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
        """The same loss of held-out rows."""
        return self.compute_train_loss(batch, model)


def method(variant: str, task: Task, clock: Clock) -> Answer:
    """``variant``: 'kfac', 'ekfac' with damping l2, 'ekfac-auto' with its own damping."""
    torch.manual_seed(task.seed)
    strategy, _, auto = variant.partition("-")
    kind = Classification()
    model = prepare_model(task.model(), kind)
    train, held_out = task.rows(), task.held_out()
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "run", model, kind, cpu=task.device == "cpu", disable_tqdm=True, output_dir=folder
        )
        with clock("fit"):
            analyzer.fit_all_factors(
                "factors",
                train,
                per_device_batch_size=2048,
                factor_args=FactorArguments(strategy=strategy),
            )

        def score(name: str, together: bool) -> torch.Tensor:
            arguments = ScoreArguments(
                damping_factor=None if auto else task.l2, aggregate_query_gradients=together
            )
            analyzer.compute_pairwise_scores(
                name,
                "factors",
                held_out,
                train,
                per_device_query_batch_size=len(held_out),
                per_device_train_batch_size=2048,
                score_args=arguments,
            )
            found = analyzer.load_pairwise_scores(name)
            return found["all_modules"].T / len(train)

        with clock("score"):
            scores = score("pairs", together=False)
        with clock("rows"):
            rows = score("sum", together=True)[:, 0] / len(held_out)
    return Answer(sum_over_groups(task, scores), rows.float().numpy())


if __name__ == "__main__":
    run(method, ("kronfluence",))
