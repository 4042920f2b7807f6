"""Prints the names of the lightning mapper's files in the first folder, and writes what h5py reads of them, unpacked by
the CF conventions, into the second: time, latitude, longitude, energy and quality of every flash, group and event."""

import datetime
import os
import sys

import h5py
import numpy as np

source, target = sys.argv[1:]
EPOCH = datetime.datetime(1970, 1, 1)


def unpacked(dataset):
    """Raw numbers, unsigned where they are meant so, times scale plus offset; NaN where they are missing."""
    raw = dataset[()]
    missing = np.zeros(raw.shape, bool)
    if "_FillValue" in dataset.attrs:
        missing = raw == dataset.attrs["_FillValue"][0]
    if dataset.attrs.get("_Unsigned") == b"true":
        raw = raw.view(f"u{raw.itemsize}")
    scale = float(dataset.attrs["scale_factor"][0]) if "scale_factor" in dataset.attrs else 1.0
    offset = float(dataset.attrs["add_offset"][0]) if "add_offset" in dataset.attrs else 0.0
    return np.where(missing, np.nan, raw.astype("f8") * scale + offset)


def seconds(dataset):
    unit, start = dataset.attrs["units"].decode().split(" since ")
    assert unit == "milliseconds", unit
    start = datetime.datetime.strptime(start, "%Y-%m-%d %H:%M:%S.%f")
    return (start - EPOCH).total_seconds() + unpacked(dataset) / 1000


for name in sorted(os.listdir(source)):
    with h5py.File(os.path.join(source, name)) as f:
        for level, time in [("flash", "time_offset_of_first_event"), ("group", "time_offset"), ("event", "time_offset")]:
            columns = [seconds(f[f"{level}_{time}"])]
            columns += [unpacked(f[f"{level}_{part}"]) for part in ["lat", "lon", "energy"]]
            good = unpacked(f[f"{level}_quality_flag"]) if level != "event" else np.full(len(columns[0]), -1.0)
            np.stack(columns + [good], 1).astype("<f8").tofile(os.path.join(target, f"{name}.{level}"))
    print(name)
