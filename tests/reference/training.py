"""Writes training.safetensors: what PyTorch and NumPy say of ConvLSTM, position embeddings and cross-entropy.

Run: python tests/reference/training.py  (needs numpy and torch; float64 throughout, stored as float32)
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch


def single(x):
    return torch.tensor(np.asarray(x, np.float32).astype(np.float64))


def conv_lstm(out):
    """Three steps of the cell of Shi et al. (2015) without peepholes; gates i, f, o, g, the image before the state."""
    rng = np.random.default_rng(11)
    draw = lambda *shape: single(rng.normal(size=shape))
    inputs = {"x": draw(3, 2, 3, 6, 7), "h": draw(2, 4, 6, 7), "c": draw(2, 4, 6, 7)}
    inputs |= {"weight": 0.25 * draw(16, 7, 3, 3), "bias": draw(16)}
    inputs = {name: single(x).requires_grad_() for name, x in inputs.items()}
    h, c = inputs["h"], inputs["c"]
    for x in inputs["x"]:
        gates = torch.nn.functional.conv2d(torch.cat([x, h], 1), inputs["weight"], inputs["bias"], padding=1)
        i, f, o, g = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    dh, dc = draw(2, 4, 6, 7), draw(2, 4, 6, 7)
    (h * dh + c * dc).sum().backward()
    # The images of all steps one after the other, so that no tensor has five dimensions.
    flat = lambda x: x.reshape(6, 3, 6, 7) if x.ndim == 5 else x
    out |= {f"lstm.{name}": flat(x.detach()) for name, x in inputs.items()}
    out |= {f"lstm.g.{name}": flat(x.grad) for name, x in inputs.items()}
    out |= {"lstm.h_last": h.detach(), "lstm.c_last": c.detach(), "lstm.dh": dh, "lstm.dc": dc}


def line(size, places):
    """get_1d_sincos_pos_embed_from_grid of the masked autoencoder (He et al., 2022)."""
    omega = 1.0 / 10000 ** (np.arange(size // 2, dtype=np.float64) / (size / 2.0))
    phases = np.einsum("m,d->md", places.reshape(-1), omega)
    return np.concatenate([np.sin(phases), np.cos(phases)], axis=1)


def positions(out):
    out["positions.line"] = line(10, np.arange(13) * 1.5)
    # get_2d_sincos_pos_embed: np.meshgrid(w, h), so that the first half tells the column.
    columns, rows = np.meshgrid(np.arange(5.0), np.arange(3.0))
    out["positions.grid"] = np.concatenate([line(6, columns), line(6, rows)], axis=1)


def cross_entropy(out):
    rng = np.random.default_rng(12)
    x = single(np.concatenate([rng.normal(size=50), [-200, -90, -30, -10, 0, 10, 30, 90, 200]])).requires_grad_()
    t = single(np.concatenate([rng.uniform(size=50), [0, 1, 0, 1, 0, 1, 0, 1, 0]]))
    y = torch.nn.functional.binary_cross_entropy_with_logits(x, t, pos_weight=torch.tensor(3.0, dtype=torch.float64))
    y.backward()
    out |= {"bce.x": x.detach(), "bce.t": t, "bce.y": y.detach(), "bce.g": x.grad}


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
    out = {}
    conv_lstm(out)
    positions(out)
    cross_entropy(out)
    write(Path(__file__).with_name("training.safetensors"), out)
