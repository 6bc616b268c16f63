"""Networks of unusual kinds: examined as what they compute, or refused in one sentence.

The truth is a twin: the same function with the same numbers, written in ordinary operations.
"""

from __future__ import annotations

import copy
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from cases.modules import assert_untouched, blobs, mlp, state_of, train
from cases.pruners import make_pruner
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, rnn
from torch.utils.checkpoint import checkpoint

from skprune import InfluencePruner
from skprune.network import jacobian
from skprune.network.operations import embedding, embedding_bag

pytestmark = [
    pytest.mark.filterwarnings("ignore:The predicted step"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]
X, Y = blobs(n=60)
#: No two rows are the same bag of words: which of such two is kept, rounding would decide.
BAGS = np.unique(np.sort(np.random.default_rng(0).integers(0, 7, (900, 4))), axis=0)
IDS = np.random.default_rng(0).permutation(BAGS)[:60]


def prune(net, X, layers, y=Y, **options):
    given = {"keep": 0.4, "layers": layers, "random_state": 0, **options}
    return make_pruner(model=net, **given).fit(X, y)


def assert_same(odd, twin, X, layers, **options):
    """The same rows for the same reason, and the network as it was."""
    before = state_of(odd)
    found, expected = prune(odd, X, layers, **options), prune(twin, X, layers, **options)
    assert_untouched(odd, before)
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(found.sample_indices_, expected.sample_indices_)


# --- last layers that are linear, and those that only seem so -------------------------------------


class Cosine(nn.Linear):
    def forward(self, x):
        return 10 * functional.linear(functional.normalize(x), functional.normalize(self.weight))


class Margin(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes, bias=False)
        self.register_buffer("scale", torch.tensor(16.0))
        self.register_buffer("margin", torch.tensor(0.2))

    def forward(self, x):
        cosine = functional.linear(functional.normalize(x), functional.normalize(self.weight))
        return self.scale * (cosine - self.margin * self.training)


class LowRank(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.down = nn.Parameter(torch.randn(2, sizes[0]))
        self.up = nn.Parameter(torch.randn(sizes[1], 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


class Rounded(nn.Linear):
    """As in training for quantisation."""

    def forward(self, x):
        step = self.weight.abs().max() / 127
        return functional.linear(x, (self.weight / step).round() * step, self.bias)


class Bytes(nn.Linear):
    """Weights of one byte; ``shape`` packs them otherwise than a linear layer has them."""

    def __init__(self, *sizes, shape=None):
        super().__init__(*sizes)
        weight = self.weight.detach()
        self.size, self.step = weight.shape, float(weight.abs().max() / 127)
        whole = (weight / self.step).round().to(torch.int8)
        self.weight = nn.Parameter(whole.reshape(shape or self.size), requires_grad=False)

    def forward(self, x):
        return functional.linear(x, self.weight.reshape(self.size) * self.step, self.bias)


class Capped(nn.Linear):
    """Linear on the first rows only: ``cap`` is the largest output that they have."""

    cap = float("inf")

    def forward(self, x):
        return super().forward(x).clamp(max=self.cap)


class ByHand(nn.Linear):
    def forward(self, x):
        return x @ self.weight.T + self.bias


class Plus(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 8)), nn.Parameter(torch.randn(3, 2))

    def forward(self, weight):
        return weight + self.up @ self.down


def with_head(head, *after):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), head(8, 3), *after)


def hooked(kind, hook):
    def head(*sizes):
        layer = nn.Linear(*sizes)
        getattr(layer, kind)(hook)
        return layer

    return head


NOT_LINEAR = {
    "cosine": Cosine,
    "cosine without bias": lambda *sizes: Cosine(*sizes, bias=False),
    "margin": Margin,
    "low rank": LowRank,
    "rounded": Rounded,
    "bytes": Bytes,
    "packed bytes": lambda *sizes: Bytes(*sizes, shape=(-1, 1)),
    "scaled by a hook": hooked("register_forward_hook", lambda m, args, made: 3 * made),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_last_layers_that_only_seem_linear(name):
    net = with_head(NOT_LINEAR[name])
    before = state_of(net)
    words = "The last layer '2' .* not x W' \\+ b .* layers=\"all\""
    with pytest.raises(ValueError, match=words):
        prune(net, X, "head")
    assert len(prune(net, X, "all").sample_indices_) == 24
    assert_untouched(net, before)


@pytest.mark.parametrize("after", [False, True])
def test_what_is_linear_on_the_first_rows_only(after):
    net = with_head(nn.Linear if after else Capped, *([nn.Hardtanh(-1e9, 1e9)] if after else []))
    with torch.no_grad():
        largest = net(torch.from_numpy(X)).amax(1)
    order = largest.argsort().numpy()
    assert len(prune(net, X[order], "head", Y[order]).sample_indices_) == 24
    cap = float(largest.median())
    if after:
        net[3].max_val = cap
    else:
        net[2].cap = cap
    with pytest.raises(ValueError, match=r"The last layer '2' .* for all rows"):
        prune(net, X[order], "head", Y[order])


LINEAR = {
    "written by hand": ByHand,
    "weight_norm": lambda *sizes: parametrizations.weight_norm(nn.Linear(*sizes)),
    "spectral_norm": lambda *sizes: parametrizations.spectral_norm(nn.Linear(*sizes)),
    "parametrised": lambda *sizes: parametrize.register_parametrization(
        nn.Linear(*sizes), "weight", Plus()
    ),
    "given more by a hook": hooked("register_forward_pre_hook", lambda m, args: (3 * args[0],)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_other_last_layers_are_examined_with_the_loss_that_they_have(name):
    net = with_head(LINEAR[name])
    before = state_of(net)
    pruner = InfluencePruner(keep=0.4, model=net, random_state=0).fit(X, Y, X_val=X, y_val=Y)
    said = dict(pruner.report_.notes)["layer"]
    assert_untouched(net, before)
    with torch.no_grad():
        loss = float(functional.cross_entropy(net.eval()(torch.from_numpy(X)), torch.from_numpy(Y)))
    assert float(re.search(r"mean loss ([\d.]+) as given", said)[1]) == pytest.approx(
        loss, abs=1e-4
    )


# --- compiled and scripted ------------------------------------------------------------------------


def eager(module):
    return torch.compile(module, backend="eager")


def in_place(net, *, part):
    (net[3] if part else net).compile(backend="eager")
    return net


def by_forward(net):
    net.forward = eager(net.forward)
    return net


COMPILED = {
    "whole": (eager, "3"),
    "inside": (lambda net: nn.Sequential(eager(net)), "0.3"),
    "backbone": (lambda net: nn.Sequential(eager(net[:3]), net[3]), "1"),
    "in place": (lambda net: in_place(net, part=False), "3"),
    "layer": (lambda net: in_place(net, part=True), "3"),
    "forward": (by_forward, "3"),
}


@pytest.mark.parametrize("run", [False, True])
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_network_is_the_one_that_was_compiled(name, run):
    compile_it, layer = COMPILED[name]
    net = mlp()
    odd = compile_it(copy.deepcopy(net)).eval()
    if run:
        with torch.no_grad():
            odd(torch.from_numpy(X))
    assert_same(odd, net, X, "head")
    assert_same(odd, net, X, "all", curvature="cg")
    found, expected = prune(odd, X, [layer]), prune(net, X, ["3"])
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-5)
    said = dict(prune(odd, X, "head").report_.notes)["layer"]
    assert said.startswith(f"{layer}, fitted to its optimum")
    with pytest.raises(ValueError, match=r"no layer named 'none'; it has '0"):
        prune(odd, X, ["none"])


@pytest.mark.parametrize("layers", ["head", "all"])
def test_skorch_compiles(layers):
    net = NeuralNetClassifier(
        mlp, criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0, train_split=None
    )
    torch.manual_seed(0)
    net.set_params(compile=True, compile__backend="eager").fit(X, Y)
    plain = copy.deepcopy(net.module_._orig_mod)
    assert_same(net.module_, plain, X, layers)
    assert len(prune(net, X, layers, verify="retrain", n_seeds=1).sample_indices_) == 24


@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(2, 6))]
)
def test_scripted_networks_have_no_head_that_can_be_seen(make):
    net = mlp().eval()
    odd = make(copy.deepcopy(net))
    with pytest.raises(ValueError, match="pass the module that was scripted or traced"):
        prune(odd, X, "head")
    assert_same(odd, net, X, "all")


def test_a_scripted_backbone_leaves_the_head_to_be_seen():
    net = mlp().eval()
    odd = nn.Sequential(torch.jit.script(copy.deepcopy(net)[:3]), net[3])
    for layers in ("head", "all"):
        assert_same(odd, net, X, layers)


def test_exported_networks_are_refused():
    net = torch.export.export(mlp().eval(), (torch.zeros(2, 6),)).module()
    with pytest.raises(ValueError, match="Pass the module that it was exported from"):
        prune(net, X, "all")


# --- layers="all" ---------------------------------------------------------------------------------


class Body(nn.Module):
    """Two layers; what is between and around them is up to the parts that are given."""

    def __init__(self, between=torch.relu, around=nullcontext, after=lambda out: out):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.between, self.around, self.after = between, around, after

    def forward(self, x):
        with self.around():
            out = self.b(self.between(self.a(x)))
        return self.after(out.to(x.dtype))


class Counting(Body):
    """Writes to its buffers in every way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("last", torch.zeros(8))

    def forward(self, x):
        self.n += 1
        self.mean.mul_(0.9).add_(0.1 * self.a(x).detach().mean(0))
        self.last = self.a(x)[0]
        return super().forward(x)


class TwoNames(Body):
    """One layer by two names."""

    def __init__(self):
        super().__init__()
        self.c = self.b


class Words(nn.Module):
    """Class scores of the mean embedding."""

    def __init__(self, kind=nn.Embedding, pool=lambda found: found.mean(1), **options):
        super().__init__()
        self.e, self.b, self.pool = kind(7, 5, **options), nn.Linear(5, 3), pool

    def forward(self, ids):
        return self.b(torch.tanh(self.pool(self.e(ids))))


def bag(mode, **options):
    return Words(nn.EmbeddingBag, lambda found: found, mode=mode, **options)


class Offsets(Words):
    """The bags one after the other."""

    def forward(self, ids):
        starts = torch.arange(0, ids.numel(), ids.shape[1])
        return self.b(torch.tanh(self.e(ids.reshape(-1), starts)))


class Weighted(Words):
    """Bags with a weight for every id."""

    def forward(self, ids):
        return self.b(
            torch.tanh(
                self.e(ids, per_sample_weights=torch.full(ids.shape, 0.25).to(self.b.weight))
            )
        )


class Functional(Words):
    """The function instead of the layer."""

    def forward(self, ids):
        return self.b(torch.tanh(functional.embedding(ids, self.e.weight, max_norm=0.8).mean(1)))


class Sequences(nn.Module):
    """The last state over the first numbers of a row, packed or masked."""

    def __init__(self, packs=True):
        super().__init__()
        self.rnn, self.b, self.packs = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 3), packs

    def forward(self, x):
        x = x.reshape(len(x), 3, 2)
        lengths = 1 + (x[:, 1:, 0] > 0).sum(1)
        if self.packs:
            packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.b(self.rnn(packed)[1][0])
        states = self.rnn(x)[0]
        return self.b((states * functional.one_hot(lengths - 1, 3)[..., None]).sum(1))


class OldRelu(torch.autograd.Function):
    """A function in the form without ``setup_context``."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class OnceRelu(OldRelu):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return OldRelu.backward(ctx, gradient)


class LegacyRelu(torch.autograd.Function):
    def forward(self, x):
        return x.clamp(min=0)


def mixed():
    return torch.autocast("cpu", dtype=torch.bfloat16)


#: Name -> a network, its twin, and its rows.
TWINS = {
    "autocast": (lambda: Body(around=mixed), Body, X),
    "old function": (lambda: Body(OldRelu.apply), Body, X),
    "forward by numbers": (
        lambda: Body(lambda h: h if h.sum().item() > 1e9 else h.relu()),
        Body,
        X,
    ),
    "numpy": (
        lambda: Body(lambda h: torch.from_numpy(np.maximum(h.detach().numpy(), 0))),
        lambda: Body(lambda h: h.detach().relu()),
        X,
    ),
    "rows squeezed": (lambda: Body(after=torch.squeeze), Body, X),
    "buffers": (Counting, Body, X),
    "two names": (TwoNames, Body, X),
    "packed sequences": (Sequences, lambda: Sequences(packs=False), X),
    "sparse": (lambda: Words(sparse=True), Words, IDS),
    "by frequency": (lambda: Words(scale_grad_by_freq=True), Words, IDS),
    "bag": (lambda: bag("mean"), Words, IDS),
    "sparse bag": (lambda: bag("mean", sparse=True), Words, IDS),
    "padded bag": (
        lambda: bag("sum", padding_idx=3),
        lambda: Words(pool=lambda found: found.sum(1), padding_idx=3),
        IDS,
    ),
    "bag of the largest": (
        lambda: bag("max"),
        lambda: Words(pool=lambda found: found.amax(1)),
        IDS,
    ),
    "bags by offsets": (lambda: Offsets(nn.EmbeddingBag), Words, IDS),
    "weighted bags": (lambda: Weighted(nn.EmbeddingBag, mode="sum"), Words, IDS),
}


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("name", TWINS)
def test_a_network_is_examined_as_its_twin(name, layers):
    make, make_twin, rows = TWINS[name]
    torch.manual_seed(0)
    odd, twin = make().double(), make_twin().double()
    twin.load_state_dict(odd.state_dict(), strict=False)
    if name == "autocast" and layers == "head":  # its features are those of half precision
        assert len(prune(odd, rows, layers).sample_indices_) == 24
    else:
        assert_same(odd, twin, rows, layers, **({"curvature": "cg"} if layers == "all" else {}))


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize(
    "make", [lambda: Words(max_norm=0.8), lambda: bag("mean", max_norm=0.8), Functional]
)
def test_embeddings_that_forward_shortens_come_back_as_they_were(make, layers):
    """The twin has the weights that torch itself leaves behind."""
    torch.manual_seed(0)
    odd, twin = make().double(), Words().double()
    twin.load_state_dict(odd.state_dict())
    with torch.no_grad():
        functional.embedding(torch.arange(7), twin.e.weight, max_norm=0.8)
    assert not torch.equal(odd.e.weight, twin.e.weight)
    assert_same(odd, twin, IDS, layers)


class Normalising(nn.Linear):
    """Writes to its weights."""

    def forward(self, x):
        with torch.no_grad():
            self.weight.copy_(functional.normalize(self.weight))
        return super().forward(x)


def test_weights_that_forward_writes_to():
    torch.manual_seed(0)
    odd, twin = Body().double(), Body().double()
    odd.a = Normalising(6, 8).double()
    twin.load_state_dict(odd.state_dict())
    with torch.no_grad():
        twin.a.weight.copy_(functional.normalize(twin.a.weight))
    found, expected = (prune(net, X, "all", curvature="cg").scores_ for net in (odd, twin))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def inference():
    with torch.inference_mode():
        return mlp()


def saving(reentrant):
    class Saving(Body):
        def forward(self, x):
            return self.b(checkpoint(lambda x: torch.tanh(self.a(x)), x, use_reentrant=reentrant))

    return Saving()


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


#: Name -> a network, its refusal, and the name of a layer that can be examined in spite of it.
REFUSED = {
    "checkpoint": (lambda: saving(False), "the network itself .Saving.: .*checkpoint", "b"),
    "reentrant checkpoint": (
        lambda: saving(True),
        "the network itself .Saving.: .*checkpoint",
        "b",
    ),
    "checkpoint within": (
        lambda: nn.Sequential(nn.Linear(6, 6), saving(True)),
        "the layer '1' .Saving.: .*checkpoint",
        "1.b",
    ),
    "once differentiable": (
        lambda: nn.Sequential(nn.Linear(6, 8), Layer(OnceRelu.apply), nn.Linear(8, 3)),
        "the layer '1' .Layer.: ",
        "2",
    ),
    "without gradients": (
        lambda: Body(around=torch.no_grad),
        "Body.: its outputs have no graph",
        None,
    ),
    "made in inference mode": (inference, "'0.weight' was made in torch.inference_mode", None),
    "one vector for all rows": (
        lambda: Body(after=lambda out: out.mean(0)),
        r"shape \(3, 1\) for \d+ rows",
        None,
    ),
    "legacy function": (
        lambda: nn.Sequential(nn.Linear(6, 8), Layer(lambda x: LegacyRelu()(x)), nn.Linear(8, 3)),
        "in its layer '1': .*LegacyRelu",
        None,
    ),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivatives_is_named_with_a_way_out(name):
    make, words, after = REFUSED[name]
    net = make()
    before = state_of(net)
    with pytest.raises(ValueError, match=words) as refused:
        prune(net, X, "all")
    if after is not None:
        assert "layers='head'" in str(refused.value)
        for layers in ([after], "head"):
            assert len(prune(net, X, layers).sample_indices_) == 24
    if name != "made in inference mode":
        assert_untouched(net, before)


@pytest.mark.parametrize(
    ("ambient", "layers"),
    [
        (torch.inference_mode, "head"),
        (torch.inference_mode, "all"),
        (torch.no_grad, "all"),
        (mixed, "all"),
    ],
)
def test_what_the_caller_is_in_does_not_matter(ambient, layers):
    net = train(mlp(), torch.from_numpy(X), torch.from_numpy(Y), nn.CrossEntropyLoss())
    expected = prune(net, X, layers, batch_size=30)
    with ambient():
        found = prune(net, X, layers, batch_size=29)
        found.group_influence(np.arange(5))
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-3, atol=1e-6)


# --- the pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, 0, -2])
@pytest.mark.parametrize(
    "options",
    [{"mode": mode} for mode in ("sum", "mean", "max")]
    + [{"mode": mode, "offsets": torch.tensor([0, 3, 3, 20])} for mode in ("sum", "mean", "max")]
    + [
        {"offsets": torch.tensor([0, 3, 3, 24]), "include_last_offset": True},
        {"mode": "sum", "per_sample_weights": torch.linspace(0.5, 2, 24).double().reshape(6, 4)},
    ],
)
def test_bags_are_torchs_own(options, padding):
    ids = torch.from_numpy(IDS[:6])
    ids = ids.ravel() if "offsets" in options else ids
    options = {**options, "padding_idx": padding}
    made, gradients = [], []
    for bags in (embedding_bag, functional.embedding_bag):
        weight = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        weight.requires_grad_()
        made.append(bags(ids, weight, **options))
        gradients += torch.autograd.grad(made[-1].square().sum(), weight)
    torch.testing.assert_close(*made)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_shortened_embeddings_are_torchs_own(norm_type):
    weight = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    before, ids = weight.clone(), torch.from_numpy(IDS)
    found = embedding(ids, weight, max_norm=1.0, norm_type=norm_type)
    assert torch.equal(weight, before)
    expected = functional.embedding(ids, weight, max_norm=1.0, norm_type=norm_type)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "way", [jacobian.by_forward_mode, jacobian.by_reverse_mode, jacobian.by_graph]
)
def test_products_with_the_jacobian(way):
    generator = torch.Generator().manual_seed(0)
    A, theta, V = (torch.randn(s, generator=generator).double() for s in ((6, 4), (4,), (3, 4)))
    C = torch.randn(2, 3, 2, generator=generator).double()

    def f(theta):
        return torch.tanh(A @ theta).reshape(3, 2)

    J = torch.autograd.functional.jacobian(f, theta)
    linear = way(f, theta)
    torch.testing.assert_close(linear.outputs, f(theta))
    torch.testing.assert_close(linear.push(V), torch.einsum("bkp,vp->vbk", J, V))
    torch.testing.assert_close(linear.pull(C), torch.einsum("bkp,cbk->cp", J, C))


def test_products_that_contradict_each_other_are_no_derivatives():
    class Doubled(OldRelu):
        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient.detach() * (ctx.saved_tensors[0] > 0)

    with pytest.raises(jacobian.NoDerivativesError):
        jacobian.choose_way(lambda theta: Doubled.apply(theta)[None], torch.ones(3))
