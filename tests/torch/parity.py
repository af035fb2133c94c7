"""Compares `contraleak encode` with PyTorch on checkpoints that PyTorch itself writes, in each accepted form.

    python tests/torch/parity.py target/release/contraleak FOLDER_OF_IMAGES [WORK_FOLDER]

For every encoder and form: weights are drawn at random (batch norms get statistics of their own), the file is written by
torch.save, torch.jit.save or safetensors, contraleak encodes the images, and the smallest cosine over all images between
both programs' features is printed. Needs torch, torchvision, open_clip_torch, pillow, numpy, safetensors. Run by hand.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy
import open_clip
import open_clip.modified_resnet
import open_clip.transformer
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import InterpolationMode, v2

binary, images = sys.argv[1], pathlib.Path(sys.argv[2])
work = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())
work.mkdir(exist_ok=True)
COUNT = 8
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

paths = sorted(p for p in images.rglob("*") if p.suffix in (".png", ".jpg"))[:: max(1, len(list(images.rglob("*"))) // COUNT)][:COUNT]
sample = work / "images"
sample.mkdir(exist_ok=True)
for place, path in enumerate(paths):
    # Several sizes and shapes, so that preparation is compared too.
    picture = Image.open(path).convert("RGB").resize((256 + 40 * (place % 3), 256 + 56 * (place % 2)), Image.BICUBIC)
    picture.save(sample / f"{place:02}.png")
pictures = [Image.open(p).convert("RGB") for p in sorted(sample.glob("*.png"))]


def prepared(steps, constants):
    batch = torch.stack([torch.from_numpy(numpy.asarray(steps(p)).copy()).permute(2, 0, 1).float() / 255 for p in pictures])
    mean, std = (torch.tensor(c).reshape(1, 3, 1, 1) for c in constants)
    return (batch - mean) / std


def crop(short, side, filter):
    return v2.Compose([v2.Resize(short, filter), v2.CenterCrop(side)])


def randomised(module):
    generator = torch.Generator().manual_seed(1)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.75 + 0.5 * torch.rand(buffer.shape, generator=generator))
    # CLIP's residual branches begin at zero, which would test nothing.
    for name, parameter in module.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.uniform_(parameter, 0.1, 0.5, generator=generator)
    return module.eval()


class Headless(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.features = module.features

    def forward(self, x):
        return self.features(x).mean(dim=(2, 3))


class Clip(torch.nn.Module):
    """A whole CLIP by the names of its files: the image tower and something of a text tower."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual
        self.positional_embedding = torch.nn.Parameter(torch.randn(77, 16))
        self.text_projection = torch.nn.Parameter(torch.randn(16, 16))
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6))

    def forward(self, image):
        return self.visual(image)


def resnet(build):
    model = build(weights=None)
    model.fc = torch.nn.Identity()
    return randomised(model)


def features_of(path, *options):
    out = work / "features.safetensors"
    command = [binary, "encode", "--encoder", path, "--data", f"folder:{sample}", "--out", out, *options]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{run.stderr}")
    return load_file(out)["features"], run.stderr


def compare(what, path, expected, *options):
    got, said = features_of(path, *options)
    cosine = torch.nn.functional.cosine_similarity(got.double(), expected.double()).min().item()
    relative = ((got - expected).norm() / expected.norm()).item()
    print(f"{what:58} smallest cosine {cosine:.9f}, relative error {relative:.1e}", "" if cosine > 0.99999 else "TOO LOW", flush=True)
    return said


def half(state, kind):
    return {name: value.to(kind) if value.is_floating_point() else value for name, value in state.items()}


torch.manual_seed(0)
usual = prepared(crop(256, 224, InterpolationMode.BILINEAR), IMAGENET)
with torch.no_grad():
    model = resnet(torchvision.models.resnet18)
    expected, state = model(usual), model.state_dict()
    forms = {
        "torch.save(state_dict)": lambda p: torch.save(state, p),
        "{'state_dict', 'epoch', 'optimizer'} of DataParallel": lambda p: torch.save(
            {
                "epoch": 7,
                "arch": "resnet18",
                "state_dict": {f"module.{n}": v for n, v in state.items()},
                "optimizer": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict(),
            },
            p,
        ),
        "MoCo: module.encoder_q., encoder_k., queue": lambda p: torch.save(
            {
                "state_dict": {f"module.encoder_q.{n}": v for n, v in state.items()}
                | {f"module.encoder_k.{n}": v * 2 for n, v in state.items()}
                | {"module.encoder_q.fc.weight": torch.randn(128, 512), "module.encoder_q.fc.bias": torch.randn(128)}
                | {"module.queue": torch.randn(128, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
            },
            p,
        ),
        "Lightning: state_dict of model.backbone.": lambda p: torch.save(
            {
                "epoch": 1,
                "global_step": 3,
                "pytorch-lightning_version": "2.0",
                "state_dict": {f"model.backbone.{n}": v for n, v in state.items()},
                "hyper_parameters": {"lr": 0.1},
            },
            p,
        ),
        "parameters of nn.Parameter": lambda p: torch.save({n: torch.nn.Parameter(v, requires_grad=False) for n, v in state.items()}, p),
        "SimCLR: f.0, f.1, f.3 … and g": lambda p: torch.save(
            {
                {"conv1": "f.0", "bn1": "f.1", "layer1": "f.3", "layer2": "f.4", "layer3": "f.5", "layer4": "f.6"}[n.split(".")[0]]
                + "."
                + n.split(".", 1)[1]: v
                for n, v in state.items()
            }
            | {"g.0.weight": torch.randn(512, 512)},
            p,
        ),
        "safetensors": lambda p: save_file(state, p),
        "safetensors behind backbone.": lambda p: save_file({f"backbone.{n}": v for n, v in state.items()}, p),
        "TorchScript": lambda p: torch.jit.save(torch.jit.trace(model, usual[:1]), p),
    }
    for name, write in forms.items():
        path = work / "form.pt"
        write(path)
        # The SimCLR layout is that of CIFAR code, so that its normalisation has to be named.
        options = ["--normalization", "imagenet", "--size", "224"] if name.startswith("SimCLR") else []
        compare(f"resnet18, {name}", path, expected, *options)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        rounded = half(state, kind)
        model.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in rounded.items()})
        torch.save(rounded, work / "form.pt")
        compare(f"resnet18, torch.save in {kind}", work / "form.pt", model(usual))
        save_file(rounded, work / "form.safetensors")
        compare(f"resnet18, safetensors in {kind}", work / "form.safetensors", model(usual))

    for name, build in [("resnet34", torchvision.models.resnet34), ("resnet50", torchvision.models.resnet50), ("resnet101", torchvision.models.resnet101)]:
        model = resnet(build)
        torch.save(model.state_dict(), work / "form.pt")
        compare(f"{name}, torch.save(state_dict)", work / "form.pt", model(usual))
    for name, build in [("mobilenet_v2", torchvision.models.mobilenet_v2), ("vgg11_bn", torchvision.models.vgg11_bn)]:
        model = randomised(build(weights=None))
        torch.save(model.state_dict(), work / "form.pt")
        compare(f"{name}, torch.save(state_dict)", work / "form.pt", Headless(model)(usual))

    clip = prepared(crop(224, 224, InterpolationMode.BICUBIC), CLIP)
    vit = lambda activation: open_clip.transformer.VisionTransformer(224, 32, 768, 12, 12, 4.0, output_dim=512, act_layer=activation)
    towers = {
        "clip-rn50": (open_clip.modified_resnet.ModifiedResNet([3, 4, 6, 3], 1024, 32, 224, 64), []),
        "clip-vit-b32": (vit(open_clip.transformer.QuickGELU), []),
        "open-clip-vit-b32": (vit(torch.nn.GELU), ["--arch", "open-clip-vit-b32"]),
    }
    for name, (tower, options) in towers.items():
        model = Clip(randomised(tower)).eval()
        expected = model(clip)
        torch.save(model.state_dict(), work / "form.pt")
        compare(f"{name}, torch.save(state_dict)", work / "form.pt", expected, *options)
        torch.save({"epoch": 1, "state_dict": {f"module.{n}": v for n, v in model.state_dict().items()}}, work / "form.pt")
        compare(f"{name}, open_clip's training checkpoint", work / "form.pt", expected, *options)
        rounded = half(model.state_dict(), torch.float16)
        model.load_state_dict({n: v.float() for n, v in rounded.items()})
        expected = model(clip)
        traced = torch.jit.trace(model, clip[:1])
        torch.jit.save(traced.half(), work / "form.pt")
        compare(f"{name}, TorchScript in half precision", work / "form.pt", expected, *options)
