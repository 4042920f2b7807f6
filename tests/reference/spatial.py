"""Writes spatial.safetensors: what NumPy and PyTorch say of transforms, neighbours and splatting.

Run: python tests/reference/spatial.py  (needs numpy and torch; float64 throughout, stored as float32)

Fields are not stored: value(i, j) below says them, and the test has the same formula.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch


def value(i, j, seed):
    """Numbers in [-0.5, 0.5) without a pattern, exact in float32."""
    return ((i * 1103 + j * 2741 + i * j * 17 + i * i * 29 + seed * 977) % 8192) / 8192.0 - 0.5


def transforms(out):
    i, j = np.indices((1059, 1799))
    spectrum = np.fft.rfft2(value(i, j, 1))
    parts = lambda z: np.stack([z.real, z.imag], -1)
    out["rfft2.rows"] = parts(spectrum[[0, 353, 1058]])
    out["rfft2.columns"] = parts(spectrum[:, [0, 257, 899]])
    i, j = np.indices((1059, 900))
    spectrum = value(i, j, 2) + 1j * value(i, j, 3)
    # The imaginary part that no real field has in the first column is left to the transform.
    field = np.fft.irfft2(spectrum, (1059, 1799), norm="ortho")
    out["irfft2.rows"] = field[[0, 529, 1058]]
    out["irfft2.columns"] = field[:, [0, 900, 1798]]


def neighbours(out):
    rng = np.random.default_rng(5)
    points = rng.normal(size=(2, 150, 3)).astype(np.float32)
    # A coarse grid has many equal distances.
    points[1] = np.round(points[1])
    wide = points.astype(np.float64)
    squared = ((wide[:, :, None] - wide[:, None]) ** 2).sum(-1)
    squared[:, range(150), range(150)] = np.inf
    out["neighbours.points"] = points
    out["neighbours.indices"] = np.argsort(squared, axis=-1, kind="stable")[:, :, :7].astype(np.int32)


def splatting(out):
    rng = np.random.default_rng(6)
    shape, sigma, reach = (21, 19), 1.5, 3.0
    single = lambda x: np.asarray(x, np.float32).astype(np.float64)
    features, places = single(rng.normal(size=(2, 40, 5))), single(rng.uniform(-2, 22, size=(2, 40, 2)))
    dy = single(rng.normal(size=(2, 5) + shape))
    out |= {"splat.features": features, "splat.positions": places, "splat.dy": dy}
    for name in ["sum", "mean"]:
        f, p = (torch.tensor(x, requires_grad=True) for x in (features, places))
        rows, columns = torch.arange(shape[0]), torch.arange(shape[1])
        squared = (rows[None, None, :, None] - p[:, :, 0, None, None]) ** 2
        squared = squared + (columns[None, None, None] - p[:, :, 1, None, None]) ** 2
        weights = torch.exp(-squared / (2 * sigma**2)) * (squared <= (sigma * reach) ** 2)
        y = torch.einsum("bnhw,bnc->bchw", weights, f)
        if name == "mean":
            total = weights.sum(1, keepdim=True)
            y = torch.where(total > 0, y / torch.where(total > 0, total, 1.0), 0.0)
        y.backward(torch.tensor(dy))
        out[f"splat.{name}"] = y.detach().numpy()
        out[f"splat.{name}.d_features"], out[f"splat.{name}.d_positions"] = f.grad.numpy(), p.grad.numpy()


def write(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        kind = ("I32", np.int32) if values.dtype == np.int32 else ("F32", np.float32)
        raw = np.ascontiguousarray(values, kind[1]).tobytes()
        header[name] = {"dtype": kind[0], "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    tensors = {}
    transforms(tensors)
    neighbours(tensors)
    splatting(tensors)
    write(Path(__file__).with_suffix(".safetensors"), tensors)
