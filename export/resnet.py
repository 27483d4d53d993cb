"""ResNet-50 up to its last pooling: 2048 numbers an image, names and layout of torchvision's and timm's ``resnet50``.

Source: He et al. 2015 (arXiv 1512.03385); the stride of a block lies on its 3 x 3 convolution (version 1.5).
"""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1, and the input beside them."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + beside)


class ResNet50(nn.Module):
    """Images (N, C, H, W) to features (N, 2048), or to ``classes`` outputs by the layer ``fc``."""

    def __init__(self, channels: int = 3, classes: int = 0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for number, count in enumerate(BLOCKS, 1):
            width, blocks = 64 * 2 ** (number - 1), list[nn.Module]()
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if index == 0 and number > 1 else 1))
                inputs = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes) if classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(BLOCKS) + 1):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean(dim=(2, 3)))
