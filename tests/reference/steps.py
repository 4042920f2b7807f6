"""Writes steps.safetensors: clipped AdamW over ten steps, samplers over whole schedules, and Philox's numbers.

Run: python tests/reference/steps.py  (needs numpy and torch; float64 throughout, stored as float32)
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch


def adamw(out):
    """Ten steps on ½‖A·p − b‖² + Σ sin q, gradients of p and q clipped together to a norm of 1."""
    rng = np.random.default_rng(21)
    single = lambda x: torch.tensor(np.asarray(x, np.float32).astype(np.float64))
    matrix, target = single(rng.normal(size=(6, 4))), single(rng.normal(size=6))
    p, q = (single(rng.normal(size=shape)).requires_grad_() for shape in [4, (2, 3)])
    out |= {"adam.matrix": matrix, "adam.target": target, "adam.p": p.detach().clone(), "adam.q": q.detach().clone()}
    optimiser = torch.optim.AdamW([p, q], lr=0.05, betas=(0.9, 0.99), weight_decay=0.1)
    norms, ps, qs = [], [], []
    for _ in range(10):
        optimiser.zero_grad()
        loss = 0.5 * (matrix @ p - target).square().sum() + q.sin().sum()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([p, q], 1.0).item())
        optimiser.step()
        ps.append(p.detach().clone())
        qs.append(q.detach().clone())
    out |= {"adam.norms": np.array(norms), "adam.ps": torch.stack(ps), "adam.qs": torch.stack(qs)}


def samplers(out):
    """From noise through eight values of ᾱ, a network that answers with the noise tanh(0.7·x) + 0.1."""
    rng = np.random.default_rng(22)
    single = lambda x: np.asarray(x, np.float32).astype(np.float64)
    start, noises = single(rng.normal(size=(2, 3, 4, 5))), single(rng.normal(size=(7, 2, 3, 4, 5)))
    bars = single([0.02, 0.08, 0.2, 0.4, 0.6, 0.8, 0.93, 0.99])
    network = lambda x: np.tanh(0.7 * x) + 0.1
    out |= {"sampler.start": start, "sampler.noises": noises.reshape(14, 3, 4, 5), "sampler.bars": bars}
    # DDIM (Song et al., 2021), equations 12 and 16, η = 0.5.
    x = start
    for now, then, noise in zip(bars, bars[1:], noises):
        eps = network(x)
        sigma = 0.5 * math.sqrt((1 - then) / (1 - now)) * math.sqrt(1 - now / then)
        clean = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
        x = math.sqrt(then) * clean + math.sqrt(1 - then - sigma**2) * eps + sigma * noise
    out["sampler.ddim"] = x
    # DPM-Solver++(2M) (Lu et al., 2022), algorithm 2.
    alphas, sigmas = np.sqrt(bars), np.sqrt(1 - bars)
    halves = np.log(alphas) - np.log(sigmas)
    x, before = start, None
    for i in range(1, len(bars)):
        clean = (x - sigmas[i - 1] * network(x)) / alphas[i - 1]
        h = halves[i] - halves[i - 1]
        mixed = clean
        if before is not None:
            r = (halves[i - 1] - halves[i - 2]) / h
            mixed = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * before
        x, before = sigmas[i] / sigmas[i - 1] * x - alphas[i] * math.expm1(-h) * mixed, clean
    out["sampler.dpm_solver"] = x


def philox(key, counter):
    """Philox-4x32-10 (Salmon et al., 2011), figure 2: two rounds of products, mixed crosswise, a Weyl key."""
    left, right = (counter[0], counter[1]), (counter[2], counter[3])
    for bumps in range(10):
        keys = [(key[0] + bumps * 0x9E3779B9) % 2**32, (key[1] + bumps * 0xBB67AE85) % 2**32]
        one, other = left[0] * 0xD2511F53, right[0] * 0xCD9E8D57
        left, right = ((other >> 32) ^ left[1] ^ keys[0], other % 2**32), ((one >> 32) ^ right[1] ^ keys[1], one % 2**32)
    return [*left, *right]


def random(out):
    """Numbers of seed 987654321012345, purpose 3, words 7, 8, 9: the key is the seed mixed with the purpose."""
    mixed = 987654321012345 ^ (3 * 0x9E3779B97F4A7C15) % 2**64
    words = [philox([mixed % 2**32, mixed >> 32], [i, 7, 8, 9]) for i in range(60)]
    uniform = (np.array(words, np.float64) + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(uniform[:, ::2])), 2 * np.pi * uniform[:, 1::2]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    assert philox([0, 0], [0] * 4) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], "not as Random123 publishes"
    out |= {"philox.uniform": uniform.reshape(-1), "philox.normal": normal.reshape(-1)}


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
    adamw(out)
    samplers(out)
    random(out)
    write(Path(__file__).with_suffix(".safetensors"), out)
