"""Writes tests/reference/*.safetensors: float64 values of encoders that tests/golden does not have.

Run by hand, with torch, torchvision, open_clip_torch, numpy and safetensors installed:

    python tests/torch/reference_values.py tests/reference

The files have the form of tests/golden (its README says how weights and images are filled), with salt "public".
"""

import sys

import numpy
import open_clip.transformer
import torch
import torchvision
from safetensors.torch import save_file

SALT = "public"
TEMPERATURE = 0.5


def fill(name, shape):
    key = 0xCBF29CE484222325
    for byte in f"{SALT}:{name}".encode():
        key = (key ^ byte) * 0x100000001B3 % 2**64
    count = int(numpy.prod(shape, dtype=numpy.int64)) if len(shape) else 1
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(key) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    u = (z >> numpy.uint64(40)).astype(numpy.float64) / 2.0**23 - 1.0
    return torch.from_numpy(u).reshape(tuple(shape))


def weights(name, shape):
    u = fill(name, shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * u.abs()
    if name.endswith("running_mean"):
        return 0.1 * u
    if name.endswith("positional_embedding"):
        return u / shape[-1] ** 0.5
    if len(shape) >= 2:
        return u * (6 / numpy.prod(shape[1:])) ** 0.5
    if name.endswith("weight"):
        return 1 + 0.1 * u
    return 0.1 * u


def clear_weights(name, shape):
    """As `weights`, but batch norms leave all that they normalise clear of the corners of ReLU and ReLU6: a normalised
    value is below 6 (of 8 images, at least 2 x 2 positions), halved below 3, and the shift is 3 for most channels, -4
    (always off) and 10 (always cut off at 6) for some. No rounding decides which way a ReLU goes. In a ResNet, where a
    block's input is added before the ReLU, none is off."""
    u = fill(name, shape)
    if len(shape) != 1 or name.startswith("projector.") or "running" in name:
        return weights(name, shape)
    if name.endswith("weight"):
        return 0.5 * (1 + 0.05 * u)
    off = -4.0 if name.startswith("features.") else 3.0
    return torch.where(u < -0.8, off, torch.where(u > 0.8, 10.0, 3 + 0.1 * u))


def fill_module(module, prefix, weights):
    """Fills every tensor from its name in files, through float32 as an engine that stores float32 sees it."""
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(weights(prefix + name, tensor.shape).to(torch.float32).to(torch.float64))


def probe(name, tensor):
    tensor = tensor.detach().flatten()
    inner = (tensor * fill(f"probe.{name}", tensor.shape)).sum()
    return torch.cat([tensor.norm().reshape(1), inner.reshape(1), tensor[:8]])


def nt_xent(z, temperature):
    z = torch.nn.functional.normalize(z)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z)).roll(len(z) // 2)
    return torch.nn.functional.cross_entropy(similarity, partner)


def images(name, count, side):
    return ((fill(name, [count, 3, side, side]) + 1) / 2).to(torch.float32).to(torch.float64)


def write(path, encoder, features, side, prefix="", weights=weights):
    encoder = encoder.to(torch.float64)
    head = torch.nn.Sequential(torch.nn.Linear(features, 512), torch.nn.ReLU(), torch.nn.Linear(512, 128)).to(torch.float64)
    fill_module(encoder, prefix, weights)
    fill_module(head, "projector.", weights)
    values = {}
    encoder.eval()
    with torch.no_grad():
        values["eval.features"] = encoder(images("image", 2, side))
    encoder.train()
    z = head(encoder(torch.cat([images("view1", 4, side), images("view2", 4, side)])))
    loss = nt_xent(z, TEMPERATURE)
    loss.backward()
    values["train.z"], values["train.loss"] = z.detach(), loss.detach().reshape(1)
    for name, parameter in [(prefix + n, p) for n, p in encoder.named_parameters()] + [
        ("projector." + n, p) for n, p in head.named_parameters()
    ]:
        values["grad." + name] = probe(name, parameter.grad)
    for name, buffer in encoder.named_buffers():
        if buffer.is_floating_point():
            values["stat." + prefix + name] = probe(prefix + name, buffer)
    save_file({name: value.contiguous() for name, value in values.items()}, path)
    print(path, "loss", loss.item())


class Convolutions(torch.nn.Module):
    """The convolutions of a torchvision model (VGG-11-BN up to its last pool), then a global average."""

    def __init__(self, model):
        super().__init__()
        self.features = model.features

    def forward(self, x):
        return self.features(x).mean(dim=(2, 3))


def vit(activation):
    return open_clip.transformer.VisionTransformer(
        image_size=224,
        patch_size=32,
        width=768,
        layers=12,
        heads=12,
        mlp_ratio=4.0,
        output_dim=512,
        act_layer=activation,
    )


folder = sys.argv[1]
write(f"{folder}/vgg11_bn.safetensors", Convolutions(torchvision.models.vgg11_bn()), 512, 64)
resnet18 = torchvision.models.resnet18()
resnet18.conv1, resnet18.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()
resnet18.fc = torch.nn.Identity()
write(f"{folder}/resnet18_cifar_clear.safetensors", resnet18, 512, 32, weights=clear_weights)
write(
    f"{folder}/mobilenet_v2_clear.safetensors",
    Convolutions(torchvision.models.mobilenet_v2()),
    1280,
    64,
    weights=clear_weights,
)
write(f"{folder}/clip_vit_b32.safetensors", vit(open_clip.transformer.QuickGELU), 512, 224, "visual.")
write(f"{folder}/open_clip_vit_b32.safetensors", vit(torch.nn.GELU), 512, 224, "visual.")
