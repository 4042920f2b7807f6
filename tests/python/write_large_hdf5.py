"""Writes `large.h5` in the folder given: 200 events of 64 × 64 × 49 bytes, once in one run and once in chunks; and
`flashes.h5`: 1,500 events with 500 flashes each."""

import os
import sys

import h5py
import numpy as np

noise = np.random.default_rng(3).integers(0, 256, (200, 64, 64, 49), dtype="u1")
with h5py.File(os.path.join(sys.argv[1], "large.h5"), "w") as f:
    f.create_dataset("contiguous", data=noise)
    coarse = noise // 128
    f.create_dataset("chunked", data=coarse, chunks=(1, 64, 64, 1), compression="gzip", compression_opts=1)
with h5py.File(os.path.join(sys.argv[1], "flashes.h5"), "w") as f:
    for k in range(1500):
        f[f"S{700000 + k}"] = np.full((500, 5), k, "<f8")
