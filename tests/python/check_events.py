"""Recomputes what Gustfront makes of SEVIR from the rules themselves, and fails where they disagree.

python check_events.py groups CATALOG EVENTS.json   events of the catalogue, by csv alone
python check_events.py counts CASE.json             lightning points counted one by one, as SEVIR's code does
python check_events.py resize CASE.json             bilinear, mean and repeated frames with numpy
python check_events.py glm CASE.json                flashes of the lightning mapper on a grid, with pyproj
python check_events.py lightning STORE FOLDER       the store of `gustfront lightning` against the files, by the minute
"""

import bisect
import csv
import datetime
import json
import math
import struct
import sys

FRAMES = 49


def groups(catalog, events):
    found, counts = {}, {}
    with open(catalog, newline="") as text:
        for row in csv.DictReader(text):
            counts[row["img_type"]] = counts.get(row["img_type"], 0) + 1
            time = datetime.datetime.strptime(row["time_utc"], "%Y-%m-%d %H:%M:%S")
            seconds = int(time.replace(tzinfo=datetime.timezone.utc).timestamp())
            corners = [float(row[name]) for name in ("llcrnrlat", "llcrnrlon", "urcrnrlat", "urcrnrlon")]
            event = found.setdefault(row["id"], dict(id=row["id"], time=seconds, kind=row["event_type"], parts={}))
            event["corners"] = corners
            minutes = [int(minute) for minute in row["minute_offsets"].split(":")] if row["minute_offsets"] else None
            # The share is kept in 32 bits.
            missing = struct.unpack("f", struct.pack("f", float(row["pct_missing"])))[0]
            assert row["img_type"] not in event["parts"], row["id"]
            event["parts"][row["img_type"]] = [row["file_name"], int(row["file_index"]), minutes, missing]
    expected = sorted(found.values(), key=lambda event: (event["time"], event["id"]))
    told = json.load(open(events))
    assert len(told) == len(expected), (len(told), len(expected))
    for mine, theirs in zip(expected, told):
        assert mine == theirs, f"\n{mine}\n{theirs}"
    print(f"{len(expected)} events", *sorted(counts.items()))


def frame_of(seconds, bins):
    edges = range(-7200, 7201, 300)
    if bins == "after":
        # numpy.digitize(seconds, edges) - 1, and -1 becomes 0
        return max(bisect.bisect_right(edges, seconds) - 1, 0)
    for frame, edge in enumerate(edges):
        if seconds < edge:
            return frame
    return None


def counts(case):
    case = json.load(open(case))
    expected = {}
    for seconds, _, _, x, y in case["points"]:
        frame = frame_of(seconds, case["bins"])
        if frame is not None and 0 <= x < 48 and 0 <= y < 48:
            key = (frame * 48 + math.trunc(y)) * 48 + math.trunc(x)
            expected[key] = expected.get(key, 0) + 1
    told = {at: count for at, count in enumerate(case["counts"]) if count}
    assert len(case["counts"]) == FRAMES * 48 * 48
    assert told == expected, sorted(set(told.items()) ^ set(expected.items()))[:20]
    print(f"{sum(expected.values())} of {len(case['points'])} points, {case['bins']}")


def resize(case):
    import numpy as np

    case = json.load(open(case))
    source, told = np.array(case["source"]), np.array(case["target"])
    size, target = source.shape[-1], told.shape[-1]
    missing = source == case["missing"]
    values = np.where(missing, 0.0, source)
    if case["kind"] == "repeat":
        expected = source.repeat(target // size, axis=1).repeat(target // size, axis=2)
    elif case["kind"] == "mean":
        factor = size // target
        cells = (-1, target, factor, target, factor)
        total = values.reshape(cells).sum(axis=(2, 4))
        there = (~missing).reshape(cells).sum(axis=(2, 4))
        mean = np.floor(total / np.maximum(there, 1) + 0.5)
        expected = np.where(there == 0, case["missing"], mean)
    else:
        # torch.nn.functional.interpolate(mode="bilinear", align_corners=False), in whole parts of 1 / (2 target)
        parts = 2 * target
        place = np.clip((2 * np.arange(target) + 1) * size - target, 0, (size - 1) * parts)
        lower, share = place // parts, place % parts
        weights = np.zeros((target, size), int)
        np.add.at(weights, (np.arange(target), lower), parts - share)
        np.add.at(weights, (np.arange(target), np.minimum(lower + 1, size - 1)), share)
        total = np.einsum("ij,fjk,lk->fil", weights, values.astype(int), weights)
        there = np.einsum("ij,fjk,lk->fil", weights, (~missing).astype(int), weights)
        rounded = (2 * total + there) // np.maximum(2 * there, 1)
        expected = np.where(2 * there < parts * parts, case["missing"], rounded)
    assert (expected == told).all(), np.argwhere(expected != told)[:10]
    print(f"{case['kind']} {size} to {target}: {told.size} values, {missing.sum()} missing")


def glm(case):
    from pyproj import Proj

    case = json.load(open(case))
    grid, laea = case["grid"], Proj("+proj=laea +lat_0=38 +lon_0=-98 +R=6370997 +units=m")
    expected = {}
    for seconds, latitude, longitude in case["flashes"]:
        x, y = laea(longitude, latitude) if case["laea"] else (longitude % 360, latitude)
        column = math.floor((x - grid["x0"]) / grid["dx"] + 0.5)
        row = math.floor((y - grid["y0"]) / grid["dy"] + 0.5)
        column = column if case["laea"] else column % grid["nx"]
        time = math.floor((seconds - case["start"]) / case["seconds"])
        if 0 <= column < grid["nx"] and 0 <= row < grid["ny"] and 0 <= time < case["bins"]:
            key = (time * grid["ny"] + row) * grid["nx"] + column
            expected[key] = expected.get(key, 0) + 1
    told = {at: count for at, count in enumerate(case["counts"]) if count}
    assert told == expected, sorted(set(told.items()) ^ set(expected.items()))[:20]
    assert expected
    print(f"{sum(expected.values())} of {len(case['flashes'])} flashes in {len(expected)} cells")


def lightning(store, folder):
    import glob

    import h5py
    import numpy
    import xarray

    data = xarray.open_zarr(store).load()
    x, y = data.longitude.values, data.latitude.values
    steps = [x[1] - x[0], y[1] - y[0]]
    expected = {}
    for name in sorted(glob.glob(f"{folder}/*.nc")):
        with h5py.File(name) as file:
            offset = file["flash_time_offset_of_first_event"]
            unit, since = offset.attrs["units"].decode().split(" since ")
            assert unit == "milliseconds" and "_Unsigned" not in offset.attrs
            milliseconds = offset[:] * offset.attrs["scale_factor"].astype(float) + offset.attrs["add_offset"]
            since = numpy.datetime64(since.strip().replace(" ", "T"))
            minutes = (since + milliseconds.round().astype("m8[ms]")).astype("M8[m]")
            good = file["flash_quality_flag"][:] == 0
            for lat, lon, minute in zip(file["flash_lat"][:][good], file["flash_lon"][:][good], minutes[good]):
                column, row = math.floor((lon - x[0]) / steps[0] + 0.5), math.floor((lat - y[0]) / steps[1] + 0.5)
                if 0 <= column < len(x) and 0 <= row < len(y):
                    expected[minute, row, column] = expected.get((minute, row, column), 0) + 1
    whole = numpy.datetime64("2018-07-02T04:33")
    found = data.flash_count.isel(lead_time=0)
    assert data.published.values.sum() == 1 and data.published.sel(init_time=whole).values.all()
    assert numpy.isnan(found.sel(init_time=whole + 1).values).all()
    counts = found.sel(init_time=whole).values
    told = {(whole, row, column): int(counts[row, column]) for row, column in zip(*numpy.nonzero(counts))}
    wanted = {key: count for key, count in expected.items() if key[0] == whole}
    assert told == wanted and wanted, sorted(set(told.items()) ^ set(wanted.items()))[:20]
    print(f"{sum(wanted.values())} flashes in {len(wanted)} cells")


if __name__ == "__main__":
    {"groups": groups, "counts": counts, "resize": resize, "glm": glm, "lightning": lightning}[sys.argv[1]](*sys.argv[2:])
