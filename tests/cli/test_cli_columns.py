"""The command line: what it understands of the columns of a table."""

from __future__ import annotations

import csv
import re
import uuid

import numpy as np
import pytest

from skprune.cli import main
from skprune.cli.delimiters import find_delimiter
from skprune.cli.encoding import encode_table
from skprune.cli.files import InputError, read_source
from skprune.cli.target import read_target
from skprune.data.encode.cycles import find_phases
from skprune.data.encode.dates import read_dates
from skprune.data.encode.levels import Levels
from skprune.data.encode.numbers import read_numbers

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


N = 120


def columns_of(tmp_path, text, target="y"):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    source = read_source(path)
    return encode_table(source, leave_out=source.names.index(target))


def column_of(tmp_path, name, values, sep=","):
    """A table of this column, a second one and a target: the encoded rows, and what is said."""
    path = tmp_path / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = zip(values, ("abcdefg"[i % 7] for i in range(N)), "ab" * N, strict=False)
        csv.writer(file, delimiter=sep).writerows([(name, "beside", "y"), *rows])
    X, notes = encode_table(read_source(path), leave_out=2)
    (said,) = (note for note in notes if note.endswith(f": {name}") or f": {name} (" in note)
    return X[:, :-7], said.strip()


def test_numbers_are_scaled_and_gaps_are_at_the_median(tmp_path):
    X, notes = columns_of(tmp_path, "a,y\n1,0\n2,1\nNA,0\n,1\n9,0\ninf,1\n")
    values = np.array([1, 2, 2, 2, 9, 2.0])
    np.testing.assert_allclose(X[:, 0], (values - values.mean()) / values.std())
    assert notes == ["columns encoded: 1 number -> 2", "  numbers, 3 missing: a"]


def test_dates_are_numbers(tmp_path):
    text = "iso,other,y\n2024-01-01,01/31/2024,0\n2024-01-03T12:00,02/01/2024,1\n,02/02/2024,0\n"
    X, notes = columns_of(tmp_path, text)
    assert notes == [
        "columns encoded: 2 dates -> 3",
        "  dates, 1 missing: iso",
        "  dates, month first: other",
    ]
    assert X[0, 0] < X[2, 0] < X[1, 0]
    assert X[:, 1].tolist() == [0, 0, 1]
    np.testing.assert_allclose(np.diff(X[:, 2]), np.diff(X[:, 2])[0])


def test_levels_of_text(tmp_path):
    """Missing values are a level, rare levels share one, and text that looks like none is text."""
    town = ["Rome"] * 500 + ["Oslo"] * 480 + [""] * 15 + ["Bern", "Lima", "Cork", "Graz", "Oulu"]
    text = "town,y\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(town))
    X, notes = columns_of(tmp_path, text)
    assert X.sum(axis=0).tolist() == [500, 480, 15, 5]
    assert np.all(X.sum(axis=1) == 1)
    assert notes == ["columns encoded: 1 category (4 levels) -> 4", "  text, 4 levels: town"]


def test_columns_that_say_nothing_are_left_out(tmp_path):
    head = ",id,same,zero,empty,x,y\n"
    text = head + "".join(f"{i},name {i},s,0.0,NA,{i % 5},{i % 2}\n" for i in range(60))
    X, notes = columns_of(tmp_path, text)
    assert X.shape == (60, 1)
    assert notes[2:] == [
        "left out: the column without a name (numbers the rows)",
        "left out: id (nearly unique text)",
        "left out: same, zero (constant)",
        "left out: empty (empty)",
    ]


def test_wide_tables_stay_sparse(tmp_path, monkeypatch):
    text = "a,b,y\n" + "".join(f"{i * i},{'uv'[i % 2]},{i % 3}\n" for i in range(30))
    dense, _ = columns_of(tmp_path, text)
    monkeypatch.setattr("skprune.data.encode.encoder.DENSE_ENTRIES", 10)
    X, _ = columns_of(tmp_path, text)
    assert X.format == "csr"
    np.testing.assert_array_equal(X.toarray(), dense)
    command = ["prune", str(tmp_path / "table.csv"), "--target", "y", "--keep", "0.5"]
    assert main([*command, "--out", str(tmp_path / "kept.csv")]) == 0


def test_huge_numbers_do_not_overflow(tmp_path):
    X, _ = columns_of(tmp_path, "a,y\n1e308,0\n-1e308,1\n1.5e308,0\n")
    assert np.all(np.isfinite(X))


@pytest.mark.parametrize(
    ("values", "task", "kind"),
    [
        (["1", "2", "10"], "auto", "i"),
        (["1.5", "2.5", "1e3"], "auto", "f"),
        (["1.5", "2.5", "1e3"], "classification", "O"),
        (["1", "2", "10"], "regression", "f"),
        (["007", "008", "010"], "auto", "O"),
        (["007", "008", "010"], "regression", "f"),
        (["a", "b", "None"], "auto", "O"),
    ],
)
def test_targets(tmp_path, values, task, kind):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    y = read_target(read_source(path), 1, task)
    assert y.dtype.kind == kind
    assert [str(v) for v in y] == values if kind in "iO" else y.tolist() == list(map(float, values))


def test_typed_targets(tmp_path):
    path = tmp_path / "table.parquet"
    columns = {
        "text": ["1", "NA", "2"],
        "flag": [True, False, True],
        "float": [0.5, 1.0, 2.0],
        "category": pa.array(["u", "v", "u"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    source = read_source(path)
    targets = [read_target(source, at, "auto").tolist() for at in range(4)]
    assert targets == [
        ["1", "NA", "2"],
        ["True", "False", "True"],
        [0.5, 1.0, 2.0],
        ["u", "v", "u"],
    ]


# ---------------------------------------------------------------- numbers, as people write them

TENTHS = np.random.default_rng(0).permutation(np.arange(N) * 311 + 5)  # 0.5 to 3,701.4
EVERY_SEVENTH = np.arange(N) % 7 == 0


def grouped(tenths, group, decimal):
    return f"{tenths / 10:,.1f}".translate(str.maketrans(",.", group + decimal))


@pytest.mark.parametrize("sep", [",", ";"])
@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda t: f"{t / 10:.1f}", "numbers"),
        (lambda t: f" {t / 10:+.6e} ", "numbers"),
        (lambda t: grouped(t, ",", "."), "numbers"),
        (lambda t: grouped(t, "'", "."), "numbers"),
        (lambda t: grouped(t, "\u202f", "."), "numbers"),
        (lambda t: f"{t / 10}".replace(".", ","), "numbers, decimal comma"),
        (lambda t: grouped(t, ".", ","), "numbers, decimal comma"),
        (lambda t: grouped(t, "\u00a0", ","), "numbers, decimal comma"),
        (lambda t: f"{t / 10}%", "numbers, in %"),
        (lambda t: f"{t / 10} %".replace(".", ","), "numbers, in %, decimal comma"),
        (lambda t: "$" + grouped(t, ",", "."), "numbers, in $"),
        (lambda t: "US$ " + grouped(t, ",", "."), "numbers, in US$"),
        (lambda t: grouped(t, ".", ",") + " \u20ac", "numbers, in \u20ac, decimal comma"),
        (lambda t: f"CHF {t / 10}", "numbers, in CHF"),
        (lambda t: f"{t / 10} kg", "numbers, in kg"),
    ],
)
def test_numbers_in_many_notations(tmp_path, write, what, sep):
    X, said = column_of(tmp_path, "price", [write(tenths) for tenths in TENTHS], sep)
    np.testing.assert_allclose(X[:, 0], (TENTHS - TENTHS.mean()) / TENTHS.std(), atol=1e-6)
    assert said == f"{what}: price"


@pytest.mark.parametrize("write", ["-{}", "\u2212{}", "({})", "-${}", "$-{}", "(${})"])
def test_negative_numbers(write):
    written = [write.format(7), write.format(2), write.replace("-", "").format(1)]
    reading = read_numbers(Levels.of(written))
    assert reading.values.tolist() == [-7, -2, -1 if "-" not in write else 1]


def test_euros_of_windows(tmp_path):
    lines = ["preis;y", *(f"{tenths / 10} €;a".replace(".", ",") for tenths in TENTHS)]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    _, notes = encode_table(read_source(tmp_path / "t.csv"), leave_out=1)
    assert notes[1] == "  numbers, in €, decimal comma: preis"


@pytest.mark.parametrize("mark", ["?", "-", "None", "..", "\u2013", "n/a", "NULL", " "])
def test_signs_for_no_value(tmp_path, mark, recwarn):
    values = np.where(EVERY_SEVENTH, mark, [f"{t / 10}" for t in TENTHS])
    X, said = column_of(tmp_path, "power", values)
    assert said == f"numbers, {EVERY_SEVENTH.sum()} missing: power"
    assert len(np.unique(X[EVERY_SEVENTH, 0])) == 1
    np.testing.assert_array_equal(X[:, 1], EVERY_SEVENTH)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("values", "what", "warning"),
    [
        # One line of totals, errors of a spreadsheet, a word for nothing: slips among numbers.
        (
            ["Total", *TENTHS[1:]],
            "numbers, 1 missing: c",
            r"119 values are numbers and 1 are not \('Total'\); these are taken as missing",
        ),
        (np.where(EVERY_SEVENTH, "#DIV/0!", TENTHS), "numbers, 18 missing: c", "'#DIV/0!'"),
        (np.where(EVERY_SEVENTH, "unknown", TENTHS), "numbers, 18 missing: c", "'unknown'"),
        (np.where(EVERY_SEVENTH, "30 lb", "5 kg"), "text, 2 levels: c", "'30 lb'.* as text"),
        # Names among which are numbers.
        (["1", "2", "3", "A", "B"] * 24, "text, 5 levels: c", "'A', 'B'.*all are taken as text"),
        (["0", "1", "2", "3+"] * 30, "text, 4 levels: c", "'3\\+'"),
        (
            [f"A/{i}" if i % 4 == 0 else f"{t}" for i, t in enumerate(TENTHS)],
            "left out: c (nearly unique text)",
            "90 values are numbers and 30 are not .*and 27 more",
        ),
    ],
)
def test_mostly_numbers_is_said(tmp_path, values, what, warning):
    with pytest.warns(UserWarning, match=f"column c: .*{warning}"):
        assert column_of(tmp_path, "c", values)[1] == what


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (["192.168.1.1", "10.0.0.1"] * 60, "text, 2 levels"),
        (["1st", "2nd", "3rd"] * 40, "text, 3 levels"),
        (["p17", "p18"] * 60, "text, 2 levels"),
        (["Chr 1", "Chr 2"] * 60, "text, 2 levels"),
        (["5 kg", "300 g"] * 60, "text, 2 levels"),
        (["01234", "90210"] * 60, "numbers padded with zeros, 2 levels"),
        (["True", "False"] * 60, "text, 2 levels"),
        (["?", "yes", "no"] * 40, "text, 3 levels"),
    ],
)
def test_words_stay_words(tmp_path, values, what):
    assert column_of(tmp_path, "c", values)[1] == f"{what}: c"


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda t: f"{t / 10}".replace(".", ","), "f"),
        (lambda t: f"{t / 10} \u20ac", "f"),
        (lambda t: f"{t / 1000:.2%}", "f"),
        (lambda t: "$" + grouped(t, ",", "."), "f"),
    ],
)
def test_numeric_targets_are_no_classes(tmp_path, write, kind, sep):
    path = tmp_path / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = [(f"{i % 7}", write(tenths)) for i, tenths in enumerate(TENTHS)]
        csv.writer(file, delimiter=sep).writerows([("x", "y"), *rows])
    y = read_target(read_source(path), 1, "auto")
    assert y.dtype.kind == kind
    np.testing.assert_allclose(y / y[0], TENTHS / TENTHS[0])


@pytest.mark.parametrize(
    ("mark", "task", "message"),
    [
        ("?", "auto", "1 of 120 rows have no value there; drop these rows first"),
        ("Total", "auto", r"119 rows hold numbers and 1 do not \('Total'\); drop .*classification"),
        ("Total", "regression", r"1 do not \('Total'\); drop these rows first\.$"),
        ("Total", "classification", "are no classes"),
    ],
)
def test_numeric_targets_with_something_else(tmp_path, mark, task, message):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f"1,{v}\n" for v in [mark, *TENTHS[1:]]))
    with pytest.raises(InputError, match=message):
        read_target(read_source(path), 1, task)


# ------------------------------------------------------------------------------------------ dates

DAYS = pd.date_range("2022-11-20", periods=N, freq="53h")


@pytest.mark.parametrize(
    ("form", "what"),
    [
        ("%Y-%m-%d", "dates"),
        ("%Y/%m/%d %H:%M", "dates"),
        ("%Y-%m-%dT%H:%M:%S.%fZ", "dates"),
        ("%Y-%m-%d %H:%M:%S+00:00", "dates"),
        ("%Y%m%d", "dates"),
        ("%d/%m/%Y", "dates, day first"),
        ("%d.%m.%y", "dates, day first"),
        ("%d-%m-%Y %H:%M:%S", "dates, day first"),
        ("%m/%d/%Y", "dates, month first"),
        ("%m/%d/%Y %I:%M %p", "dates, month first"),
        ("%y-%m-%d", "dates, year first"),
        ("%d %b %Y", "dates"),
        ("%d-%b-%y", "dates"),
        ("%B %d, %Y", "dates"),
    ],
)
def test_dates_in_many_notations(tmp_path, form, what):
    """The order of day and month is that of the whole column, whatever the first value allows."""
    truth = DAYS if "%H" in form or "%I" in form else DAYS.normalize()
    truth = truth if "%S" in form or "%M" not in form else truth.floor("min")
    days = sorted(range(N), key=lambda i: DAYS[i].day > 12)  # those that fit both ways first
    reading = read_dates(Levels.of(DAYS[days].strftime(form)))
    expected = (truth[days] - pd.Timestamp(0)).total_seconds()
    assert reading.values.tolist() == expected.tolist()
    _, said = column_of(tmp_path, "when", DAYS[days].strftime(form))
    assert re.fullmatch(f"{what}, with [a-z, ]+: when", said)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (["01/02/2023", "03/04/2023"] * 60, "dates, month first, but day first fits as well"),
        (["01.02.2023", "03.04.2023"] * 60, "dates, day first, but month first fits as well"),
        (["8:30", "17:45:10", "11:00 PM"] * 40, "dates, times of day"),
        (["1.2.3", "1.2.4"] * 60, "text, 2 levels"),
        (["2023-02-30", "2023-02-31"] * 60, "text, 2 levels"),
    ],
)
def test_dates_that_leave_doubt(tmp_path, values, what):
    assert column_of(tmp_path, "c", values)[1] == f"{what}: c"


def test_zones():
    same = [
        "2024-01-01T12:00:00Z",
        "2024-01-01 14:30+0230",
        "2024-01-01T10:00-02",
        "20240101 12:00",
    ]
    assert len(set(read_dates(Levels.of(same)).values)) == 1


@pytest.mark.parametrize("hours", [1, 5, 24, 40, 100, 240, 700, 3000, 9000, 20_000, 100_000])
@pytest.mark.parametrize("only", ["all", "office", "mondays", "midnight"])
def test_columns_of_a_date_are_not_collinear(hours, only):
    """Such columns bend the rows: what the metric hardly knows is bought with a wrong mix."""
    times = pd.Timestamp("2023-03-05") + pd.to_timedelta(np.linspace(0, hours, 600), "h")
    times = {
        "all": times,
        "office": times[(times.hour >= 9) & (times.hour < 17)],
        "mondays": times[times.day_of_week == 0],
        "midnight": times.normalize(),
    }[only]
    seconds = np.asarray((times - pd.Timestamp(0)).total_seconds())
    phases = find_phases(seconds)
    columns, names = [phase.of(seconds) for phase in phases], {phase.name for phase in phases}
    if len(np.unique(seconds)) > 1:
        with_trend = np.corrcoef([seconds - seconds.mean(), *columns])
        assert np.linalg.eigvalsh(np.atleast_2d(with_trend)).min() > 0.05
    if only == "all":
        assert ("hour" in names) >= (hours >= 48)
        assert ("weekday" in names) >= (hours >= 400)
        assert ("season" in names) >= (hours >= 20_000)


def test_month_shares_of_kept_rows_with_dates(tmp_path):
    """A balanced tenth has the label's share of every month, for all that is known of the date."""
    rng = np.random.default_rng(0)
    when = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.sort(rng.uniform(0, 90, 4000)), "D")
    late = rng.random(4000) < 0.15 + 0.1 * (when.hour > 15)
    table = pd.DataFrame({"when": when.floor("min"), "x": rng.normal(size=4000).round(3)})
    table.assign(y=np.where(late, "late", "ok")).to_csv(tmp_path / "t.csv", index=False)
    command = ["prune", str(tmp_path / "t.csv"), "--target", "y", "--keep", "0.1", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "kept.csv")]) == 0
    kept = pd.read_csv(tmp_path / "kept.csv", parse_dates=["when"])
    shares = (kept["y"] == "late").groupby(kept["when"].dt.month).mean()
    truth = pd.Series(late).groupby(when.month).mean()
    assert np.abs(shares - truth).max() < 0.1


# -------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("Id", range(1, N + 1), "numbers the rows"),
        ("Unnamed: 0", range(N), "numbers the rows"),
        ("x", range(1000, 1000 + N), "numbers the rows"),
        ("x", [0, 0, 1, *range(1, N - 2)], "numbers the rows"),  # two rows are there twice
        ("index", np.random.default_rng(1).permutation(N), "numbers the rows"),
        ("x", [f"{float(i)}" for i in range(N)], "numbers the rows"),
        ("x", np.sort(np.random.default_rng(2).permutation(150)[:N]), "numbers the rows"),
        ("customerID", 7**9 % (10**6 + np.arange(N)), "nearly unique ids"),
        ("user_id", TENTHS * 1009, "nearly unique ids"),
        ("order no", TENTHS * 1009, "nearly unique ids"),
        ("Id", [f"{i:05d}" for i in range(N)], "nearly unique numbers padded with zeros"),
        ("row_id", [f"p{i}" for i in range(N)], "nearly unique text"),
        ("key", [str(uuid.UUID(int=int(t) ** 8)) for t in TENTHS], "nearly unique text"),
    ],
)
def test_ids_are_left_out(tmp_path, name, values, why):
    X, said = column_of(tmp_path, name, values)
    assert said == f"left out: {name} ({why})"
    assert X.shape[1] == 0


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("year", range(1600, 1600 + N), "numbers"),
        ("Jahr", range(1900, 1900 + N), "numbers"),
        ("day", range(N), "numbers"),
        ("epoch", 1_700_000_000 + 3600 * np.arange(N), "numbers"),
        ("price", TENTHS, "numbers"),  # in cents, no two alike
        ("number_of_visits", np.arange(N) // 2, "numbers"),
        ("bid", TENTHS, "numbers"),
        ("store_id", np.arange(N) % 5, "ids, 5 levels"),  # a name, but not of rows
    ],
)
def test_whole_numbers_that_mean_something_stay(tmp_path, name, values, what):
    assert column_of(tmp_path, name, values)[1] == f"{what}: {name}"


def test_ids_of_typed_files(tmp_path):
    ids = pa.array(np.arange(N) + 10**15)
    table = pa.table(
        {"x": TENTHS % 17, "a": ids, "b": ids.cast(pa.float64()), "y": ["a", "b"] * 60}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    _, notes = encode_table(read_source(tmp_path / "t.parquet"), leave_out=3)
    assert notes[-1] == "left out: a, b (numbers the rows)"


# ------------------------------------------------------------------------------------- separators


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b,c\n1,2,3\n", ","),
        ("length, mm;b;y\n0.1;3;no\n", ";"),
        ("length, mm;y, kg\n1,5;2,5\n2,5;1,5\n", ";"),
        ("a;b\n1,5;x\n", ";"),
        ("a\tb, c\n1\tx, y\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("genre|tags,y\nfun|new,1\nfun,2\n", ","),
        ('"a;b",c\n"x;y",1\n', ","),
        ("a;b;c\n1;2;3\n1;2\n3;4;5\n", ";"),
        ("a;b\n", ";"),
        ("alone\n1\n", ","),
    ],
)
def test_separators_are_found(text, delimiter):
    assert find_delimiter(text.splitlines(keepends=True)) == delimiter
