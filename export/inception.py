"""Inception v3 as the Frechet inception distance uses it, up to its last pooling: 2048 numbers an image.

The network of TensorFlow's release of 2015-12-05, which differs from torchvision's: average pooling in the blocks
leaves the padding out of its mean, the last block takes the maximum instead, and there are 1008 classes. Names are
those of torchvision's Inception3, so that the published weights ``pt_inception-2015-12-05`` fit. Source: Szegedy et al.
2016 (arXiv 1512.00567); the differences: the notes of pytorch-fid, Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

CLASSES = 1008
FEATURES = 2048


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


Step = tuple[str, int, int | tuple[int, int], int | tuple[int, int]]
"""Name, channels of the output, size and padding of a convolution."""


class Block(nn.Module):
    """Branches side by side. ``branches``: steps of each; ``pool``: name and channels of the one that pools first."""

    def __init__(self, inputs: int, branches: Sequence[Sequence[Step]], pool: tuple[str, int], maximum: bool) -> None:
        super().__init__()
        self.paths = []
        for branch in branches:
            channels, names = inputs, []
            for name, outputs, size, padding in branch:
                setattr(self, name, ConvNorm(channels, outputs, size, 1, padding))
                channels = outputs
                names.append(name)
            self.paths.append(names)
        setattr(self, pool[0], ConvNorm(inputs, pool[1], 1))
        self.pool, self.maximum = pool[0], maximum

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [*(self._along(names, x) for names in self.paths), getattr(self, self.pool)(self._pooled(x))], 1
        )

    def _along(self, names: Sequence[str], x: Tensor) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.maximum:
            return functional.max_pool2d(x, 3, 1, 1)
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def block_35(inputs: int, pooled: int) -> Block:
    """Return a block of the 35 x 35 grid (figure 5 of the paper)."""
    fives = [("branch5x5_1", 48, 1, 0), ("branch5x5_2", 64, 5, 2)]
    threes = [("branch3x3dbl_1", 64, 1, 0), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 1)]
    return Block(inputs, [[("branch1x1", 64, 1, 0)], fives, threes], ("branch_pool", pooled), maximum=False)


def block_17(middle: int) -> Block:
    """Return a block of the 17 x 17 grid (figure 6), whose 7 x 7 filters are rows and columns."""
    row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))
    once = [("branch7x7_1", middle, 1, 0), ("branch7x7_2", middle, *row), ("branch7x7_3", 192, *column)]
    twice = [
        ("branch7x7dbl_1", middle, 1, 0),
        ("branch7x7dbl_2", middle, *column),
        ("branch7x7dbl_3", middle, *row),
        ("branch7x7dbl_4", middle, *column),
        ("branch7x7dbl_5", 192, *row),
    ]
    return Block(768, [[("branch1x1", 192, 1, 0)], once, twice], ("branch_pool", 192), maximum=False)


class Shrink35(nn.Module):
    """From the 35 x 35 grid to 17 x 17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(288, 384, 3, 2)
        self.branch3x3dbl_1 = ConvNorm(288, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, 1, 1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], 1)


class Shrink17(nn.Module):
    """From the 17 x 17 grid to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(768, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, 2)
        self.branch7x7x3_1 = ConvNorm(768, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), 1, (0, 3))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), 1, (3, 0))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, functional.max_pool2d(x, 3, 2)], 1)


class Block8(nn.Module):
    """A block of the 8 x 8 grid (figure 7), whose 3 x 3 filters end in a row and a column beside each other."""

    def __init__(self, inputs: int, *, maximum: bool) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), 1, (0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), 1, (1, 0))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, 1, 1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), 1, (0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), 1, (1, 0))
        self.branch_pool = ConvNorm(inputs, 192, 1)
        self.maximum = maximum

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        if self.maximum:
            pooled = functional.max_pool2d(x, 3, 1, 1)
        else:
            pooled = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        parts = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class FidInception(nn.Module):
    """Images (N, 3, 299, 299) in [-1, 1) to features (N, 2048). ``fc``, the classes, is loaded and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, 1, 1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = block_35(192, 32), block_35(256, 64), block_35(288, 64)
        self.Mixed_6a = Shrink35()
        self.Mixed_6b, self.Mixed_6c = block_17(128), block_17(160)
        self.Mixed_6d, self.Mixed_6e = block_17(160), block_17(192)
        self.Mixed_7a = Shrink17()
        self.Mixed_7b, self.Mixed_7c = Block8(1280, maximum=False), Block8(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))
