"""Memory and time of a whole ``InfluencePruner(keep=0.1).fit``, data included.

    python -m benchmarks.memory
    python -m benchmarks.memory --rows 1000000 --columns 512 --device cuda

Every fit runs in a process of its own, so that its peak is that of nothing else. The data are made
in it, as float32, and stay alive: the peak counts them, the interpreter and torch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.harness import markdown, named, save
from skprune import InfluencePruner, LinearProxy

CLASSES = 10
GIB = 2**30


def make_rows(n: int, d: int, dtype: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) and labels of a noisy linear rule, made without a second copy."""
    rng = np.random.default_rng(seed)
    rule = rng.normal(size=(d, CLASSES)).astype(np.float32) / np.float32(np.sqrt(d) / 2)
    X, y = np.empty((n, d), dtype=dtype), np.empty(n, dtype=np.int64)
    for start in range(0, n, 2**14):
        part = slice(start, min(n, start + 2**14))
        block = rng.standard_normal((part.stop - part.start, d), dtype=np.float32)
        X[part] = block
        y[part] = (block @ rule + rng.gumbel(size=(len(block), CLASSES))).argmax(1)
    return X, y


def measure(n: int, d: int, dtype: str, keep: float, device: str) -> dict[str, Any]:
    """Peak of this process and seconds of one fit."""
    X, y = make_rows(n, d, dtype)
    before = peak_bytes()
    start = time.perf_counter()
    pruner = InfluencePruner(keep=keep, random_state=0, model=LinearProxy(device=device)).fit(X, y)
    seconds = time.perf_counter() - start
    on_device = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {
        "rows": n,
        "columns": d,
        "classes": CLASSES,
        "dtype": dtype,
        "device": device,
        "threads": torch.get_num_threads(),
        "keep": keep,
        "data_bytes": X.nbytes,
        "peak_bytes": peak_bytes(),
        "peak_bytes_before_fit": before,
        "device_peak_bytes": on_device,
        "seconds": seconds,
        "kept": len(pruner.sample_indices_),
        "gap": float(pruner.gap_),
    }


def peak_bytes() -> int:
    """Peak of this process's resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def in_own_process(n: int, d: int, dtype: str, keep: float, device: str) -> dict[str, Any]:
    code = (
        "import json; from benchmarks.memory import measure; "
        f"print(json.dumps(measure({n}, {d}, {dtype!r}, {keep}, {device!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"rows": n, "columns": d, "dtype": dtype, "failed": done.stderr[-2000:]}
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--dtype", nargs="*", default=("float32",), help="of the stored features")
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="JSON file; default: in benchmarks/results")
    args = parser.parse_args()
    records = []
    for dtype in args.dtype:
        for n in args.rows:
            records.append(in_own_process(n, args.columns, dtype, args.keep, args.device))
            print(records[-1], flush=True)
    rows = [
        (
            f"{r['rows']:,} x {r['columns']}",
            r["dtype"],
            f"{r['data_bytes'] / GIB:.2f}",
            f"{r['peak_bytes'] / GIB:.2f}",
            f"{r['device_peak_bytes'] / GIB:.2f}",
            f"{r['seconds']:.0f}",
        )
        for r in records
        if "failed" not in r
    ]
    header = ("rows x columns", "dtype", "data, GiB", "peak, GiB", "peak on the device, GiB", "s")
    print(markdown(header, rows))
    name = named("memory", args.device)
    print("written to", save(name, records, {"rows": rows}, args.out))


if __name__ == "__main__":
    main()
