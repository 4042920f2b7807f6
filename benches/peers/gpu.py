#!/usr/bin/env python3
"""Times PyTorch on what gpu_check times, eager and compiled, channels-last, forward and backward; and a copy and a product.

    gpu_check --list > cases.json; gpu.py cases.json --output times.json
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F

ROUNDS = 7
SECONDS = 0.1  # that one measurement takes; the median counts
QUICK_ELEMENTS = 1 << 21  # with --quick, larger inputs are left out
QUICK_SIDE = 32  # and images of the network are no larger
COPIED = 1 << 28  # elements of the f32 array that is copied
SQUARE = 8192  # rows of the bf16 matrices whose product shows the ceiling


def step(x, model, previous):
    """A step of DPM-Solver++ with its coefficients as numbers."""
    denoised = 2.0 * x - 1.7320508 * model
    return 0.8164966 * x + 0.5 * denoised - 0.2 * previous, denoised


def conv_lstm(x, h, c, weight, bias):
    """A cell of a convolutional LSTM."""
    i, f, o, g = F.conv2d(torch.cat([x, h], 1), weight, bias, padding=1).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(x, h, w, u, *biases):
    """A sequence through cuDNN's GRU."""
    return torch.gru(x, h[None], [w, u, *biases], len(biases) > 0, 1, 0.0, False, False, True)


# By the beginning of a case's name; the longest that fits is taken.
PEERS = {
    "attention/": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "conv/3x3": lambda x, w, b: F.conv2d(x, w, b, padding=1),
    "data/standardise": lambda x, m, d: (x - m[:, None, None]) / d[:, None, None],
    "diffusion/q_sample": lambda x, e: 0.70710678 * x + 0.70710678 * e,
    "diffusion/DPM-Solver++": step,
    "elementwise/silu": F.silu,
    "elementwise/add": torch.add,
    "fft/rfft2": lambda x: torch.fft.rfft2(x),
    "fft/irfft2": lambda x: torch.fft.irfft2(torch.view_as_complex(x), (1059, 1799)),
    "index/select": lambda x, i: torch.index_select(x, 0, i),
    "loss/Squared": F.mse_loss,
    "loss/Absolute": F.l1_loss,
    "matmul/": torch.matmul,
    "norm/group with silu": lambda x, w, b: F.silu(F.group_norm(x, 8, w, b)),
    "pool/max": lambda x: F.max_pool2d(x, 2),
    "pool/mean": lambda x: F.avg_pool2d(x, 2),
    "random/normal": lambda x: torch.randn((1, 16, 1059, 1799), device=x.device),
    "random/uniform": lambda x: torch.rand((1, 16, 1059, 1799), device=x.device),
    "random/dropout": lambda x: F.dropout(x, 0.1),
    "recurrent/ConvLSTM": conv_lstm,
    "recurrent/GRU": gru,
    "reduce/sum": torch.sum,
    "resize/bilinear": lambda x: F.interpolate(x, (1059, 1799), mode="bilinear", align_corners=False),
    "resize/fit": lambda x: F.pad(x, (4, 5, 6, 7)),
    "softmax/softmax": lambda x: torch.softmax(x, -1),
}


def peer(name):
    """What PyTorch does for a case; None where it has nothing alike."""
    found = [key for key in PEERS if name.startswith(key)]
    return PEERS[max(found, key=len)] if found else None


def wait(device):
    """Returns once the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(work, device, options):
    """Milliseconds of one call: many are asked for before the device is waited for, as gpu_check does."""
    def calls(count):
        wait(device)
        start = time.perf_counter()
        for _ in range(count):
            work()
        wait(device)
        return (time.perf_counter() - start) / max(count, 1)

    calls(options.rounds // 2)
    count = min(max(int(options.seconds / max(calls(1), 1e-6)), 1), 10_000)
    return 1e3 * statistics.median(calls(count) for _ in range(options.rounds))


def tensor(given, dtype, device):
    """An input with numbers of its kind; images channels-last."""
    if "below" in given:
        return torch.randint(given["below"], given["shape"], device=device)
    x = torch.randn(given["shape"], device=device)
    if "between" in given:
        low, high = given["between"]
        x = torch.rand(given["shape"], device=device) * (high - low) + low
    x = x.to(dtype)
    return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x


def attempt(work):
    """A measurement, or why there is none."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001: whatever PyTorch cannot do is part of the result
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def first(result):
    """The first result."""
    return result[0] if isinstance(result, tuple) else result


def forward(work, inputs):
    """A call without gradients."""
    def call():
        with torch.no_grad():
            work(*inputs)
    return call


def both(work, inputs, leaves):
    """A call, and the gradients of its first result; None where nothing has a gradient."""
    result = first(work(*inputs)) if leaves else None
    if result is None or not result.requires_grad:
        return None
    upstream = torch.ones_like(result)
    return lambda: torch.autograd.grad(first(work(*inputs)), leaves, upstream, allow_unused=True)


def ways(work, call, options, device):
    """Milliseconds of a call of some work, eager and compiled; None where there is no such call."""
    def taken(work):
        called = call(work)
        return None if called is None else measure(called, device, options)

    eager = attempt(lambda: taken(work))
    if eager is None or not options.compile:
        return eager if eager is None else {"eager_ms": eager, "compiled_ms": None}
    torch._dynamo.reset()
    return {"eager_ms": eager, "compiled_ms": attempt(lambda: taken(torch.compile(work)))}


def timed(case, options, device):
    """A case's times."""
    work = peer(case["name"])
    if work is None:
        return {}
    dtype = torch.float32 if case["dtype"] == "f32" else torch.bfloat16
    inputs = [tensor(given, dtype, device) for given in case["inputs"]]
    if case["name"].startswith(("attention/", "fft/")):
        # Attention's heads are no images.
        inputs = [x.contiguous() for x in inputs]
    leaves = [x.requires_grad_() for x, given in zip(inputs, case["inputs"]) if given.get("gradient")]
    return {"forward": ways(work, lambda work: forward(work, inputs), options, device),
            "both": ways(work, lambda work: both(work, inputs, leaves), options, device)}


class Denoiser(torch.nn.Module):
    """The published diffusion network ddpm_ultra_minimal."""

    CHANNELS = [7, 16, 32, 32, 32, 16, 16]

    def __init__(self):
        super().__init__()
        self.time = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64))
        pairs = list(zip(self.CHANNELS, self.CHANNELS[1:]))
        conv = lambda here, there: torch.nn.Conv2d(here, there, 3, padding=1)
        self.convs = torch.nn.ModuleList([conv(a, b) for here, there in pairs for a, b in ((here, there), (there, there))])
        self.norms = torch.nn.ModuleList([torch.nn.GroupNorm(8, there) for _, there in pairs for _ in "12"])
        self.times = torch.nn.ModuleList([torch.nn.Linear(64, there) for _, there in pairs])
        self.out = torch.nn.Conv2d(self.CHANNELS[-1], 7, 1)

    def forward(self, x):
        phases = 50.0 * torch.exp(-math.log(10000) * torch.arange(8, device=x.device) / 7)
        time = self.time(torch.cat([phases.sin(), phases.cos()])[None].to(x.dtype))
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.silu(norm(conv(x)))
            if number % 2 == 0:
                x = x + self.times[number // 2](time)[:, :, None, None]
        return self.out(x)


def step_times(step, options, device):
    """Times of a step of the network on one image, and of its parameters' gradients where they are asked for."""
    size = [min(side, QUICK_SIDE) if options.quick else side for side in step["size"]]
    network = Denoiser().to(device=device, dtype=torch.bfloat16, memory_format=torch.channels_last)
    inputs = [tensor({"shape": [1, 7, *size]}, torch.bfloat16, device)]
    calls = {"forward": lambda work: forward(work, inputs), "both": lambda work: both(work, inputs, list(network.parameters()))}
    return {name: ways(network, calls[name], options, device) for name in step["passes"]}


def ceilings(options, device):
    """Bytes a second of a copy and operations a second of a bf16 matrix product."""
    copied, square = (1 << 20, 256) if options.quick else (COPIED, SQUARE)
    x, y = torch.ones(copied, device=device), torch.empty(copied, device=device)
    copy = attempt(lambda: 8e3 * copied / measure(lambda: y.copy_(x), device, options))
    a, b = (torch.randn((square, square), device=device, dtype=torch.bfloat16) for _ in range(2))
    product = attempt(lambda: 2e3 * square**3 / measure(lambda: a @ b, device, options))
    return {"copy_bytes_per_second": copy, "matmul_operations_per_second": product}


def tell(report, output):
    """Writes down what there is so far, in one step."""
    part = pathlib.Path(f"{output}.part")
    part.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    part.replace(output)


def elements(case):
    """Elements of a case's largest input."""
    return max(torch.Size(given["shape"]).numel() for given in case["inputs"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", help="what gpu_check --list printed")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--output", required=True, help="where the times go as JSON, one after another")
    parser.add_argument("--quick", action="store_true", help="small cases only, a moment each, nothing compiled")
    options = parser.parse_args()
    options.seconds, options.rounds, options.compile = (0.001, 1, False) if options.quick else (SECONDS, ROUNDS, True)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu.py: PyTorch finds no GPU")
    listed = json.load(open(options.cases))
    cases = [case for case in listed["cases"] if not options.quick or elements(case) <= QUICK_ELEMENTS]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    report = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": name, "steps": {}, "cases": {}}
    report |= ceilings(options, device)
    tell(report, options.output)
    for kind, times in [("steps", step_times), ("cases", timed)]:
        for one in listed["steps"] if kind == "steps" else cases:
            outcome = attempt(lambda: times(one, options, device))
            report[kind][one["name"]] = outcome if isinstance(outcome, dict) else {"forward": {"error": outcome}}
            print(one["name"], report[kind][one["name"]], file=sys.stderr, flush=True)
            tell(report, options.output)


if __name__ == "__main__":
    main()
