"""Trains an encoder with PyTorch alone, by SimCLR on a list of image files: something for `contraleak audit` to audit.

    python tests/torch/train_simclr.py --list members.txt --epochs 500 --out encoder.pt

members.txt holds a path a line, of images of one size. A ResNet-18 with torchvision's names, 32 channels wide, with the
ImageNet stem, is saved with `torch.save({"state_dict": …, "epoch": …, "optimizer": …})`, as DataParallel names it.
"""

import argparse
import math
import pathlib

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(torch.nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(o)
        self.conv2 = torch.nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = torch.nn.Sequential(torch.nn.Conv2d(i, o, 1, stride, bias=False), torch.nn.BatchNorm2d(o))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.maxpool = torch.nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage in range(4):
            o = width << stage
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(Block(channels, o, 1 if stage == 0 else 2), Block(o, o, 1)))
            channels = o
        self.features = channels

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean(dim=(2, 3))


def augment(images, generator):
    """Random crops, mirrors, brightness, contrast, saturation and grey of a batch [N, 3, S, S] in 0..1."""
    n, _, side, _ = images.shape
    u = lambda low, high: low + (high - low) * torch.rand(n, generator=generator)
    area, ratio = u(0.2, 1.0), torch.exp(u(math.log(3 / 4), math.log(4 / 3)))
    w, h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = u(-1, 1) * (1 - w), u(-1, 1) * (1 - h)
    w = w * torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    theta = torch.stack([torch.stack([w, zero, x], 1), torch.stack([zero, h, y], 1)], 1)
    images = F.grid_sample(images, F.affine_grid(theta, images.shape, align_corners=False), align_corners=False, padding_mode="border")
    one = lambda v: v.reshape(n, 1, 1, 1)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    jittered = (images * one(u(0.6, 1.4))).clamp(0, 1)
    jittered = (jittered + (one(u(0.6, 1.4)) - 1) * (jittered - jittered.mean((1, 2, 3), keepdim=True))).clamp(0, 1)
    jittered = (jittered + (one(u(0.6, 1.4)) - 1) * (jittered - grey)).clamp(0, 1)
    images = torch.where(one(torch.rand(n, generator=generator)) < 0.8, jittered, images)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(images)
    images = torch.where(one(torch.rand(n, generator=generator)) < 0.2, grey, images)
    return (images - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)


def nt_xent(z, temperature):
    z = F.normalize(z)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z)).roll(len(z) // 2))


parser = argparse.ArgumentParser()
parser.add_argument("--list", required=True, help="a path of an image a line")
parser.add_argument("--epochs", type=int, default=500)
parser.add_argument("--batch", type=int, default=100)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--temperature", type=float, default=0.2)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", required=True)
args = parser.parse_args()

torch.manual_seed(args.seed)
generator = torch.Generator().manual_seed(args.seed)
paths = [line for line in pathlib.Path(args.list).read_text().splitlines() if line]
pixels = numpy.stack([numpy.asarray(Image.open(path).convert("RGB")) for path in paths])
images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
encoder = ResNet18(args.width)
head = torch.nn.Sequential(torch.nn.Linear(encoder.features, encoder.features), torch.nn.ReLU(), torch.nn.Linear(encoder.features, 128))
model = torch.nn.Sequential(encoder, head)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
for epoch in range(args.epochs):
    order, losses = torch.randperm(len(images), generator=generator), []
    for batch in order.split(args.batch):
        if len(batch) < args.batch:
            continue
        views = torch.cat([augment(images[batch], generator), augment(images[batch], generator)])
        loss = nt_xent(model(views), args.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if (epoch + 1) % 20 == 0:
        print(epoch + 1, sum(losses) / len(losses), flush=True)
state = {f"module.encoder.{name}": value for name, value in encoder.state_dict().items()}
state |= {f"module.projector.{name}": value for name, value in head.state_dict().items()}
torch.save({"epoch": args.epochs, "arch": "resnet18", "state_dict": state, "optimizer": optimizer.state_dict()}, args.out)
