"""The command line: what it writes, what it prints, and how it refuses."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from cases.pruners import head_pruner

import skprune
from skprune import InfluencePruner
from skprune.cli import main
from skprune.cli.demo import draw_path
from skprune.cli.encoding import encode_table
from skprune.cli.files import read_source
from skprune.data.magic import load_magic
from skprune.results.gap import Gap

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N = 240


def make_frame(n=N, seed=0):
    """A table of mixed columns; "y" follows from "a" and "town", and the rows are numbered."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    town = rng.choice(["Rome", "Oslo", "Bern"], size=n, p=[0.5, 0.4, 0.1])
    logit = 2 * a + np.where(town == "Oslo", 1.0, -1.0)
    y = np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no")
    return pd.DataFrame(
        {
            "row": [f"r{i:04d}" for i in range(n)],
            "a": np.round(a, 3),
            "town": town,
            "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
            "count": rng.integers(0, 9, size=n),
            "y": y,
        }
    )


@pytest.fixture
def frame():
    return make_frame()


@pytest.fixture
def data(tmp_path, frame):
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "kept.csv"


def prune(data, out, *options, target="y"):
    return main(["prune", str(data), "--target", target, "--out", str(out), *map(str, options)])


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(item in rest for item in part)


def refused(capsys, code):
    """The line on stderr of a refused command."""
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("skprune prune: error: ")
    return captured.err


# ------------------------------------------------------------------------------- what it writes


def test_prunes_a_csv_file(data, out, frame, capsys):
    assert prune(data, out, "--keep", 100, "--seed", 0) == 0
    before, after = data.read_text().splitlines(), out.read_text().splitlines()
    assert after[0] == before[0]
    assert 1 < len(after) < len(before)
    assert is_subsequence(after, before)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "240 rows; target 'y', classification" in printed.out
    assert "columns encoded: 2 numbers, 1 category (3 levels), 1 date -> 9" in printed.out
    for line in (
        "  numbers: a, count",
        "  dates, with weekday, season: day",
        "  text, 3 levels: town",
        "left out: row (nearly unique text)",
    ):
        assert f"\n  {line}\n" in printed.out
    assert "Pruning report" in printed.out
    assert "random, refit" in printed.out
    assert f"{out}: {len(after) - 1} rows written" in printed.out


def test_same_seed_same_rows(data, tmp_path):
    outs = [tmp_path / f"{i}.csv" for i in range(3)]
    for path, seed in zip(outs, (3, 3, 4), strict=True):
        assert prune(data, path, "--keep", 60, "--seed", seed, "--quiet") == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].read_bytes() != outs[2].read_bytes()


def test_is_the_pruner_on_the_encoded_table(data, out, frame):
    prune(data, out, "--keep", 60, "--seed", 0)
    source = read_source(data)
    X, _ = encode_table(source, leave_out=5)
    pruner = InfluencePruner(keep=60, random_state=0).fit(X, frame["y"])
    assert pd.read_csv(out)["row"].tolist() == frame["row"][pruner.sample_indices_].tolist()


def test_weights_are_a_new_column(data, out, capsys):
    assert prune(data, out, "--keep", 60, "--weights", "weight") == 0
    kept = pd.read_csv(out)
    assert kept.columns[-1] == "weight"
    assert kept["weight"].sum() == pytest.approx(240)
    assert kept["weight"].nunique() > 2
    capsys.readouterr()
    error = refused(capsys, prune(data, out, "--keep", 60, "--weights", "a", "--force"))
    assert "--weights a is a column of" in error


@pytest.mark.parametrize(("keep", "rows"), [("0.25", 60), ("60", 60), ("1.0", 240), ("240", 240)])
def test_keep_is_a_share_or_a_number(data, out, keep, rows):
    assert prune(data, out, "--keep", keep) == 0
    assert len(pd.read_csv(out)) == rows


def test_text_of_csv_survives_to_the_letter(out, tmp_path, frame):
    """Zeros, "NA", quotes, line breaks in fields, Windows line ends, no line end at the end."""
    odd = [
        "1.10,007,NA,0.5",
        '"1.10","a ""quoted"" word, with a comma",,"+0.50"',
        ' 2,"two\r\nlines", NaN ,5e-1',
        "1e3,None,N/A,.50",
        "3,Ünïcödé ★,null,1_0",
    ]
    lines = [f"{odd[i % 5]},{x},{y}" for i, (x, y) in enumerate(zip(frame.a, frame.y, strict=True))]
    path = tmp_path / "odd.csv"
    head = '"number",text,"maybe","a, b",x,y'
    path.write_bytes("\r\n".join([head, *lines]).encode())
    assert prune(path, out, "--keep", 0.9) == 0
    before, after = path.read_bytes(), out.read_bytes()
    assert after.startswith(head.encode() + b"\r\n")
    # The line ends are those of the file, except that the last record has none in it.
    kept = [record.rstrip("\r\n") for record in records(after)]
    assert len(kept) == 1 + 216
    assert is_subsequence(kept, [record.rstrip("\r\n") for record in records(before)])
    everything = tmp_path / "everything.csv"
    assert prune(path, everything, "--keep", 1.0) == 0
    assert everything.read_bytes() == before


def records(content):
    """Raw records of a csv file whose quoted fields may hold line breaks."""
    raw, record = [], ""
    for line in io.StringIO(content.decode(), newline=""):
        record += line
        if record.count('"') % 2 == 0:
            raw.append(record)
            record = ""
    return raw


def test_byte_order_mark_empty_lines_and_other_encodings(tmp_path, frame, capsys):
    text = frame.to_csv(index=False)
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + text.replace("row,", '"row",', 1).encode())
    assert prune(marked, tmp_path / "1.csv", "--keep", 1.0, target="y") == 0
    assert (tmp_path / "1.csv").read_bytes() == marked.read_bytes()

    spaced = tmp_path / "spaced.csv"
    spaced.write_text(text.replace("yes\n", "yes\n\n", 3) + "\n\n")
    assert prune(spaced, tmp_path / "2.csv", "--keep", 1.0) == 0
    assert (tmp_path / "2.csv").read_text() == text

    latin = tmp_path / "latin.csv"
    latin.write_bytes(text.replace("Rome", "Orléans").encode("latin-1"))
    capsys.readouterr()
    assert prune(latin, tmp_path / "3.csv", "--keep", 1.0) == 0
    assert (tmp_path / "3.csv").read_bytes() == latin.read_bytes()
    assert "read as Latin-1" in capsys.readouterr().out


def test_delimiters(tmp_path, frame, capsys):
    tsv = tmp_path / "data.tsv"
    frame.assign(town=frame["town"] + ", IT").to_csv(tsv, sep="\t", index=False)
    assert prune(tsv, tmp_path / "kept.tsv", "--keep", 1.0) == 0
    assert (tmp_path / "kept.tsv").read_bytes() == tsv.read_bytes()
    semicolons = tmp_path / "semicolons.csv"
    frame.to_csv(semicolons, sep=";", index=False)
    assert prune(semicolons, tmp_path / "kept.csv", "--keep", 0.5) == 0
    assert (tmp_path / "kept.csv").read_text().startswith("row;a;town;day;count;y\n")
    assert "fields are separated by ';'" in capsys.readouterr().out


def test_separator_that_is_given(tmp_path, frame, capsys):
    path, out = tmp_path / "data.csv", tmp_path / "kept.csv"
    frame.drop(columns="day").to_csv(path, sep=":", index=False)
    assert prune(path, out, "--keep", 0.5, "--sep", ":") == 0
    assert "separated by ':'" in capsys.readouterr().out
    assert out.read_text().startswith("row:a:town:count:y\n")
    # Where the fields of a line do not fit, the message says what helps.
    path.write_text("a,b;c;y\n" + "1,2;3\n" * 300)
    assert "--sep says where else" in refused(capsys, prune(path, tmp_path / "2.csv", "--sep", ";"))
    frame.to_csv(tmp_path / "data.tsv", index=False)
    assert prune(tmp_path / "data.tsv", tmp_path / "kept.tsv", "--keep", 0.5, "--sep", ",") == 0
    assert prune(tmp_path / "data.tsv", tmp_path / "3.csv", "--keep", 0.5, "--sep", "tab") == 2
    frame.to_parquet(tmp_path / "data.parquet")
    code = prune(tmp_path / "data.parquet", tmp_path / "4.csv", "--sep", ";")
    assert "--sep is for csv and tsv files" in capsys.readouterr().err
    assert code == 2


def test_dropped_columns_are_written_all_the_same(data, tmp_path, out, frame, capsys):
    options = ["--keep", 0.5, "--seed", 0]
    assert prune(data, out, *options, "--drop", "town", "day", "--drop", "count") == 0
    printed = capsys.readouterr().out
    assert "columns encoded: 1 number -> 1\n" in printed
    assert "left out: town, day, count (as asked)" in printed
    kept = pd.read_csv(out)
    assert kept.columns.tolist() == frame.columns.tolist()
    without, others = tmp_path / "without.csv", tmp_path / "without-kept.csv"
    frame[["row", "a", "y"]].to_csv(without, index=False)
    assert prune(without, others, *options) == 0
    assert kept["row"].tolist() == pd.read_csv(others)["row"].tolist()


def test_ids_do_not_decide(tmp_path, capsys):
    """In a file that is sorted by its target, an id says it all; the rows are chosen without."""
    frame = make_frame().sort_values("y", kind="stable").drop(columns="row")
    kept = []
    for name, ids in {"a2": frame["a"] ** 2, "Id": range(N), "no.": np.arange(N)[::-1]}.items():
        path, out = tmp_path / f"{name}.csv", tmp_path / f"{name}-kept.csv"
        frame.assign(**{name: ids}).to_csv(path, index=False)
        assert (
            prune(path, out, "--keep", 0.2, "--seed", 0, *(["--drop", name] * (name == "a2"))) == 0
        )
        kept.append(pd.read_csv(out)["a"].tolist())
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize("seed", range(4))
def test_levels_that_only_held_out_rows_have(tmp_path, out, frame, seed):
    """Two rows are of a kind of their own; some split has both on the one side or the other."""
    path = tmp_path / "data.csv"
    frame.assign(town=np.where(frame.index < 2, "Ulm", frame["town"])).to_csv(path, index=False)
    assert prune(path, out, "--keep", 100, "--seed", seed) == 0
    assert len(pd.read_csv(out)) < N


def test_compressed_files(tmp_path, frame, data):
    packed = tmp_path / "data.csv.gz"
    packed.write_bytes(gzip.compress(data.read_bytes()))
    assert prune(packed, tmp_path / "a.csv", "--keep", 0.5, "--seed", 0) == 0
    assert prune(data, tmp_path / "b.csv.gz", "--keep", 0.5, "--seed", 0) == 0
    assert (
        gzip.decompress((tmp_path / "b.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()
    )


def test_schema_of_parquet_survives(tmp_path):
    frame = make_frame()
    frame["town"] = frame["town"].astype("category")
    frame["when"] = pd.date_range("2024-01-01", periods=N, freq="h", tz="Europe/Rome")
    frame["small"] = np.arange(N, dtype=np.int8) % 5
    frame["maybe"] = pd.array([None if i % 7 == 0 else i % 3 for i in range(N)], dtype="Int64")
    frame["flag"] = np.arange(N) % 2 == 0
    frame.index = pd.Index([f"id{i}" for i in range(N)], name=None)
    path, kept = tmp_path / "data.parquet", tmp_path / "kept.parquet"
    table = pa.Table.from_pandas(frame)
    table = table.append_column("list", pa.array([[i, i + 1] for i in range(N)]))
    table = table.append_column("price", pa.array(["1.10"] * N).cast(pa.decimal128(5, 2)))
    pq.write_table(table, path, compression="zstd")
    table = pq.read_table(path)  # parquet has fewer types than pyarrow
    assert prune(path, kept, "--keep", 0.25) == 0
    result = pq.read_table(kept)
    assert result.schema.equals(table.schema, check_metadata=True)
    rows = np.array([int(name[1:]) for name in result["row"].to_pylist()])
    assert np.all(np.diff(rows) > 0)
    assert result.equals(table.take(rows))
    assert result.to_pandas().index.tolist() == [f"id{i}" for i in rows]
    assert pq.ParquetFile(kept).metadata.row_group(0).column(0).compression == "ZSTD"


def test_what_parquet_columns_become(tmp_path, capsys):
    frame = make_frame()
    frame.index = pd.Index(np.arange(N) * 7)
    table = pa.Table.from_pandas(frame)
    table = table.append_column("list", pa.array([[i] for i in range(N)]))
    table = table.append_column("none", pa.nulls(N))
    table = table.append_column("clock", pa.array(np.arange(N, dtype=np.int32), pa.time32("s")))
    table = table.append_column("date", pa.array(np.arange(N), pa.int32()).cast(pa.date32()))
    pq.write_table(table, tmp_path / "data.parquet")
    assert prune(tmp_path / "data.parquet", tmp_path / "kept.parquet", "--keep", 0.5) == 0
    printed = capsys.readouterr().out
    assert "2 numbers, 1 category (3 levels), 3 dates" in printed
    assert "row (nearly unique text)" in printed
    assert "__index_level_0__ (numbers the rows)" in printed
    assert "none (empty)" in printed
    assert "list (type ndarray cannot be encoded)" in printed


def test_from_one_format_to_another(tmp_path, data, frame):
    frame = frame.assign(
        zip=[f"{i:05d}" for i in range(N)], gap=["" if i % 3 else i for i in range(N)]
    )
    frame.to_csv(data, index=False)
    assert prune(data, tmp_path / "kept.parquet", "--keep", 1.0) == 0
    table = pq.read_table(tmp_path / "kept.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds == {
        "row": "string",
        "a": "double",
        "town": "string",
        "day": "string",
        "count": "int64",
        "y": "string",
        "zip": "string",
        "gap": "int64",
    }
    assert table["gap"].null_count == N - N // 3
    assert table["a"].to_pylist() == frame["a"].tolist()

    assert prune(tmp_path / "kept.parquet", tmp_path / "kept.tsv", "--keep", 1.0) == 0
    again = pd.read_csv(tmp_path / "kept.tsv", sep="\t", dtype=str, keep_default_na=False)
    expected = frame.astype(str)
    pd.testing.assert_frame_equal(again, expected, check_dtype=False)
    assert prune(tmp_path / "kept.tsv", tmp_path / "kept.csv", "--keep", 1.0) == 0
    with open(tmp_path / "kept.csv", newline="") as file:
        assert list(csv.reader(file))[1:] == expected.to_numpy().tolist()


def test_column_that_no_csv_can_hold(tmp_path, capsys):
    table = pa.table(
        {"a": np.arange(40) / 8, "l": [[i] for i in range(40)], "y": ["a"] * 20 + ["b"] * 20}
    )
    pq.write_table(table, tmp_path / "data.parquet")
    code = prune(tmp_path / "data.parquet", tmp_path / "kept.csv", "--keep", 0.5)
    assert "cannot be written as csv" in refused(capsys, code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.parquet"]


# ------------------------------------------------------------------------------ task and scoring


def test_regression(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    table = pd.DataFrame(X, columns=list("abc")).assign(y=X @ [1, 2, 3] + rng.normal(size=200))
    table.to_csv(tmp_path / "data.csv", index=False)
    assert prune(tmp_path / "data.csv", tmp_path / "kept.csv", "--keep", 0.5) == 0
    assert "target 'y', regression" in capsys.readouterr().out


def test_task_decides_where_numbers_leave_doubt(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=100), "y": np.arange(100) % 4})
    table.to_csv(tmp_path / "data.csv", index=False)
    for task in ("regression", "classification"):
        out = tmp_path / f"{task}.csv"
        assert prune(tmp_path / "data.csv", out, "--keep", 0.5, "--task", task) == 0
        assert f"target 'y', {task}" in capsys.readouterr().out


def test_other_scores(data, out, capsys):
    assert prune(data, out, "--keep", 0.5, "--scoring", "accuracy") == 0
    assert " accuracy (48 held-out rows)" in capsys.readouterr().out


# ------------------------------------------------------------------------ reports and exit codes


def test_report_is_a_page(data, out, tmp_path):
    report = tmp_path / "report.html"
    assert prune(data, out, "--keep", 100, "--report", report) == 0
    page = report.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    said = ("target &#x27;y&#x27;, classification", "numbers: a, count", "left out: row")
    for part in ("Pruning report", *said):
        assert part in page


def test_report_needs_no_matplotlib(out, tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    report = tmp_path / "report.html"
    data = tmp_path / "clear.csv"
    data.write_text("x,y\n" + "".join(f"{i % 97},{int(i % 97 > 40)}\n" for i in range(800)))
    prune(data, out, "--max-gap", 0.05, "--report", report)
    assert "<svg" in report.read_text(encoding="utf-8")


def test_budget_that_cannot_be_met(data, out, monkeypatch, capsys):
    monkeypatch.setattr(Gap, "within", lambda *args: False)
    assert prune(data, out, "--max-gap", 1e-9) == 1
    assert out.read_bytes() == data.read_bytes()
    captured = capsys.readouterr()
    assert captured.err.startswith("skprune prune: warning: cannot be pruned within max_gap=1e-09")
    assert captured.err.count("\n") == 1
    assert "240 in, 240 kept" in captured.out


def test_quiet(data, out, capsys):
    assert prune(data, out, "--keep", 0.5, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_is_written_over(data, out, tmp_path, capsys):
    report = tmp_path / "report.html"
    for path in (out, report):
        path.write_text("precious")
        code = prune(data, tmp_path / out, "--report", report, "--keep", 0.5)
        assert f"{path} exists; --force writes over it" in refused(capsys, code)
        assert path.read_text() == "precious"
        assert prune(data, out, "--report", report, "--keep", 0.5, "--force", "--quiet") == 0
        assert "precious" not in path.read_text()
        report.unlink()
        out.unlink()


def test_input_and_outputs_differ(data, tmp_path, capsys):
    before = data.read_bytes()
    assert "is the input" in refused(capsys, prune(data, data, "--force"))
    assert "is the input" in refused(
        capsys, prune(data, tmp_path / "kept.csv", "--report", data, "--force")
    )
    same = tmp_path / "kept.csv"
    assert "same file" in refused(capsys, prune(data, same, "--report", same))
    assert data.read_bytes() == before


def as_process(*arguments, **options):
    command = [sys.executable, "-m", "skprune", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_rows_are_written_when_stdout_is_full(data, out):
    command = ["prune", data, "--target", "y", "--keep", 0.5, "--out", out]
    with open("/dev/full", "w") as full:
        done = as_process(*command, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 3
        assert done.stderr == (
            "skprune prune: error: all is done, but the output could not be printed: "
            "No space left on device\n"
        )
        assert len(pd.read_csv(out)) == N // 2
        # Nothing is written: that stdout is full is then of no interest. Nor is a full stderr.
        assert as_process(*command, stdout=full, stderr=full).returncode == 2


def test_rows_are_written_when_nobody_reads(data, out):
    reader, writer = os.pipe()
    os.close(reader)
    command = ["prune", data, "--target", "y", "--keep", 0.5, "--out", out]
    done = as_process(*command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(pd.read_csv(out)) == N // 2


def test_letters_that_stdout_lacks(tmp_path, frame, out):
    path = tmp_path / "data.csv"
    frame.rename(columns={"a": "prix \u20ac"}).to_csv(path, index=False, encoding="utf-8")
    command = ["prune", path, "--target", "y", "--keep", 0.5, "--out", out]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = as_process(*command, env=environment, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert "prix \\u20ac" in done.stdout


def test_report_that_fails_leaves_no_rows(data, out, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("skprune.cli.html_page", fail)
    code = prune(data, out, "--keep", 0.5, "--report", tmp_path / "report.html")
    assert "No space left on device" in refused(capsys, code)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_failed_writing_leaves_nothing(data, out, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr("skprune.cli.files.os.replace", fail)
    assert "No space left on device" in refused(capsys, prune(data, out, "--keep", 0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


# ------------------------------------------------------------------------------------ bad input

HEAD = "x,y\n"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (HEAD + "1,a\n2,b\n" * 20, ["--target", "z"], "z is no column of the table"),
        (HEAD + "1,a\n2,b\n" * 20, ["--target", "Y"], "did you mean 'y'"),
        ("", [], "is empty"),
        (HEAD, [], "has a header but no rows"),
        ("\n\n", [], "has no header line"),
        (HEAD + "1,a\n", [], "has only one row"),
        (HEAD + "1,a\n2,a\n" * 20, [], "at least 2 classes"),
        (HEAD + "1,a\n2,b\n" * 20, ["--drop", "X"], "--drop X is no column.*did you mean 'x'"),
        (HEAD + "1,a\n2,b\n" * 20, ["--drop", "y"], "--drop y is the target"),
        (HEAD + "1,a\n2,b\n" * 20, ["--drop", "x"], r"left out: x \(as asked\)"),
        (HEAD + "1,a\n2,b\n" * 20, ["--keep", "41"], "--keep 41: .* only 40 rows"),
        (HEAD + "1,a\n2,b\n" * 20, ["--keep", "1"], "minimum of every class"),
        (HEAD + "1,a\n2,b\n3,\n4,NA\n" * 20, [], "40 of 80 rows have no value there; drop"),
        (HEAD + "1,a\n2,b\n" * 20, ["--task", "regression"], "not all numbers"),
        (HEAD + "1,0.5\n2,inf\n" * 20, [], "infinite"),
        (HEAD + "1,a\n2,b\n" * 20, ["--scoring", "acuracy"], "did you mean 'accuracy'"),
        (HEAD + "1,.5\n2,.7\n3,.9\n" * 20, ["--scoring", "accuracy"], "continuous"),
        (
            HEAD + "1,.5\n2,.7\n3,.9\n" * 20,
            ["--scoring", "roc_auc"],
            "cannot score HistGradientBoostingRegressor",
        ),
        (HEAD + "1,a,7\n2,b\n" * 20, [], "line 2: 3 fields, but the header has 2"),
        (HEAD + '1,a\n2,"b\n' + "3,a\n" * 20, [], "unexpected end of data"),
        ("y,y\n" + "1,a\n2,b\n" * 20, [], "2 columns have that name"),
        ("y\n" + "a\nb\n" * 20, [], "no column can be encoded: the target is the only one"),
        (HEAD + "s,a\ns,b\n" * 20, [], r"no column can be encoded: left out: x \(constant\)"),
        (
            HEAD + "".join(f"n{i},{'ab'[i % 2]}\n" for i in range(60)),
            [],
            r"no column can be encoded: left out: x \(nearly unique text\)",
        ),
        (HEAD + "".join(f"{i},n{i}\n" for i in range(60)), [], "are no classes"),
    ],
)
def test_bad_tables(tmp_path, out, capsys, content, options, message):
    path = tmp_path / "data.csv"
    path.write_text(content)
    code = prune(path, out, *options)
    error = refused(capsys, code)
    assert re.search(message, error), error
    assert not out.exists()


def test_table_of_text_only(tmp_path, out, capsys):
    path = tmp_path / "data.csv"
    path.write_text("u,v,y\n" + "a,k,no\nb,k,yes\na,m,no\nb,m,yes\n" * 20)
    assert prune(path, out, "--keep", 0.5) == 0
    assert "2 categories (4 levels)" in capsys.readouterr().out


def test_bad_files(tmp_path, data, out, capsys):
    def error(path=data, to=out, *options):
        return refused(capsys, prune(path, to, *options))

    assert "missing.csv does not exist" in error(tmp_path / "missing.csv")
    assert "must end in one of .csv, .csv.gz, .tsv, .tsv.gz, .parquet" in error(tmp_path / "a.xlsx")
    assert "must end in one of" in error(data, tmp_path / "kept.json")
    assert "the folder" in error(data, tmp_path / "nowhere" / "kept.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is not a file" in error(tmp_path / "folder.csv")
    assert "is a folder" in error(data, tmp_path / "folder.csv")
    for name, content, message in (
        ("a.parquet", b"PAR1 is not all of it", "cannot be read as parquet"),
        ("a.csv.gz", b"plain text", "cannot be unpacked"),
        ("b.csv.gz", gzip.compress(data.read_bytes())[:-20], "cannot be unpacked"),
        ("utf16.csv", data.read_text().encode("utf-16"), "UTF-16"),
    ):
        (tmp_path / name).write_bytes(content)
        assert message in error(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-gap", "-1"], "must be a positive number, got '-1'"),
        (["--max-gap", "nan"], "must be a positive number"),
        (["--max-gap", "small"], "must be a positive number"),
        (["--keep", "0"], "at least 1 row"),
        (["--keep", "1.5"], "share above 0"),
        (["--keep", "half"], "share above 0"),
        (["--keep", "0.5", "--max-gap", "0.1"], "not allowed with"),
        (["--seed", "-3"], "whole number"),
        (["--task", "ranking"], "invalid choice"),
        (["--sep", "::"], "must be one character, or tab; got '::'"),
        (["--colour"], "unrecognized arguments"),
    ],
)
def test_bad_usage(data, out, capsys, options, message):
    with pytest.raises(SystemExit) as info:
        prune(data, out, *options)
    assert info.value.code == 2
    assert message in capsys.readouterr().err


def test_command_is_required(capsys):
    with pytest.raises(SystemExit) as info:
        main([])
    assert info.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_missing_pandas_names_the_extra(data, out, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert 'pip install "skprune[cli]"' in refused(capsys, prune(data, out))


def test_own_errors_are_not_swallowed(data, out, monkeypatch):
    def broken(*args, **kwargs):
        raise AttributeError("a bug")

    monkeypatch.setattr(InfluencePruner, "fit", broken)
    with pytest.raises(AttributeError, match="a bug"):
        prune(data, out)


# ----------------------------------------------------------------------------- help and the demo


def test_help_shows_an_example_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as info:
        main(["prune", "--help"])
    assert info.value.code == 0
    shown = capsys.readouterr().out
    assert "skprune prune data.csv --target y --max-gap 0.01 --out kept.csv" in shown
    for code in ("1  the gap cannot be met", "3  FILE is written, but", "130  interrupted"):
        assert code in shown


def test_version_as_a_process():
    command = [sys.executable, "-m", "skprune", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stdout == f"skprune {skprune.__version__}\n"
    assert result.stderr == ""


def test_demo(capsys, tmp_path, monkeypatch):
    X, y = load_magic()
    monkeypatch.setattr("skprune.cli.demo.load_magic", lambda: (X[::6], y[::6]))
    plot = tmp_path / "curve.png"
    assert main(["demo", "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "1,585 training rows, 1,585 test rows",
        "seed 0",
        "Pruning report",
        "allowed gap        0.01",
        "random, retrained",
        "The pruning curve",
        "chosen",
        "random rows, 10 draws",
        "a support vector machine",
    ):
        assert part in shown
    lines = [line.split() for line in shown.splitlines()]
    (kept,) = [float(line[4]) for line in lines if line[:3] == ["the", "kept", "rows"]]
    (random,) = [float(line[5]) for line in lines if line[:2] == ["random", "rows,"]]
    assert kept < random
    searched = re.findall(r"SearchCV, .* (\d+\.\d+) +(\d+\.\d+)%.* C=", shown)
    assert len(searched) == 3
    assert min(float(accuracy) for _, accuracy in searched) > 80
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(["demo", "--plot", str(plot)]) == 2
    assert "exists; --force writes over it" in capsys.readouterr().err
    assert main(["demo", "--plot", str(tmp_path / "curve.xyz")]) == 2
    assert "must end in one of" in capsys.readouterr().err


def test_demo_without_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo", "--plot", str(tmp_path / "curve.png")]) == 2
    assert 'pip install "skprune[plot]"' in capsys.readouterr().err


def test_picture_of_the_curve():
    frame = make_frame()
    X = np.column_stack([frame["a"], frame["town"] == "Oslo"])
    pruner = head_pruner(max_gap=0.2, random_state=0).fit(X, frame["y"])
    lines = draw_path(pruner).splitlines()[2:]
    assert len(lines) == len(pruner.path_["n_kept"])
    assert sum("chosen" in line for line in lines) == 1
    for line, gap in zip(lines, pruner.path_["refit_gap"], strict=True):
        canvas = line.removesuffix("  chosen").split("  ")[-1]
        assert "o" in canvas
        if gap > 0.25:
            assert canvas.index("o") > canvas.index("|")
        if "0" in canvas and gap > 0.03:
            assert canvas.index("o") > canvas.index("0")
