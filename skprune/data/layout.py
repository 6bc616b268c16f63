"""Find the inputs and the target in the items of a dataset, by looking at a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.items import form, is_text, label_key
from skprune.data.signature import Signature
from skprune.data.source import ENOUGH, as_numpy

#: Keys that lead from an item to one of its parts.
Path = tuple[Any, ...]

WRAP = """\
Give the targets as y or as the dataset's .targets, or wrap the dataset so that its items are
(inputs, target), several inputs as a tuple, of the entries that are meant:

    class Pairs(torch.utils.data.Dataset):
        def __init__(self, dataset): self.dataset = dataset
        def __len__(self): return len(self.dataset)
        def __getitem__(self, i):
            item = self.dataset[i]
            return item[0], item[1]"""


@dataclass(frozen=True)
class Layout:
    """The parts of an item that are inputs and target.

    Attributes
    ----------
    inputs : tuple of paths
        One input comes as it is, several as a tuple, those by name as a dict.
    target : path or None
        None if items carry no target.
    named : bool
    within : path
        The tuple or mapping that holds the inputs.
    form : str
        The structure of ``within``; items of another structure are refused.
    agreed : bool
        Whether the target agrees with y or with the dataset's own targets.
    """

    inputs: tuple[Path, ...]
    target: Path | None = None
    named: bool = False
    within: Path = ()
    form: str = ""
    agreed: bool = False

    def split(self, item: Any) -> tuple[Any, Any]:
        """The inputs and the target of an item, or of a collated batch of items."""
        try:
            whole = follow(item, self.within)
            if not self.named and form(whole) != self.form and is_tuple(whole):
                raise mixed({form(whole), self.form})
            parts = [follow(item, path) for path in self.inputs]
            target = None if self.target is None else follow(item, self.target)
        except (KeyError, IndexError, TypeError):
            raise mixed({form(item), self.form}) from None
        if self.named:
            return {path[-1]: v for path, v in zip(self.inputs, parts, strict=True)}, target
        return parts[0] if len(parts) == 1 else tuple(parts), target


@dataclass(frozen=True)
class Sample:
    """A few items, side by side.

    Attributes
    ----------
    name : str
        Name of the dataset, for messages.
    items : list of items, or a batch that a ``collate_fn`` made of them
    collated : bool
        Whether it is such a batch.
    rows : ndarray of int
        Their numbers.
    numbers : list of sets of int
        The numbers of every row in the dataset and in the datasets that it is made of.
    given : ndarray or None
        Targets of all rows that the user gave.
    stored : ndarray or None
        Targets of all rows that the dataset holds beside its items.
    """

    name: str
    items: Any
    collated: bool
    rows: NDArray[np.int64]
    numbers: list[set[int]]
    given: NDArray[Any] | None
    stored: NDArray[Any] | None

    def first(self, path: Path) -> Any:
        """The part of the first item, or that of the whole batch."""
        return follow(self.items if self.collated else self.items[0], path)

    def values(self, path: Path) -> Any:
        """The part of every item."""
        if self.collated:
            return follow(self.items, path)
        try:
            return [follow(item, path) for item in self.items]
        except (KeyError, IndexError, TypeError):
            raise mixed({form(follow(item, path[:-1])) for item in self.items}) from None

    def shape(self, path: Path) -> tuple[int, ...] | None:
        """The shape of the part of one item; None if it has none, or none for each item."""
        value = self.first(path)
        if isinstance(value, Mapping):
            return None
        shape = _shape(value)
        if shape is None:
            return None
        if not self.collated:
            return shape
        return shape[1:] if shape[:1] == (len(self.numbers),) else None

    def entries(self, path: Path) -> list[Path]:
        """Paths to the entries of a tuple."""
        return [(*path, k) for k in range(len(self.first(path)))]

    def leaves(self, path: Path) -> list[Path]:
        """Paths to the innermost entries of nested tuples."""
        if not is_tuple(self.first(path)):
            return [path]
        return [leaf for entry in self.entries(path) for leaf in self.leaves(entry)]

    def keys(self, path: Path) -> list[Any]:
        """The keys of a mapping, strings that only some items have left aside."""
        every = [self.first(path)] if self.collated else self.values(path)
        texts = {key for one in every for key, value in one.items() if is_text(value)}
        if len({frozenset(set(one) - texts) for one in every}) > 1:
            raise mixed({form(one) for one in every})
        return [key for key in every[0] if key not in texts or all(key in one for one in every)]

    def is_text(self, path: Path) -> bool:
        """Whether the part is a string, or several."""
        return is_text(self.first(path))

    def is_scalar(self, path: Path) -> bool:
        """Whether the part is one number."""
        values = self._array(path, ())
        return values is not None and values.dtype.kind in "biuf"

    def is_row_number(self, path: Path) -> bool:
        """Whether the part is the number of the item, judging by these items."""
        values = self._array(path, ())
        if values is None or values.dtype.kind not in "iu" or len(values) < ENOUGH:
            return False
        return all(int(v) in known for v, known in zip(values, self.numbers, strict=True))

    def agrees(self, path: Path) -> bool:
        """Whether the part equals the targets that the user or the dataset gives for these rows."""
        return self.equals(path, self.given) or self.equals(path, self.stored)

    def equals(self, path: Path, targets: NDArray[Any] | None) -> bool:
        """Whether the part is what ``targets`` of all rows hold for these."""
        if targets is None or (found := self._array(path, targets.shape[1:])) is None:
            return False
        expected = targets[self.rows]
        numbers = [values.dtype.kind in "biuf" for values in (found, expected)]
        if all(numbers):
            return bool(np.allclose(found, expected, equal_nan=True))
        return not any(numbers) and bool(np.array_equal(found, expected))

    def _array(self, path: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """The part of every item, if it is of this shape."""
        if self.shape(path) != shape:
            return None
        try:
            return as_numpy(self.values(path))
        except ValueError:
            return None

    def describe(self, path: Path) -> str:
        """The structure of the items in words, for messages."""
        if self.is_row_number(path):
            return "the number of the row"
        value, shape = self.first(path), self.shape(path)
        if isinstance(value, Mapping):
            return form(value)
        return f"{type(value).__name__} of shape {shape}" if shape else type(value).__name__


def find_layout(sample: Sample, takes: Signature) -> Layout:
    """Which parts of the items are the inputs of a network, and which is the target.

    If the targets are known, their entry is found by its values; otherwise the target is the entry
    after the inputs. Row numbers and strings are never inputs, and single numbers are left out if
    the network does not take as many inputs.

    Raises
    ------
    ValueError
        If it cannot be told; the message says what the items hold and how to wrap the dataset.
    """
    whole = _unwrap(sample)
    if isinstance(sample.first(whole), Mapping):
        return _by_name(sample, whole, takes, None)
    if not is_tuple(sample.first(whole)):
        return Layout((whole,))
    top, flat = sample.entries(whole), sample.leaves(whole)
    stages = [top] if flat == top else [top, flat]
    agreed = [any(map(sample.agrees, entries)) for entries in stages]
    if True in agreed:
        stages = stages[agreed.index(True) :]
    known = True in agreed or sample.given is not None
    for entries in stages:
        found = (_known_target if known else _last_target)(sample, entries, takes)
        if found is None:
            continue
        inputs, target = found
        if len(inputs) == 1 and isinstance(sample.first(inputs[0]), Mapping):
            layout = _by_name(sample, inputs[0], takes, target)
        else:
            layout = Layout(tuple(inputs), target, within=whole, form=form(sample.first(whole)))
        return replace(layout, agreed=layout.agreed or True in agreed)
    held = "; ".join(f"item{''.join(f'[{k!r}]' for k in p)}: {sample.describe(p)}" for p in flat)
    raise ValueError(
        f"It cannot be told which parts of the items of the {sample.name} are inputs and which is "
        f"the target. An item holds {held}; {takes}.\n{WRAP}"
    )


def _unwrap(sample: Sample) -> Path:
    """The path to the item itself, within wrappers such as (number, item) or (name, item)."""
    path: Path = ()
    while is_tuple(sample.first(path)):
        entries = sample.entries(path)
        others = [p for p in entries if not sample.is_row_number(p)]
        if len(others) > 1:  # a string at the end may be a target
            others = [p for p in others if p == entries[-1] or not sample.is_text(p)]
        inner = sample.first(others[0]) if len(others) == 1 else None
        if len(entries) == 1 or not (isinstance(inner, Mapping) or is_tuple(inner)):
            break
        path = others[0]
    return path


def _by_name(sample: Sample, path: Path, takes: Signature, target: Path | None) -> Layout:
    """Inputs and target of a mapping; ``target`` is that beside it."""
    keys = sample.keys(path)
    by_name = label_key(keys) if target is None else None
    agreed = [key for key in keys if sample.agrees((*path, key))]
    label = by_name if by_name in agreed or not agreed else agreed[0]
    outside = {by_name} | set(agreed) - set(takes.required)
    names = [key for key in keys if key not in outside and not sample.is_text((*path, key))]
    names = names or agreed  # what is to be restored
    numbers = [key for key in names if sample.is_row_number((*path, key))]
    if not names:
        raise ValueError(
            f"The items of the {sample.name} hold {keys}, none of which is an input beside the "
            "target. Give items with at least one number, array or tensor of inputs."
        )
    chosen = takes.choose(names, numbers)
    return Layout(
        tuple((*path, key) for key in chosen),
        target if label is None else (*path, label),
        named=True,
        within=path,
        form=form(sample.first(path)),
        agreed=bool(agreed),
    )


def _known_target(
    sample: Sample, entries: list[Path], takes: Signature
) -> tuple[list[Path], Path | None] | None:
    """Inputs and target where the values of the targets are known."""
    text = list(filter(sample.is_text, entries))
    targets = [p for p in entries if sample.agrees(p)]
    # Of a single entry the target is the input as well, and of equal ones all but the last may be.
    ways = [targets, targets[-1:]] if len(entries) > 1 else [[]]
    if not targets and sample.given is not None:
        # Labels that the user replaced look like the new ones, or like single numbers.
        last = _without(entries, text, filter(sample.is_row_number, entries))[-1:]
        replaced = last and sample.shape(last[0]) in ((), sample.given.shape[1:])
        ways = [last, []] if replaced and len(entries) > 1 else [[]]
    for outside in ways:
        rest = _without(entries, outside, text)
        numbers = list(filter(sample.is_row_number, rest))
        scalars = filter(sample.is_scalar, rest)
        for left_out in (numbers, [], list(scalars)):
            inputs = _without(rest, left_out)
            if _fits(sample, inputs, takes):
                # Where nothing is known of the network, it says itself that this is too much.
                ambiguous = takes.low > 0 and _is_ambiguous(sample, inputs, takes)
                return None if ambiguous else (inputs, outside[-1] if outside else None)
    return None


def _last_target(
    sample: Sample, entries: list[Path], takes: Signature
) -> tuple[list[Path], Path | None] | None:
    """Inputs and target by their places alone; None if these are ambiguous."""
    text = list(filter(sample.is_text, entries))
    proper = _without(entries, filter(sample.is_row_number, entries))
    arrays = _without(proper, text)
    if len(proper) == 1:
        ways: list[tuple[list[Path], Path | None]] = [(proper, None), (entries, None)]
        return next((way for way in ways if _fits(sample, way[0], takes)), None)
    found = []
    for target in [*arrays[-1:], *(p for p in text if p > arrays[-1])] if arrays else []:
        if is_tuple(sample.first(target)) and sample.shape(target) is None:
            continue
        before = [p for p in entries if p < target and p not in text]
        ways = [(_without(before, _without(entries, proper)), target), (before, target)]
        found += [way for way in ways if _fits(sample, way[0], takes)][:1]
    return None if len(found) != 1 or _is_ambiguous(sample, found[0][0], takes) else found[0]


def _is_ambiguous(sample: Sample, inputs: list[Path], takes: Signature) -> bool:
    """Whether an optional input would get a single number, which may be an id or the target."""
    return len(inputs) > max(1, takes.low) and any(map(sample.is_scalar, inputs))


def _fits(sample: Sample, inputs: list[Path], takes: Signature) -> bool:
    """Whether the network takes that many inputs; of a mapping the names decide."""
    if len(inputs) != 1:
        return bool(inputs) and takes.low <= len(inputs) <= takes.high
    only = sample.first(inputs[0])
    return (
        isinstance(only, Mapping) or takes.low <= (len(only) if is_tuple(only) else 1) <= takes.high
    )


def _without(paths: Sequence[Path], *left_out: Any) -> list[Path]:
    every = {path for some in left_out for path in some}
    return [path for path in paths if path not in every]


def follow(item: Any, path: Path) -> Any:
    """The part of an item that a path leads to."""
    for key in path:
        item = item[key]
    return item


def is_tuple(item: Any) -> bool:
    """Whether an item is several entries; a list of numbers is one input."""
    if isinstance(item, list):
        return any(not isinstance(entry, (Number, str)) for entry in item)
    return isinstance(item, tuple)


def mixed(forms: set[str]) -> ValueError:
    """The error for items of different structure."""
    return ValueError(
        f"Items differ in structure: {' / '.join(sorted(forms))}. Let every item of the dataset "
        "have the same inputs."
    )


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value, or of a sequence whose entries have one shape; None if they differ."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if not isinstance(value, (list, tuple)):
        return tuple(np.shape(value))
    shapes = {_shape(entry) for entry in value}
    if len(shapes) > 1 or None in shapes:  # ragged
        return None
    return (len(value), *(shape for entry in shapes for shape in entry or ()))
