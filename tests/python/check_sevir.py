"""Reads a synthetic SEVIR with h5py as its own users do, checks every row of the catalogue against the files, and prints
how well rain, cold cloud tops and lightning go together, as JSON."""

import csv
import json
import os
import sys

import h5py
import numpy as np

folder = sys.argv[1]
TYPES = {"vil": ("u1", 384), "ir069": ("<i2", 192), "ir107": ("<i2", 192), "vis": ("<i2", 768)}
MISSING = {"vil": 255, "ir069": -32768, "ir107": -32768, "vis": -32768}

with open(os.path.join(folder, "CATALOG.csv"), newline="") as f:
    rows = list(csv.DictReader(f))
assert list(rows[0])[:3] == ["", "id", "file_name"], list(rows[0])

events, seen = {}, set()
for row in rows:
    kind, path = row["img_type"], os.path.join(folder, "data", row["file_name"])
    seen.add(row["file_name"])
    event = events.setdefault(row["id"], {})
    with h5py.File(path) as f:
        assert b"SYNTHETIC" in f.attrs["origin"]
        if kind == "lght":
            event[kind] = f[row["id"]][()]
            assert event[kind].shape[1] == 5 and event[kind].dtype == "<f8"
            assert (np.diff(event[kind][:, 0]) >= 0).all()
            assert row["minute_offsets"] == "" and row["file_index"] == "0"
            continue
        dtype, size = TYPES[kind]
        index = int(row["file_index"])
        assert f["id"][index].decode() == row["id"], (row["id"], f["id"][index])
        assert f[kind].dtype == dtype and f[kind].shape == (len(f["id"]), size, size, 49)
        assert f[kind].chunks in (None, (1, size, size, 1))
        cube = f[kind][index]
        event[kind] = cube
    offsets = [int(m) for m in row["minute_offsets"].split(":")]
    assert len(offsets) == 49 and -124 <= offsets[0] <= -118 and set(np.diff(offsets)) == {5}
    minute = int(row["time_utc"][14:16])
    assert (minute + offsets[0]) % 5 == (0 if kind == "vil" else 2), row
    missing = [k for k in range(49) if (cube[:, :, k] == MISSING[kind]).all()]
    assert len(missing) / 49 == float(row["pct_missing"]), (missing, row["pct_missing"])
    corners = [float(row[k]) for k in ["llcrnrlat", "llcrnrlon", "urcrnrlat", "urcrnrlon"]]
    assert corners[0] < corners[2] and corners[1] < corners[3]

warm, cold, near, flashes, greatest = [], [], 0, 0, 0
for event in events.values():
    if "vil" not in event:
        continue
    vil = np.where(event["vil"] == 255, 0, event["vil"])
    greatest = max(greatest, int(vil.max()))
    if "ir107" in event:
        ir = event["ir107"]
        heavy = vil.reshape(192, 2, 192, 2, 49).max((1, 3)) >= 133
        good = (ir != -32768) & (event["vil"] != 255).all((0, 1))
        cold.append(ir[heavy & good] / 100)
        warm.append(ir[~heavy & good] / 100)
    if "lght" in event:
        # The heaviest rain of the 24 km around each cell of 8 km, in the frame of the flash.
        cells = vil.reshape(48, 8, 48, 8, 49).max((1, 3))
        padded = np.pad(cells, ((1, 1), (1, 1), (0, 0)))
        around = np.max([padded[i:i + 48, j:j + 48] for i in range(3) for j in range(3)], 0)
        for t, _, _, x, y in event["lght"]:
            frame = int((t + 7200) // 300)
            if 0 <= x < 48 and 0 <= y < 48 and 0 <= frame < 49 and (event["vil"][..., frame] != 255).any():
                flashes += 1
                near += around[int(y), int(x), frame] >= 100
print(json.dumps({
    "rows": len(rows),
    "files": len(seen),
    "flashes": flashes,
    "without_flashes": sum(len(event["lght"]) == 0 for event in events.values() if "lght" in event),
    "flashes_near_rain": near / max(flashes, 1),
    "colder_by_degrees": float(np.concatenate(warm).mean() - np.concatenate(cold).mean()),
    "greatest_level": greatest,
}))
