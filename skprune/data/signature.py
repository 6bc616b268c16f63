"""The inputs that a network takes, read from the signature of its forward."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any


@dataclass(frozen=True)
class Signature:
    """The inputs that a network needs and takes; the default is that of an unknown network.

    Attributes
    ----------
    low, high : number
        How many inputs it needs, and how many it takes.
    required : tuple of str
        Names of those that it needs.
    names : tuple of str or None
        Names of all; None if it takes any name.
    """

    low: int = 0
    high: float = math.inf
    required: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None

    def __str__(self) -> str:
        if self.names is not None:
            return f"the network is called as forward({', '.join(self.names)})"
        needed = "".join(f"{name}, " for name in self.required)
        if not needed:
            return "what forward takes is not known"
        return f"the network is called as forward({needed}...)"

    def choose(self, names: Sequence[Any], numbers: Collection[Any] = ()) -> list[Any]:
        """The names that the network takes; ``numbers`` are names of row numbers.

        Raises
        ------
        ValueError
            If a needed input is missing, or none of the inputs is taken.
        """
        if self.names is None:
            chosen = [n for n in names if n not in numbers or n in self.required] or list(names)
        else:
            chosen = [name for name in names if name in self.names]
        missing = [name for name in self.required if name not in names]
        if missing or not chosen:
            raise ValueError(
                f"The inputs are named {list(names)}, and {self}. Name them alike: rename the keys "
                "of the dict or of the items, or the columns of a Hugging Face dataset "
                "(rename_column; remove_columns or select_columns for those that are no inputs)."
            )
        return chosen


#: The signature of a network that is not known yet, or whose forward says nothing.
UNKNOWN = Signature()


def read_signature(forward: Any, *, bound: bool = True) -> Signature:
    """What a forward takes; ``bound`` unless its first parameter is the module itself."""
    try:
        parameters = list(inspect.signature(forward).parameters.values())[not bound :]
    except (TypeError, ValueError):  # traced and compiled ones do not tell
        return UNKNOWN
    kinds = {p.kind for p in parameters}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    in_order = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return Signature(
        low=sum(p.default is Parameter.empty for p in in_order),
        high=math.inf if Parameter.VAR_POSITIONAL in kinds else len(in_order),
        required=tuple(p.name for p in named if p.default is Parameter.empty),
        names=None if Parameter.VAR_KEYWORD in kinds else tuple(p.name for p in named),
    )
