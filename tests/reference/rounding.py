"""How far PyTorch's stored f32 gradients are from those of the same inputs in f64.

    python tests/reference/rounding.py [FOLDER of ops_dev.json]

For every case of the operations that `tests/tensor/reference.rs` excepts, it prints the worst error of the stored
gradient in units of the test's tolerance, 1e-5 relative + 1e-6: above 1, no other f32 result can be asked to be nearer.
It also prints that error as a share of the greatest element.
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/reference")
stored = load_file(folder / "ops_dev.safetensors")
cases = json.loads((folder / "ops_dev.json").read_text())["cases"]


def convolution(case, x):
    a = case["args"]
    names = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return F.conv2d(x["x"], x["w"], x.get("b"), **{k: a.get(k, v) for k, v in names.items()})


def transposed(case, x):
    a = case["args"]
    names = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    return F.conv_transpose2d(x["x"], x["w"], x.get("b"), **{k: a.get(k, v) for k, v in names.items()})


def gelu(case, x):
    return F.gelu(x["x"], approximate="tanh")


RUN = {"conv2d": (convolution, "w"), "conv_transpose2d": (transposed, "w"), "gelu_tanh": (gelu, "x")}

for case in cases:
    run, leaf = RUN.get(case["op"], (None, None))
    name = case["case"]
    given = stored.get(f"in.{name}.d_y")
    if run is None or given is None or f"g.{name}.{leaf}" not in stored:
        continue
    inputs = {i: stored[f"in.{name}.{i}"] for i in case["inputs"] if f"in.{name}.{i}" in stored}
    inputs = {i: x.double().requires_grad_() for i, x in inputs.items() if x.is_floating_point()}
    run(case, inputs).backward(given.double())
    truth, found = inputs[leaf].grad, stored[f"g.{name}.{leaf}"].double()
    error = (found - truth).abs()
    worst = (error / (1e-5 * truth.abs() + 1e-6)).max().item()
    share = (error.max() / truth.abs().max()).item()
    print(f"{name:40} d_{leaf}: {worst:6.2f} times the tolerance, {share:.1e} of the greatest element")
