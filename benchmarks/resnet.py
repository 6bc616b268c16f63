"""Memory and time of ``InfluencePruner(layers="all")`` on a ResNet-18 for images of 32 x 32.

    python -m benchmarks.resnet --rows 50000 --width 64 --device cuda --memory 16
    python -m benchmarks.resnet --rows 64 128 --width 16

``--width`` is the number of channels of the first stage: 64 is a ResNet-18 (11 million parameters).
``--memory`` bounds the memory of a CUDA device: torch then refuses to allocate more.
Weights are random and so are the images: what is measured does not depend on them. Every fit runs
in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.harness import markdown, named, save
from benchmarks.memory import GIB, peak_bytes
from skprune import InfluencePruner, TorchProxy

CLASSES = 10


class Block(nn.Module):
    """Two convolutions and what goes past them (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.past = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.past.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.past.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Of a batch."""
        return torch.relu(self.body(x) + self.past(x))


def resnet18(width: int, channels: int = 3, n_classes: int = CLASSES) -> nn.Sequential:
    """Four stages of two blocks, behind a 3 x 3 convolution."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [Block(inputs, outputs, 1 + (stage > 0)), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, n_classes)
    )


def measure(
    n: int, width: int, curvature: str, keep: float, device: str, memory: float | None
) -> dict[str, Any]:
    """Peak of this process and of the device, and seconds, of one fit."""
    if memory is not None:
        share = memory * GIB / torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(share)
    torch.manual_seed(0)
    rows = TensorDataset(torch.randn(n, 3, 32, 32), torch.arange(n) % CLASSES)
    net = resnet18(width).to(device).eval()
    before, start = peak_bytes(), time.perf_counter()
    pruner = InfluencePruner(
        model=TorchProxy(net, layers="all", curvature=curvature, device=device),
        keep=keep,
        random_state=0,
    ).fit(rows)
    seconds = time.perf_counter() - start
    return {
        "rows": n,
        "parameters": sum(p.numel() for p in net.parameters()),
        "width": width,
        "curvature": curvature,
        "device": device,
        "device_memory_bound": None if memory is None else memory * GIB,
        "keep": keep,
        "kept": len(pruner.sample_indices_),
        "peak_bytes": peak_bytes(),
        "peak_bytes_before_fit": before,
        "device_peak_bytes": torch.cuda.max_memory_reserved() if "cuda" in device else 0,
        "seconds": seconds,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=(64, 128))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--curvature", default="ekfac")
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=float, help="GiB of a CUDA device; default: all of it")
    parser.add_argument("--out", help="JSON file; default: in benchmarks/results")
    args = parser.parse_args()
    records: list[dict[str, Any]] = []
    for n in args.rows:
        code = (
            "import json; from benchmarks.resnet import measure; print(json.dumps(measure("
            f"{n}, {args.width}, {args.curvature!r}, {args.keep}, {args.device!r}, "
            f"{args.memory})))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            records.append({"rows": n, "width": args.width, "failed": done.stderr[-2000:]})
        else:
            records.append(json.loads(done.stdout.splitlines()[-1]))
        print(records[-1], flush=True)
    header = ("rows", "parameters", "curvature", "peak, GiB", "peak on the device, GiB", "s")
    table = [
        (
            f"{r['rows']:,}",
            f"{r['parameters']:,}",
            r["curvature"],
            f"{r['peak_bytes'] / GIB:.2f}",
            f"{r['device_peak_bytes'] / GIB:.2f}",
            f"{r['seconds']:.0f}",
        )
        for r in records
        if "failed" not in r
    ]
    print(markdown(header, table))
    name = named("resnet", args.device)
    print("written to", save(name, records, {"rows": table}, args.out))


if __name__ == "__main__":
    main()
