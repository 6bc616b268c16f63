"""What README.md prints is what runs: its Python blocks here, its commands in CI."""

from __future__ import annotations

import re

import pytest
from readme import README, Block, read_blocks


def words(text):
    """The text with numbers, rules and runs of blanks made equal.

    What the report says of the saving hangs on the clock and is left out.
    """
    text = re.sub(r"net saving .*", "net saving", text)
    text = re.sub(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?", "#", text)
    return re.sub(r"\s+", " ", re.sub(r"[-=─═+]{2,}", "--", text)).strip()


@pytest.fixture(scope="module")
def blocks():
    return read_blocks(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("demo", ["pip install", "skprune demo"]), ("test", ["pip install", "python -m pytest"])],
)
def test_commands_of_a_fresh_machine(blocks, name, parts):
    (block,) = [block for block in blocks if block.marker == f"{name}-command"]
    assert block.language == "bash"
    (line,) = block.body.splitlines()
    for part in parts:
        assert part in line


def test_python_blocks_run_and_print_what_they_say(blocks, capsys, tmp_path, monkeypatch):
    """From top to bottom in one namespace, in an empty folder, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    outputs = 0
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python" or block.marker.startswith("not run: "):
            continue
        capsys.readouterr()
        block.run(namespace)
        printed = capsys.readouterr().out
        if following is not None and following.marker == "output":
            assert words(printed) == words(following.body), printed
            outputs += 1
    assert outputs, "README.md shows the real output of no Python block"


def test_every_marker_is_known(blocks):
    for block in blocks:
        assert re.fullmatch(r"|demo-command|test-command|output|not run: .+", block.marker), (
            f"README.md, line {block.line}: unknown marker {block.marker!r}"
        )


def test_blocks_are_read_as_a_reader_sees_them():
    text = 'One\n\n<!-- a b -->\n```python\nx = """\n# y\n"""\n```\n\n```text\nz\n```\n'
    assert read_blocks(text) == [
        Block("a b", "python", 'x = """\n# y\n"""\n', 5),
        Block("", "text", "z\n", 11),
    ]


def test_words_ignore_numbers_only():
    assert words("kept 1,203 of 5000  (-0.3e-05)") == words("kept 88 of 10 (+1)")
    assert words("kept 10") != words("removed 10")
