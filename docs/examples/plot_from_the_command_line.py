"""
From the command line
=====================

``skprune prune`` reads a csv, tsv or parquet file and writes the rows that are worth keeping,
without a line of Python. This page runs the command as a shell would, on a file with categories,
dates and gaps.
"""

# %%
# A file
# ------
#
# Simulated flats: the rent of 4,000 of them, with a column of dates and one of words.

import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n = 4000
flats = pd.DataFrame(
    {
        "area": rng.gamma(6, 12, n).round(1),
        "quarter": rng.choice(["old town", "harbour", "north", "west"], n),
        "built": pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 27_000, n), unit="D"),
        "balcony": rng.choice(["yes", "no", None], n),
    }
)
square_metre = flats["quarter"].map({"old town": 19, "harbour": 16, "north": 11, "west": 12})
flats["rent"] = (flats["area"] * square_metre + rng.normal(0, 60, n)).round()
folder = Path(mkdtemp())
flats.to_csv(folder / "flats.csv", index=False)


def shell(command):
    """Print what a shell prints for this command."""
    words = command.replace("skprune", f"{sys.executable} -m skprune", 1).split()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    print(f"$ {command}\n{done.stderr}{done.stdout}exit code {done.returncode}")


# %%
# Prune it
# --------
#
# Numbers for the target mean regression: the gap is in units of the variance of the rent, so that
# 0.02 are two points of R².

shell("skprune prune flats.csv --target rent --max-gap 0.02 --out kept.csv --report report.html")

# %%
# The rows that were kept
# -----------------------
#
# They are lines of the file, in their order and letter by letter. Who trains on a file may train
# any model, so that a boosting was trained as well as a linear model; for it random rows do as
# well, and the status in the report says that these were kept.

lines = set((folder / "flats.csv").read_text().splitlines())
kept_lines = (folder / "kept.csv").read_text().splitlines()
print(
    len(kept_lines) - 1, "rows,", "all of the file" if lines.issuperset(kept_lines) else "changed"
)

import matplotlib.pyplot as plt

kept = pd.read_csv(folder / "kept.csv")
figure, ax = plt.subplots(figsize=(6.5, 3.6))
ax.plot(flats["area"], flats["rent"], ".", color="0.85", label=f"{len(flats):,} rows")
for quarter, rows in kept.groupby("quarter"):
    ax.plot(rows["area"], rows["rent"], "o", ms=3.5, label=f"kept: {quarter}")
ax.set_xlabel("area")
ax.set_ylabel("rent")
ax.legend()
figure.tight_layout()

# %%
# A budget that cannot be met is no error, but a script can tell: then all rows are written and
# the exit code is 1. :doc:`/command_line` lists the codes.
