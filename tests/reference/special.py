"""Writes special.safetensors: what PyTorch's elementwise functions give for special numbers, and their gradients.

Run: python tests/reference/special.py  (needs numpy and torch; float32 throughout, as the numbers are special there)

Functions of one number: `map.NAME` and its gradient `map.NAME.g`, for a dy of 1. Functions of two: `zip.NAME` of every
pair, and the gradients `zip.NAME.gx` and `zip.NAME.gy`. Inputs are repeated 16 times: PyTorch works on lanes and on
what is left over with different code, and it is checked that both say the same. Where they do not, it is printed, and
what the lanes say is stored.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

GREAT, SMALL = float(np.finfo(np.float32).max), 1e-40
NUMBERS = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, SMALL, -SMALL, GREAT, -GREAT, 0.5, -0.5, 3.0, -3.0, 100.0]

MAPS = {
    "neg": torch.neg,
    "add_scalar": lambda x: x + 1.5,
    "mul_scalar": lambda x: x * -2.5,
    "recip": torch.reciprocal,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "exp": torch.exp,
    "ln": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp_crossed": lambda x: x.clamp(1, -1),
    "clamp_nan": lambda x: x.clamp(float("nan"), 1),
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
} | {f"powf({c})": (lambda x, c=c: x.pow(c)) for c in (0.0, 1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 1.5)}

ZIPS = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}

REPEATS = 16


def same(a, b):
    return (a.view(np.int32) == b.view(np.int32)) | (np.isnan(a) & np.isnan(b))


def once(name, tensor):
    """The first of the repetitions, all of which must be the same."""
    rows = tensor.detach().numpy().reshape(REPEATS, -1)
    if not same(rows[0], rows[-1]).all():
        print(f"{name}: the last lane differs: {rows[0]} {rows[-1]}")
    return rows[0]


def maps(out):
    for name, of in MAPS.items():
        x = torch.tensor(NUMBERS * REPEATS, requires_grad=True)
        y = of(x)
        y.backward(torch.ones_like(y))
        out[f"map.{name}"], out[f"map.{name}.g"] = once(name, y), once(name, x.grad)


def zips(out):
    for name, of in ZIPS.items():
        first = [a for a in NUMBERS for _ in NUMBERS] * REPEATS
        x, y = (torch.tensor(v, requires_grad=True) for v in (first, NUMBERS * len(NUMBERS) * REPEATS))
        z = of(x, y)
        z.backward(torch.ones_like(z))
        for part, tensor in (("", z), (".gx", x.grad), (".gy", y.grad)):
            out[f"zip.{name}{part}"] = once(name + part, tensor)


def write(path, tensors):
    header, data = {}, b""
    for name, x in tensors.items():
        raw = np.ascontiguousarray(np.asarray(x), np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(np.asarray(x).shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    out = {"numbers": np.array(NUMBERS, np.float32)}
    maps(out)
    zips(out)
    write(Path(__file__).with_suffix(".safetensors"), out)
