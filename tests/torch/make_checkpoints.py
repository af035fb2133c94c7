"""Writes the checkpoints in tests/data/torch with PyTorch itself. Run by hand, from the repository's root:

    python tests/torch/make_checkpoints.py

Every weight of n elements holds i / 4 - 1 for i in 0..n, in row-major order, so that a reader's result can be told
without PyTorch.
"""

import argparse
import collections
import os

import numpy as np
import torch
from torch import nn

FOLDER = os.path.join("tests", "data", "torch")


def weight(*shape, dtype=torch.float32):
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float64) / 4 - 1).reshape(shape).to(dtype)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 1, bias=False)

    def forward(self, x):
        return self.conv1(x) + x


class Encoder(nn.Module):
    """The smallest thing with a torchvision ResNet's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.layer1 = nn.Sequential(Block())
        self.fc = nn.Linear(2, 3)
        self.register_buffer("mask", torch.tensor([True, False]))
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(weight(*tensor.shape))
                elif tensor.dtype == torch.int64:
                    tensor.fill_(7)

    def forward(self, x):
        return self.fc(self.layer1(self.bn1(self.conv1(x))).mean((2, 3)))


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Encoder()
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.input_resolution = 224
        self.sizes = [1, 2]

    def forward(self, x):
        return self.visual(x) * self.logit_scale


class ContrastiveEncoders(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder_q, self.encoder_k = Encoder(), Encoder()
        self.register_buffer("queue", weight(3, 4))
        self.register_buffer("queue_ptr", torch.tensor([2]))


def save(name, value, **settings):
    torch.save(value, os.path.join(FOLDER, name), **settings)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    encoder = Encoder()
    save("plain.pt", encoder.state_dict())
    save("protocol4.pt", encoder.state_dict(), pickle_protocol=4)
    save("protocol5.pt", encoder.state_dict(), pickle_protocol=5)

    model = nn.DataParallel(ContrastiveEncoders())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "encoder" in name:
                tensor.copy_(weight(*tensor.shape))
    save(
        "moco.pth.tar",
        {
            "epoch": 200,
            "arch": "resnet50",
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "best": np.float64(0.75),
            "args": argparse.Namespace(lr=0.03, data="photos", gpus=[0, 1]),
            "sets": {1, 2},
            "device": torch.device("cpu"),
        },
    )

    shared = weight(12)
    base = weight(3, 4)
    save(
        "views.pt",
        {
            "half": weight(5, dtype=torch.float16),
            "brain": weight(5, dtype=torch.bfloat16),
            "double": weight(5, dtype=torch.float64),
            "beyond": torch.tensor([1.0, 1e300], dtype=torch.float64),
            "transposed": base.t(),
            "slice": base[1:, ::2],
            "shared.first": shared[:6].view(2, 3),
            "shared.second": shared[6:],
            "parameter": nn.Parameter(weight(3)),
            "number": torch.tensor(2.5),
            "empty": torch.empty(0, 3),
            "expanded": torch.tensor([1.5]).expand(4),
            "counter": torch.tensor(9, dtype=torch.int32),
            "indices": torch.arange(4),
            "complex": torch.ones(2, dtype=torch.complex64),
            "eight": torch.ones(2).to(torch.float8_e4m3fn),
            "unsigned": torch.ones(2).to(torch.uint16),
            "sparse": torch.eye(2).to_sparse(),
            "with_attribute": collections.OrderedDict(),
        },
    )
    with_attribute = nn.Parameter(weight(2))
    with_attribute.note = "kept by PyTorch"
    plain_attribute = weight(2)
    plain_attribute.note = "kept by PyTorch"
    save("attributes.pt", {"parameter": with_attribute, "tensor": plain_attribute})

    torch.jit.save(torch.jit.script(Visual()), os.path.join(FOLDER, "script.pt"))
    save("module.pt", encoder)
    save("legacy.pt", {"w": weight(3)}, _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    save("no_sum.pt", {"w": weight(3)})


if __name__ == "__main__":
    main()
