"""Samplers in several processes: every process learns what the others saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from skprune.torch import BalancedSampler

N, EPOCHS = 40, 3


def train(rank, folder):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2
    )
    sampler = BalancedSampler(N, 0.5)
    orders = []
    for _ in range(EPOCHS):
        rows = list(sampler)
        sampler.weigh(torch.arange(N)[rows].double(), rows)
        orders.append(rows)
    again = BalancedSampler(N, 0.5)
    distributed.barrier()
    states = [None, None]
    distributed.all_gather_object(states, sampler.state_dict())
    again.load_state_dict(states[0])
    orders.append(list(again))
    np.savez(f"{folder}/{rank}.npz", *orders, losses=sampler.losses, again=again.times)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_rows_and_losses(tmp_path):
    multiprocessing.spawn(train, (str(tmp_path),), nprocs=2)
    found = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    for k in range(EPOCHS + 1):
        together = np.concatenate([f[f"arr_{k}"] for f in found])
        assert len(together) == len(set(together)) == N // 2
    for name in ("losses", "again"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
    seen = np.concatenate([f[f"arr_{k}"] for f in found for k in range(EPOCHS - 1)])
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(found[0]["losses"])), np.unique(seen))
