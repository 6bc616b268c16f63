"""Rows of Hugging Face datasets: columns, labels, formats, loaders, and select."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from cases.rows import ORDER, N, X, Y, gather
from numpy.testing import assert_array_equal
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

from skprune.data.signature import read_signature
from skprune.data.sources import PrunedSubset, as_source, is_dataset

datasets = pytest.importorskip("datasets")

IDS = np.arange(3 * N).reshape(N, 3)
WORDS = [f"row {i}" for i in range(N)]


def make(name="label", /, *, shift=0, **columns):
    """Texts, their tokens and embeddings, and labels."""
    data = {"text": WORDS, "words": [[w] for w in WORDS], "input_ids": (IDS + shift).tolist()}
    data |= {"embedding": X.tolist(), **columns}
    if name:
        data[name] = Y.tolist()
    return datasets.Dataset.from_dict(data)


def make_padded(rows):
    """A collate_fn that pads as transformers' collators do; at the top, for the workers."""
    ids = [torch.as_tensor(row["input_ids"]) for row in rows]
    labels = torch.tensor([row["label"] for row in rows])
    return {"input_ids": torch.nn.utils.rnn.pad_sequence(ids, True), "labels": labels}


class TestRows:
    def test_columns(self):
        """Every column of numbers, in order and in any other; no text and no label."""
        source = as_source(make())
        for size in (1, 4, 100):
            for rows in (None, ORDER):
                inputs, positions = gather(source, size, rows)
                at = np.arange(N) if rows is None else rows
                assert_array_equal(positions, at)
                assert list(inputs) == ["input_ids", "embedding"]
                assert_array_equal(inputs["input_ids"], IDS[at])
                assert_array_equal(inputs["embedding"], X[at])
        assert inputs["input_ids"].dtype == torch.int64
        assert len(source) == N

    def test_no_rows_asked_for(self):
        assert list(as_source(make()).batches(2, [])) == []

    @pytest.mark.parametrize("kind", [None, "torch", "numpy", "pandas", "arrow", "python"])
    def test_formats(self, kind):
        dataset = make().with_format(kind)
        source = as_source(dataset)
        assert_array_equal(gather(source)[0]["input_ids"], IDS)
        assert_array_equal(source.targets(), Y)
        assert source.take([1, 2]).format["type"] == dataset.format["type"]
        assert dataset.format["columns"] == make().column_names  # the user's own is as it was

    def test_chosen_columns(self):
        dataset = make().with_format("torch", columns=["embedding"], dtype=torch.float64)
        inputs, _ = gather(as_source(dataset))
        assert list(inputs) == ["embedding"]
        assert inputs["embedding"].dtype == torch.float64
        assert_array_equal(as_source(dataset).targets(), Y)

    @pytest.mark.parametrize(
        ("forward", "expected"),
        [
            (lambda input_ids: None, ["input_ids"]),
            (lambda embedding, input_ids=None, mask=None: None, ["input_ids", "embedding"]),
            (lambda input_ids, **more: None, ["input_ids", "embedding"]),
            (lambda idx, **more: None, ["input_ids", "embedding", "idx"]),
            (None, ["input_ids", "embedding"]),
        ],
    )
    def test_columns_that_forward_names(self, forward, expected):
        """The number of the row, as GLUE has it, is an input to those only who name it."""
        dataset = make(idx=list(range(N)))
        for rows in (dataset, dataset.shuffle(seed=0)):
            source = as_source(rows, takes=read_signature(forward))
            assert list(gather(source)[0]) == expected
            assert "idx" in source.take([1]).column_names

    def test_columns_that_forward_lacks(self):
        message = r"named \['input_ids', 'embedding'\], and .* forward\(x\).*remove_columns"
        with pytest.raises(ValueError, match=message):
            as_source(make(), takes=read_signature(lambda x: None))

    def test_images(self):
        pixels = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
        features = datasets.Features({"image": datasets.Image()})
        rows = {"image": [Image.fromarray(p) for p in pixels]}
        dataset = datasets.Dataset.from_dict(rows, features=features)
        inputs, _ = gather(as_source(dataset, [0, 1, 0]))
        assert_array_equal(inputs["image"], pixels.transpose(0, 3, 1, 2))

    def test_selected_rows(self):
        source = as_source(make().select([8, 6, 4]))
        assert_array_equal(gather(source)[0]["input_ids"], IDS[[8, 6, 4]])
        assert_array_equal(source.targets(), Y[[8, 6, 4]])

    @pytest.mark.parametrize("kind", ["set", "with"])
    def test_transform(self, kind):
        """Rows that code of the user's makes as they are asked for."""

        def double(rows):
            return {"a": [2 * torch.tensor(r) for r in rows["embedding"]], "labels": rows["label"]}

        dataset = make()
        if kind == "set":
            dataset.set_transform(double)
        else:
            dataset = dataset.with_transform(double)
        source = as_source(dataset)
        inputs, _ = gather(source, indices=ORDER)
        assert list(inputs) == ["a"]
        assert_array_equal(inputs["a"], 2 * X[ORDER])
        assert_array_equal(source.targets(), Y)
        assert source.fingerprint() is None
        assert isinstance(source.take([1]), datasets.Dataset)


class TestTargets:
    @pytest.mark.parametrize("label", ["labels", "label", "target", "targets", "y"])
    def test_names(self, label):
        source = as_source(make(label))
        assert_array_equal(source.targets(), Y)
        assert source.targets().dtype == np.int64
        assert label not in gather(source)[0]

    def test_only_class_label(self):
        dataset = make(None, sort=Y.tolist()).cast_column("sort", datasets.ClassLabel(3))
        assert_array_equal(as_source(dataset).targets(), Y)
        assert "sort" not in gather(as_source(dataset))[0]

    def test_several_class_labels(self):
        dataset = make(None, fine=Y.tolist(), coarse=Y.tolist())
        for name in ("fine", "coarse"):
            dataset = dataset.cast_column(name, datasets.ClassLabel(3))
        with pytest.raises(ValueError, match="no targets that could be found"):
            as_source(dataset).targets()

    def test_y_goes_before(self):
        source = as_source(make(), 1 - Y)
        assert_array_equal(source.targets(), 1 - Y)
        assert "label" not in gather(source)[0]

    def test_words(self):
        assert as_source(make(None, label=WORDS)).targets().tolist() == WORDS

    def test_several_outputs(self):
        found = as_source(make(None, label=X.tolist())).targets()
        assert_array_equal(found, X)

    @pytest.mark.parametrize("label", [[None, *Y[1:].tolist()], [[0]] * (N - 1) + [[0, 1]]])
    def test_missing_and_ragged(self, label):
        with pytest.raises(ValueError, match="as y"):
            as_source(make(None, label=label)).targets()


class TestTogether:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_loader(self, workers):
        ragged = make(None, input_ids=[[1] * (i + 1) for i in range(N)], label=Y.tolist())
        loader = DataLoader(ragged, 2, True, collate_fn=make_padded, num_workers=workers)
        source = as_source(loader)
        shapes = [tuple(inputs["input_ids"].shape) for inputs, _ in source.batches(4)]
        assert shapes == [(4, 4), (4, 8), (3, 11)]
        assert_array_equal(source.targets(), Y)
        assert source.take([0, 4])["text"][:] == ["row 0", "row 4"]

    def test_inside_torch_datasets(self):
        dataset = make().with_format("torch", columns=["embedding", "label"])
        both = ConcatDataset([dataset, Subset(dataset, [4, 2])])
        source = as_source(both)
        assert_array_equal(source.targets(), np.r_[Y, Y[[4, 2]]])
        assert_array_equal(gather(source)[0]["embedding"], np.r_[X, X[[4, 2]]])
        assert isinstance(source.take([1]), PrunedSubset)
        assert source.fingerprint() == as_source(both).fingerprint() is not None

    def test_take(self):
        kept = as_source(make()).take(np.array([1, 5]))
        assert isinstance(kept, datasets.Dataset)
        assert kept["text"][:] == ["row 1", "row 5"]
        assert kept.column_names == make().column_names


class TestFingerprint:
    def test_content(self):
        one, same, other = (as_source(make(shift=s)).fingerprint() for s in (0, 0, 1))
        assert isinstance(one, str)
        assert one == same != other

    def test_rows_and_format(self):
        dataset = make()
        kinds = [dataset, dataset.select([0, 1]), dataset.with_format("torch", dtype=torch.float64)]
        kinds.append(dataset.with_format("torch", columns=["embedding"]))
        assert len({as_source(kind).fingerprint() for kind in kinds}) == 4


class TestErrors:
    def test_several_splits(self):
        splits = datasets.DatasetDict({"train": make(), "test": make()})
        assert is_dataset(splits)
        with pytest.raises(ValueError, match=r"splits \(train, test\).*dataset\['train'\]"):
            as_source(splits)

    @pytest.mark.parametrize("wrap", [lambda d: d, DataLoader])
    def test_streaming(self, wrap):
        stream = wrap(make().to_iterable_dataset())
        assert is_dataset(stream)
        with pytest.raises(ValueError, match="streaming"):
            as_source(stream)

    def test_text_only(self):
        with pytest.raises(ValueError, match=r"none of which is a number.*okenize"):
            as_source(make().select_columns(["text", "words", "label"]))

    def test_ragged(self):
        ragged = make(input_ids=[[1] * (i + 1) for i in range(N)])
        with pytest.raises(ValueError, match=r"\['input_ids'\].*DataCollatorWithPadding"):
            next(as_source(ragged).batches(4))

    def test_no_rows(self):
        with pytest.raises(ValueError, match="no rows"):
            as_source(make().select([]))

    def test_length_of_y(self):
        with pytest.raises(ValueError, match="y has 3 entries for 11 rows of the Dataset"):
            as_source(make(), [1, 2, 3])


def test_package_is_not_imported():
    """Whoever has no such dataset does not pay for the package."""
    code = (
        "import sys; from skprune.data.sources import as_source; as_source([[1]], [0]);"
        "print('datasets' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
