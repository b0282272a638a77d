# SPDX-License-Identifier: Apache-2.0
"""A detector in the manner of YOLO, for the benchmark: SiLU, split, concat, pooling, resize, and a decoded head.

Its weights are random and such that the network keeps what it computes within range and does not amplify rounding: with
a gain of 1.6 in place of 1.5, f16 differs from f32 by 3e-2, with 1.5 by 5e-4.
"""

import torch
from torch import nn

SIZE = 640
GAIN, HEAD_GAIN = 1.5, 4.5  # of what a convolution makes of its inputs
CLASSES = 80
BINS = 16  # of a distance from a cell to a side of its box
STRIDES = (8, 16, 32)


def scale(conv, gain):
    nn.init.normal_(conv.weight, std=gain / conv.weight[0].numel() ** 0.5)


class Conv(nn.Module):
    def __init__(self, inputs, outputs, size=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        scale(self.conv, GAIN)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, channels, shortcut):
        super().__init__()
        self.first, self.second, self.shortcut = Conv(channels, channels, 3), Conv(channels, channels, 3), shortcut

    def forward(self, x):
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class Split(nn.Module):
    """Half of the channels go through the blocks; what each makes is concatenated."""

    def __init__(self, inputs, outputs, blocks, shortcut):
        super().__init__()
        self.half = outputs // 2
        self.enter = Conv(inputs, outputs)
        self.blocks = nn.ModuleList(Residual(self.half, shortcut) for _ in range(blocks))
        self.leave = Conv((2 + blocks) * self.half, outputs)

    def forward(self, x):
        parts = list(self.enter(x).split((self.half, self.half), 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Poolings of several sizes, one upon another."""

    def __init__(self, channels):
        super().__init__()
        self.enter, self.leave = Conv(channels, channels // 2), Conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Head(nn.Module):
    """Distances as distributions over bins, and scores of the classes, of one grid."""

    def __init__(self, channels, box, scores):
        super().__init__()
        self.box = nn.Sequential(Conv(channels, box, 3), Conv(box, box, 3), nn.Conv2d(box, 4 * BINS, 1))
        self.scores = nn.Sequential(Conv(channels, scores, 3), Conv(scores, scores, 3), nn.Conv2d(scores, CLASSES, 1))
        scale(self.box[-1], HEAD_GAIN)
        scale(self.scores[-1], HEAD_GAIN)

    def forward(self, x):
        return torch.cat((self.box(x), self.scores(x)), 1).flatten(2)


class Detector(nn.Module):
    """[N,3,640,640] to [N,84,8400]: x, y, width and height as parts of the picture, then a score for each class."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), Split(32, 32, 1, True))
        self.to8 = nn.Sequential(Conv(32, 64, 3, 2), Split(64, 64, 2, True))
        self.to16 = nn.Sequential(Conv(64, 128, 3, 2), Split(128, 128, 2, True))
        self.to32 = nn.Sequential(Conv(128, 256, 3, 2), Split(256, 256, 1, True), Pyramid(256))
        self.resize = nn.Upsample(scale_factor=2, mode="nearest")
        self.down16, self.down8 = Split(384, 128, 1, False), Split(192, 64, 1, False)
        self.step16, self.up16 = Conv(64, 64, 3, 2), Split(192, 128, 1, False)
        self.step32, self.up32 = Conv(128, 128, 3, 2), Split(384, 256, 1, False)
        self.heads = nn.ModuleList(Head(channels, 64, 80) for channels in (64, 128, 256))
        centres, strides = [], []
        for stride in STRIDES:
            line = (torch.arange(SIZE // stride) + 0.5) * stride / SIZE
            y, x = torch.meshgrid(line, line, indexing="ij")
            centres.append(torch.stack((x.flatten(), y.flatten())))
            strides.append(torch.full((1, len(line) ** 2), stride / SIZE))
        self.register_buffer("centres", torch.cat(centres, 1))
        self.register_buffer("strides", torch.cat(strides, 1))
        self.register_buffer("bins", torch.arange(float(BINS)).reshape(1, BINS, 1, 1))

    def forward(self, x):
        at8 = self.to8(self.stem(x))
        at16 = self.to16(at8)
        at32 = self.to32(at16)
        middle = self.down16(torch.cat((self.resize(at32), at16), 1))
        fine = self.down8(torch.cat((self.resize(middle), at8), 1))
        middle = self.up16(torch.cat((self.step16(fine), middle), 1))
        coarse = self.up32(torch.cat((self.step32(middle), at32), 1))
        found = torch.cat([head(grid) for head, grid in zip(self.heads, (fine, middle, coarse))], 2)
        box, scores = found.split((4 * BINS, CLASSES), 1)
        weights = box.reshape(box.shape[0], 4, BINS, -1).transpose(1, 2).softmax(1)
        near, far = ((weights * self.bins).sum(1) * self.strides).split((2, 2), 1)
        low, high = self.centres - near, self.centres + far
        return torch.cat(((low + high) / 2, high - low, scores.sigmoid()), 1)
