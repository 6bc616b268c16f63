"""What a network computes is known whole, or not at all: after any change, another digest."""

from __future__ import annotations

import copy
import enum
import functools
import importlib
import os
import subprocess
import sys
import textwrap
import threading
import types
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cases.modules import Scaled, blobs
from torch import nn
from torch.nn.utils import parametrizations

from skprune import InfluencePruner, TorchProxy
from skprune.data.content import UnknownContentError, content

FACTOR, TABLE, NUMBERS, WEIGHTS = 1.0, {"scale": 1.0}, [1.0, 2.0], np.ones(6)
PARTIAL = functools.partial(nn.functional.leaky_relu, negative_slope=0.1)
helpers = types.ModuleType("helpers_of_the_user")
exec("def bend(x): return x.abs()", vars(helpers))


class Kind(enum.Enum):
    SOFT = 1
    HARD = 2


@dataclass
class Options:
    scale: float = 1.0


def twice(function):
    @functools.wraps(function)
    def run(self, x):
        return 2 * function(self, x)

    return run


def once(function):
    return functools.wraps(function)(lambda self, x: function(self, x))


def helper(x):
    return x * FACTOR


def inner(x):
    return helper(x)


@functools.lru_cache
def remembered(x):
    return helper(x)


class Net(nn.Module):
    """Its outputs depend on everything that a network may use."""

    slope = 0.1

    def __init__(self):
        super().__init__()
        self.drop, self.act, self.b = nn.Dropout(0.1), nn.LeakyReLU(0.1), nn.Linear(6, 3, False)
        nn.init.ones_(self.b.weight)
        self.scales, self.options, self.kind = [1.0], Options(), Kind.SOFT
        self.mean, self.chosen, self.own = np.zeros(6), lambda x: x.neg(), Scaled(1.0)
        self.names, self.me = {"a", "b"}, [self]

    def forward(self, x):
        x = self.encode(self.act(x)) * self.slope + self.twofold + sum(self.scales)
        x = inner(x) + remembered(x) + helpers.bend(x) + TABLE["scale"] * sum(NUMBERS)
        x = PARTIAL(nn.functional.silu(x)) + torch.from_numpy(WEIGHTS + self.mean)
        return self.b(self.own(self.chosen(self.drop(x))) * self.options.scale + self.kind.value)

    @once
    def encode(self, x):
        return x

    @property
    def twofold(self):
        return 2 * self.slope


HERE = sys.modules[__name__]
CHANGES = {
    "a method": lambda p, net: p.setattr(Net, "encode", lambda self, x: x.flip(1)),
    "a method of the network": lambda p, net: p.setattr(
        net, "encode", types.MethodType(lambda self, x: x.flip(1), net), raising=False
    ),
    "a decorator": lambda p, net: p.setattr(Net, "encode", twice(Net.encode.__wrapped__)),
    "what is decorated": lambda p, net: p.setattr(Net, "encode", once(lambda self, x: 3 * x)),
    "a property": lambda p, net: p.setattr(Net, "twofold", property(lambda self: 3 * self.slope)),
    "a class attribute": lambda p, net: p.setattr(Net, "slope", 0.2),
    "a global number": lambda p, net: p.setattr(HERE, "FACTOR", 2.0),
    "a global function": lambda p, net: p.setattr(HERE, "helper", lambda x: 3 * x),
    "a global dict": lambda p, net: p.setitem(TABLE, "scale", 2.0),
    "a global list": lambda p, net: p.setattr(HERE, "NUMBERS", [*NUMBERS, 1.0]),
    "a global array": lambda p, net: p.setattr(HERE, "WEIGHTS", 2 * WEIGHTS),
    "a global partial": lambda p, net: p.setattr(
        HERE, "PARTIAL", functools.partial(nn.functional.leaky_relu, negative_slope=0.2)
    ),
    "a module of the user": lambda p, net: p.setattr(helpers, "bend", lambda x: x.exp()),
    "a function of torch": lambda p, net: p.setattr(nn.functional, "silu", lambda x: x.exp()),
    "a layer of torch": lambda p, net: p.setattr(nn.LeakyReLU, "forward", lambda self, x: x.exp()),
    "a list": lambda p, net: net.scales.append(1.0),
    "a set": lambda p, net: net.names.add("c"),
    "an array": lambda p, net: net.mean.__setitem__(0, 1.0),
    "a lambda": lambda p, net: p.setattr(net, "chosen", lambda x: x.exp()),
    "an object": lambda p, net: p.setattr(net.own, "scale", 2.0),
    "an object's code": lambda p, net: p.setattr(Scaled, "__call__", lambda self, x: x.exp()),
    "a dataclass": lambda p, net: p.setattr(net.options, "scale", 2.0),
    "an enum": lambda p, net: p.setattr(net, "kind", Kind.HARD),
    "a layer's option": lambda p, net: p.setattr(net.act, "negative_slope", 0.2),
    "a layer's number": lambda p, net: p.setattr(net.drop, "p", 0.2),
    "a weight": lambda p, net: net.b.weight.data.__setitem__((0, 0), 2.0),
    "a forward hook": lambda p, net: net.act.register_forward_hook(lambda m, x, out: 2 * out),
    "a hook before": lambda p, net: net.act.register_forward_pre_hook(lambda m, x: (2 * x[0],)),
    "a parametrization": lambda p, net: parametrizations.weight_norm(net.b),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_another_content(change, monkeypatch):
    net = Net()
    before = content(net)
    assert content(copy.deepcopy(net)) == content(Net()) == before
    with monkeypatch.context() as patch:
        CHANGES[change](patch, net)
        assert content(net) != before
    assert content(Net()) == before


def scaled(scale):
    return lambda x: (scale * x).tanh()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.relu, torch.tanh),
        (nn.functional.gelu, nn.functional.relu),
        (lambda x: (2.0 * x).tanh(), lambda x: (3.0 * x).tanh()),
        (lambda x: x in {1, 2}, lambda x: x in {1, 3}),
        (scaled(1.0), scaled(3.0)),
        (lambda x, scale=1.0: x * scale, lambda x, scale=2.0: x * scale),
        (lambda x, *, scale=1.0: x * scale, lambda x, *, scale=2.0: x * scale),
        ([nn.ReLU()], [nn.LeakyReLU(0.5)]),
        ({"a": 1}, {"a": 2}),
        ((1, 23), (12, 3)),
        ("1", 1),
        (torch.float32, torch.float64),
        (torch.ones(2), np.ones(2, np.float32)),
        (np.array(["a", None], object), np.array(["b", None], object)),
        (np.array(["2020"], "M8[D]"), np.array(["2021"], "M8[D]")),
        (pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": ["y", None]})),
        (pd.Series(["a", "b"], dtype="category"), pd.Series(["a", "a"], dtype="category")),
        (sp.eye(3, format="csr"), sp.eye(4, format="csr")),
        (nn.LSTM(2, 2), nn.LSTM(2, 3)),
        (nn.ReLU, nn.GELU),
        (len, max),
        ("x".upper, "y".upper),
        (np.add, np.subtract),
        (torch.no_grad()(lambda x: x), torch.no_grad()(lambda x: -x)),
    ],
)
def test_values(one, other):
    assert content(one) == content(copy.deepcopy(one)) != content(other)


UNKNOWN = {
    "a lock": lambda tmp: threading.Lock(),
    "a file": lambda tmp: (tmp / "a").open("w"),
    "a generator": lambda tmp: (i for i in [1]),
    "thread's own": lambda tmp: threading.local(),
    "in a list": lambda tmp: [{"a": (threading.Lock(),)}],
    "captured": lambda tmp: (lambda lock: lambda x: lock and x)(threading.Lock()),
    "eval": lambda tmp: lambda x: eval("x"),
    "open": lambda tmp: lambda x: open("x"),  # noqa: SIM115
    "python within numpy": lambda tmp: np.frompyfunc(lambda x: x, 1, 1),
    "a traced network": lambda tmp: torch.jit.trace(nn.Linear(6, 3), torch.ones(2, 6)),
}


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_what_does_not_tell_is_unknown(kind, tmp_path):
    net = Net()
    net.strange = UNKNOWN[kind](tmp_path)
    with pytest.raises(UnknownContentError, match=r"Net\.(strange|_modules)"):
        content(net)


def test_files_of_the_user_are_read_with_what_they_import(tmp_path, monkeypatch):
    """Another process, in which sets and ids are others, agrees; after any change none does."""
    (tmp_path / "part").mkdir()
    files = {
        "__init__": "",
        "used": "SCALE = 1\ndef helper(x): return x * SCALE\n",
        "late": "def bend(x): return x\n",
        "net": """
            from torch import nn
            from . import used
            class Net(nn.Module):
                names = {"a", "b", "c"}
                def forward(self, x):
                    from .late import bend
                    return bend(used.helper(x))
        """,
    }
    for name, text in files.items():
        (tmp_path / "part" / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    net, used, late = (importlib.import_module(f"part.{name}") for name in ("net", "used", "late"))
    first = content(net.Net())
    code = "import part.net, part.late; from skprune.data.content import content; "
    command = [sys.executable, "-B", "-c", code + "print(content(part.net.Net()))"]
    other = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    assert other.stdout.strip() == first
    monkeypatch.setattr(used, "SCALE", 2)
    second = content(net.Net())
    monkeypatch.setattr(late, "bend", lambda x: x.exp())
    assert len({first, second, content(net.Net())}) == 3


class Hidden(nn.Module):
    """What it computes is a matter of something that neither numbers nor code tell."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.b = nn.Linear(6, 3)

    def forward(self, x):
        return self.b(x * float(os.environ["SCALE_OF_THE_TEST"]))


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.filterwarnings("ignore:The predicted step")
def test_what_comes_out_is_looked_at(layers, monkeypatch):
    (X, y), net = blobs(n=60), Hidden()
    pruner = InfluencePruner(keep=0.4, model=TorchProxy(net, layers=layers), random_state=0)
    scores = []
    for scale in ("1", "2"):
        monkeypatch.setenv("SCALE_OF_THE_TEST", scale)
        scores.append(pruner.fit(X, y).scores_)
    assert not np.array_equal(*scores)
