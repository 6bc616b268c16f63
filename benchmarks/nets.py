"""Networks for small images: sequences that end in a linear layer, its inputs before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from benchmarks.resnet import resnet18

#: Images whose patches are whitened, and what is added to the variances.
WHITENED_IMAGES, FLOOR = 2000, 1e-2

#: Makes a network for images (n, channels, side, side) like these and so many classes.
Builder = Callable[[Tensor, int], nn.Sequential]


class Residual(nn.Sequential):
    """Adds its input to what its layers make of it."""

    def forward(self, x: Tensor) -> Tensor:
        """Of a batch."""
        return x + super().forward(x)


def whitening(images: Tensor, stride: int) -> nn.Conv2d:
    """A fixed convolution whose outputs on 2 x 2 patches are uncorrelated, and their negatives."""
    some = images[:WHITENED_IMAGES].float()
    patches = nn.functional.unfold(some, 2, stride=2).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    kernel = (vectors / (values + FLOOR).sqrt()).T.reshape(-1, images.shape[1], 2, 2)
    layer = nn.Conv2d(images.shape[1], 2 * len(kernel), 2, stride, bias=False)
    layer.weight.data = torch.cat([kernel, -kernel])
    return layer.requires_grad_(False)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]


def fast(
    images: Tensor,
    n_classes: int,
    *,
    widths: Sequence[int],
    stride: int = 1,
    depth: int = 2,
    residual: bool = True,
) -> nn.Sequential:
    """Whitened patches, then groups of a convolution, pooling, and ``depth`` further ones."""
    layers: list[nn.Module] = [whitening(images, stride), nn.GELU()]
    inputs = 4 * 2 * images.shape[1]
    for width in widths:
        first, norm = _convolution(inputs, width)
        layers += [first, nn.MaxPool2d(2), norm, nn.GELU()]
        more = [m for _ in range(depth) for m in (*_convolution(width, width), nn.GELU())]
        layers += [Residual(*more) if residual else nn.Sequential(*more)] if depth else []
        inputs = width
    return nn.Sequential(
        *layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(inputs, n_classes)
    )


def _resnet18(images: Tensor, n_classes: int, *, width: int) -> nn.Sequential:
    return resnet18(width, images.shape[1], n_classes)


NETS: dict[str, Builder] = {
    "fast": partial(fast, widths=(64, 256, 256)),
    "small": partial(fast, widths=(32, 48, 72), stride=2),
    "small plain": partial(fast, widths=(32, 48, 72), stride=2, residual=False),
    "small shallow": partial(fast, widths=(48, 96), stride=2, depth=1),
    "slim": partial(fast, widths=(16, 32, 48), stride=2, depth=1),
    "slim plain": partial(fast, widths=(16, 32, 48), stride=2, depth=1, residual=False),
    "slim deep": partial(fast, widths=(16, 32, 48), stride=2),
    "slim shallow": partial(fast, widths=(24, 48), stride=2, depth=1),
    "tiny": partial(fast, widths=(8, 16), stride=2, depth=1),
    "tiny plain": partial(fast, widths=(8, 16), stride=2, residual=False),
    "resnet18": partial(_resnet18, width=64),
    "resnet18, width 8": partial(_resnet18, width=8),
}
#: Architectures to search among, by the size of their widths.
SPACES: dict[str, tuple[str, ...]] = {}


def _space(space: str, base: int, stride: int) -> dict[str, Builder]:
    found: dict[str, Builder] = {}
    for width, depth, groups, residual in product((base, 3 * base), (0, 2), (2, 3), (True, False)):
        if depth == 0 and residual:
            continue  # there is nothing to go past
        widths = [width * 2**group for group in range(groups)]
        name = f"{space}: {groups} groups from {width}, depth {depth}"
        found[name + ", residual" * residual] = partial(
            fast, widths=widths, stride=stride, depth=depth, residual=residual
        )
    return found


for space, base, stride in (("tiny", 4, 2), ("small", 8, 2), ("full", 32, 1)):
    SPACES[space] = tuple(searched := _space(space, base, stride))
    NETS |= searched
