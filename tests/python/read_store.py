"""Opens a store with xarray and with zarr-python and compares it with what was written.

read_store.py STORE EXPECTED.json: the expectation holds axes, coordinates, attributes and, per slot, the values.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import xarray as xr
import zarr

warnings.simplefilter("error")

store, expected = sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
dims = tuple(expected["dimensions"])
inits = np.array(expected["inits"], "datetime64[s]")
leads = np.array(expected["lead_minutes"], "timedelta64[m]")
shape = (len(inits), len(leads), expected["ny"], expected["nx"])


def values_of(variable):
    values = np.full(shape, np.nan, "float32")
    for slot in expected["slots"]:
        if slot["variable"] == variable:
            bits = np.array(slot["bits"], "uint32").view("float32")
            values[slot["init"], slot["lead"]] = bits.reshape(shape[2:])
    return values


def same(actual, wanted, what):
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(wanted), err_msg=what, strict=True)


flags = np.zeros(shape[:2], "int8")
for init, lead in expected["published"]:
    flags[init, lead] = 1

# xarray, with everything decoded and consolidated metadata found.
data = xr.open_zarr(store)
assert data.attrs["Conventions"] == "CF-1.11", data.attrs
for name, value in expected["attributes"].items():
    assert data.attrs[name] == value, (name, data.attrs.get(name))
same(data.init_time.values.astype("datetime64[s]"), inits, "init_time")
same(data.lead_time.values.astype("timedelta64[m]"), leads, "lead_time")
same(data.valid_time.values.astype("datetime64[s]"), inits[:, None] + leads[None, :], "valid_time")
assert data.init_time.dtype.kind == "M" and data.lead_time.dtype.kind == "m" and data.valid_time.dtype.kind == "M"
same(data.published.values, flags, "published")
for name, variable in expected["variables"].items():
    array = data[name]
    assert array.dims == dims and array.dtype == np.float32, (array.dims, array.dtype)
    same(array.values.view("uint32"), values_of(name).view("uint32"), name)
    for attribute, value in variable.items():
        assert array.attrs.get(attribute) == value, (name, attribute, array.attrs)
    assert array.attrs["grid_mapping"] == "crs"
    assert set(array.coords) >= {"init_time", "lead_time", "valid_time", "latitude", "longitude", *dims}, array.coords
for name, wanted in expected["coordinates"].items():
    same(data[name].values.ravel(), np.array(wanted, "float64"), name)
    assert data[name].attrs["units"] and data[name].attrs["standard_name"], name
for name, value in expected["crs"].items():
    actual = data.crs.attrs[name]
    assert np.array_equal(actual, value), (name, actual, value)
some = data.sel(init_time=inits[1], lead_time=leads[-1])
assert some.valid_time.values.astype("datetime64[s]") == inits[1] + leads[-1]
assert "crs" in xr.open_zarr(store, decode_coords="all").coords

# xarray without the consolidated copies sees the same.
xr.testing.assert_identical(data.load(), xr.open_zarr(store, consolidated=False).load())

# zarr-python alone.
group = zarr.open_group(store, mode="r")
assert group.metadata.consolidated_metadata is not None
for name in expected["variables"]:
    array = group[name]
    assert array.shape == shape and array.shards[:2] == (1, 1) and len(array.chunks) == 4, array.info
    same(array[:].view("uint32"), values_of(name).view("uint32"), name)
    same(array[1, -1, 1:3, 2:5], values_of(name)[1, -1, 1:3, 2:5], name)
same(group["published"][:], flags, "published")
same(group["init_time"][:], inits.astype("int64"), "init_time")
same(group["lead_time"][:], leads.astype("int64"), "lead_time")
alone = zarr.open_array(store + "/" + next(iter(expected["variables"])), mode="r")
assert alone.shape == shape
print("same", len(expected["slots"]), "slots")
