"""Opens a store of events with xarray and with zarr-python and compares it with the HDF5 files it was made of.

read_events.py STORE SEVIR: frames of the store have 384 points along a side; VIL, infrared and lightning are in it.
"""

import csv
import pathlib
import sys
import warnings

import h5py
import numpy as np
import pyproj
import xarray as xr
import zarr

warnings.simplefilter("error")

store, sevir = sys.argv[1], pathlib.Path(sys.argv[2])
rows = list(csv.DictReader((sevir / "CATALOG.csv").open(encoding="utf-8")))
events = sorted({(row["time_utc"], row["id"]) for row in rows})
ids = [event for _, event in events]
parts = {(row["id"], row["img_type"]): row for row in rows}
data = xr.open_zarr(store)
raw = xr.open_zarr(store, mask_and_scale=False)

assert data.attrs["Conventions"] == "CF-1.11" and list(data.modality.values) == ["vil", "ir107", "lght"]
assert list(data.event.values) == ids, data.event.values
times = np.array([time.replace(" ", "T") for time, _ in events], "datetime64[s]")
np.testing.assert_array_equal(data.time.values.astype("datetime64[s]"), times)
assert data.split.attrs["flag_meanings"] == "none train validation test"
wanted = [1 if time < "2019-01-01" else 2 if time < "2019-06-01" else 3 for time, _ in events]
assert list(data.split.values) == wanted, data.split.values
assert list(data.kind.values) == [next(row["event_type"] for row in rows if row["id"] == event) for event in ids]
assert data.crs.attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area" and data.crs.attrs["earth_radius"] == 6370997.0

plane = pyproj.Proj("+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +b=6370997.0")
assert pyproj.CRS.from_cf({key: value for key, value in data.crs.attrs.items()}).coordinate_operation is not None
for at, event in enumerate(ids):
    row = next(row for row in rows if row["id"] == event)
    x, y = plane(float(row["llcrnrlon"]), float(row["llcrnrlat"]))
    inside = (np.arange(384) + 0.5) * 1000.0
    np.testing.assert_allclose(data.projection_x[at].values, x + inside, rtol=0, atol=1e-3)
    np.testing.assert_allclose(data.projection_y[at].values, y + inside, rtol=0, atol=1e-3)
np.testing.assert_allclose(data.x.values, (np.arange(384) + 0.5) * 1000.0)

files = {name: h5py.File(sevir / f"data/{name}/2019/SEVIR.h5", locking=False) for name in ("vil", "ir107", "lght")}
for name in ("vil", "ir107", "lght"):
    array = data[name]
    assert array.dims == ("event", "frame", "y", "x") and array.shape == (len(ids), 49, 384, 384), array
    assert array.attrs["grid_mapping"] == "crs" and array.attrs["normalisation_scale"] > 0
for at, event in enumerate(ids):
    index = [value.decode() for value in files["vil"]["id"][:]].index(event)
    vil = files["vil"]["vil"][index].transpose(2, 0, 1)
    np.testing.assert_array_equal(raw.vil[at].values, vil, event)
    decoded = data.vil[at].values
    np.testing.assert_array_equal(np.isnan(decoded), vil == 255)
    np.testing.assert_array_equal(data.missing_points.sel(event=event, modality="vil").values, (vil == 255).sum((1, 2)))
    # Half-pixel centres: the mean of the four points around a corner of four cells is 9/16, 3/16, 3/16, 1/16 of them.
    ir = files["ir107"]["ir107"][index].transpose(2, 0, 1).astype("float64")
    inner = raw.ir107[at].values[:, 1:383:2, 1:383:2]
    mean = (9 * ir[:, :-1, :-1] + 3 * ir[:, 1:, :-1] + 3 * ir[:, :-1, 1:] + ir[:, 1:, 1:]) / 16
    assert np.abs(inner - mean).max() <= 0.5, event
    np.testing.assert_allclose(data.ir107[at, :3].values, raw.ir107[at, :3].values * 0.01, rtol=1e-6)
    has = (event, "lght") in parts
    assert list(data.present[at].values) == [1, 1, int(has)], event
    if not has:
        assert (raw.lght[at].values == -32768).all() and (data.missing_points[at, 2].values == -1).all()
        continue
    points = files["lght"][event][:]
    counts = np.zeros((49, 48, 48), int)
    for t, _, _, x, y in points:
        if 0 <= x < 48 and 0 <= y < 48:
            frame = max(int(np.digitize(t, np.arange(-7200, 7201, 300))) - 1, 0)
            counts[frame, int(y), int(x)] += 1
    np.testing.assert_array_equal(raw.lght[at].values, counts.repeat(8, 1).repeat(8, 2), event)
minutes = [int(minute) for minute in parts[(ids[0], "vil")]["minute_offsets"].split(":")]
np.testing.assert_array_equal(data.frame_offset[0, 0].values, np.array(minutes, "timedelta64[m]"))
np.testing.assert_array_equal(data.frame_offset[0, 2].values, np.arange(-120, 121, 5).astype("timedelta64[m]"))
assert np.isnat(data.frame_offset[ids.index("S805"), 2].values).all()
assert data.attrs["lightning_bins"] == data.lght.attrs["lightning_bins"] == "after"
assert data.lght.attrs["frame_begin_seconds"] == list(range(-7200, 7201, 300))
assert data.lght.attrs["frame_end_seconds"] == list(range(-6900, 7501, 300))

group = zarr.open_group(store, mode="r")
assert group.metadata.consolidated_metadata is not None
assert group["vil"].shards[1:] == (49, 384, 384) and group["vil"].chunks == (1, 1, 384, 384), group["vil"].info
np.testing.assert_array_equal(group["vil"][2, 13:25], raw.vil[2, 13:25].values)
print("same", len(ids), "events")
