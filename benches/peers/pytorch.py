"""contraleak and PyTorch at the same work, in turns: A B A B, a fresh process each, medians and their ratio.

    python -m venv peers && peers/bin/pip install torch torchvision
    cargo build --release
    peers/bin/python benches/peers/pytorch.py step
    peers/bin/python benches/peers/pytorch.py step --width 16
    peers/bin/python benches/peers/pytorch.py encode
    peers/bin/python benches/peers/pytorch.py loss
    peers/bin/python benches/peers/pytorch.py step --batch 512 --device cuda            # TF32 off
    peers/bin/python benches/peers/pytorch.py step --batch 512 --device cuda --tf32
    peers/bin/python benches/peers/pytorch.py step --batch 512 --device cuda --autocast
    peers/bin/python benches/peers/pytorch.py step --batch 512 --device cuda --autocast --mixed

Step: SimCLR on ResNet-18 with the CIFAR stem, NT-Xent, Adam. PyTorch is handed ready views, contraleak also makes them.
Encode: the same encoder in evaluation mode. Loss: NT-Xent with its gradient. Not part of the tests.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time


def encoder(width):
    """ResNet-18 with the CIFAR stem, `width` channels in its first stage."""
    import torch
    import torchvision

    model = torchvision.models.resnet18()
    model.conv1 = torch.nn.Conv2d(3, width, 3, 1, 1, bias=False)
    model.bn1 = torch.nn.BatchNorm2d(width)
    model.maxpool, model.fc = torch.nn.Identity(), torch.nn.Identity()
    model.inplanes = width
    for stage in range(4):
        layer = model._make_layer(torchvision.models.resnet.BasicBlock, width << stage, 2, stride=1 if stage == 0 else 2)
        setattr(model, f"layer{stage + 1}", layer)
    return model


def nt_xent(z, temperature=0.5):
    import torch

    z = torch.nn.functional.normalize(z)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    return torch.nn.functional.cross_entropy(similarity, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def pytorch(args):
    """Seconds of each timed turn, after two that are not timed."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    torch.manual_seed(0)
    device = torch.device(args.device)
    autocast = torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16, args.autocast)
    if args.work == "loss":
        z = torch.randn(args.rows, 128, device=device, requires_grad=True)

        def turn():
            z.grad = None
            nt_xent(z).backward()

    elif args.work == "encode":
        model = encoder(args.width).to(device).eval()
        x = torch.randn(2 * args.batch, 3, 32, 32, device=device)

        def turn():
            with torch.no_grad(), autocast:
                model(x)

    else:
        model = encoder(args.width).to(device)
        features = 8 * args.width
        head = torch.nn.Sequential(torch.nn.Linear(features, features), torch.nn.ReLU(), torch.nn.Linear(features, 128))
        model = torch.nn.Sequential(model, head.to(device))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = torch.amp.GradScaler(device.type, enabled=args.autocast and device.type == "cuda")
        x = torch.randn(2 * args.batch, 3, 32, 32, device=device)

        def turn():
            with autocast:
                loss = nt_xent(model(x).float())
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    seconds = []
    for _ in range(args.runs + 2):
        start = time.perf_counter()
        turn()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[2:]


def contraleak(args):
    """The median of one process, in seconds."""
    shape = ["--width", str(args.width)]
    command = {
        "step": ["step", *shape, "--batch", str(args.batch), "--steps", str(args.runs)],
        "encode": ["encode", *shape, "--batch", str(2 * args.batch), "--runs", str(args.runs)],
        "loss": ["loss", "--rows", str(args.rows), "--runs", str(args.runs)],
    }[args.work]
    exact = ["--exact-conv"] if args.exact_conv else []
    if args.mixed and args.work == "step":
        command += ["--precision", "mixed"]
    told = json.loads(subprocess.check_output([args.contraleak, "bench", *command, *exact, "--json"], stderr=subprocess.DEVNULL))
    return {
        "step": lambda: told["step_ms"] * 1e-3,
        "encode": lambda: told["batch_ms"] * 1e-3,
        "loss": lambda: told["both"]["median"],
    }[args.work]()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["step", "encode", "loss"])
    parser.add_argument("--contraleak", default="target/release/contraleak")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--runs", type=int, default=5, help="timed runs in a turn")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=32, help="images; twice as many views")
    parser.add_argument("--rows", type=int, default=16384, help="rows of the loss")
    parser.add_argument("--device", default="cpu", help="PyTorch's: cpu or cuda")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--autocast", action="store_true")
    parser.add_argument("--mixed", action="store_true", help="contraleak's steps with --precision mixed")
    parser.add_argument("--exact-conv", action="store_true", help="contraleak's direct convolutions")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(statistics.median(pytorch(args))))
        return
    ours, theirs = [], []
    for turn in range(args.rounds):
        ours.append(contraleak(args))
        theirs.append(json.loads(subprocess.check_output([sys.executable, *sys.argv, "--worker"])))
        print(f"turn {turn + 1}: contraleak {ours[-1]:.3f} s, PyTorch {theirs[-1]:.3f} s, ratio {theirs[-1] / ours[-1]:.3f}", flush=True)
    a, b = statistics.median(ours), statistics.median(theirs)
    ratios = sorted(t / o for o, t in zip(ours, theirs))
    unit = f", {2 * args.batch / a:.1f} and {2 * args.batch / b:.1f} images/s" if args.work != "loss" else ""
    print(f"medians: contraleak {a:.3f} s, PyTorch {b:.3f} s{unit}; contraleak reaches {b / a:.3f} of PyTorch ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
