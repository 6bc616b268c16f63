"""The blocks of README.md; as a script, run them in the environment that the README makes.

A block of README.md may be preceded, on the line above it or the one before that, by one of

``<!-- demo-command -->``, ``<!-- test-command -->``
    the two commands of a fresh machine, each in a bash block;
``<!-- output -->``
    a text block that the Python block before it prints (numbers may differ, words may not);
``<!-- not run: REASON -->``
    a block that is left out.

``python tests/readme.py`` runs the bash and Python blocks from top to bottom, as a reader would
paste them, but for the test command. It needs nothing but what they install.
"""

from __future__ import annotations

import importlib
import os
import re
import site
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
FENCE = re.compile(
    r"(?:^<!--[ ]*(?P<marker>[^\n]*?)[ ]*-->\n\n?)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its marker ("" if none), language, text and first line's number."""

    marker: str
    language: str
    body: str
    line: int

    def run(self, namespace):
        """Run the code of a Python block; a traceback points at the line of README.md."""
        code = compile("\n" * (self.line - 1) + self.body, str(README), "exec")
        exec(code, namespace)  # the page's own code


def read_blocks(text):
    return [
        Block(
            marker=found["marker"] or "",
            language=found["language"],
            body=found["body"],
            line=text.count("\n", 0, found.start("body")) + 1,
        )
        for found in FENCE.finditer(text)
    ]


def main():
    namespace = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in read_blocks(README.read_text(encoding="utf-8")):
            if block.marker == "test-command" or block.marker.startswith("not run: "):
                continue
            if block.language in ("bash", "python"):
                print(f"--- README.md, line {block.line}", flush=True)
            if block.language == "python":
                block.run(namespace)
            elif block.language == "bash":
                # The reader stands in the checkout while installing, and beside the data later.
                where = README.parent if "pip install" in block.body else folder
                subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block.body], cwd=where, check=True
                )
                for packages in site.getsitepackages():  # what was installed just now
                    site.addsitedir(packages)
                importlib.invalidate_caches()


if __name__ == "__main__":
    main()
