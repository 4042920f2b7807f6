"""Compares an archive, read by xarray and by zarr-python, with what ecCodes reads from the objects it was made of.

check_archive.py EXPECTED.json: the store, the file of each slot, and the variables table's rows.
"""

import json
import pathlib
import sys

import eccodes
import numpy as np
import xarray as xr
import zarr

VALUE_TOLERANCE = 1e-6  # of the field's largest magnitude
PLACE_TOLERANCE = 1e-5  # degrees
MISSING = 1e30
ENTIRE_ATMOSPHERE = 10

expected = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
table = expected["variables"]


def variable_of(message):
    codes = [eccodes.codes_get(message, key, int) for key in ("discipline", "parameterCategory", "parameterNumber")]
    surface = eccodes.codes_get(message, "typeOfFirstFixedSurface", int)
    if eccodes.codes_get(message, "productDefinitionTemplateNumber", int) != 0:
        return None
    for name, row in table.items():
        at_level = surface == ENTIRE_ATMOSPHERE or eccodes.codes_get(message, "level", float) == row["level"]
        if codes == row["codes"] and surface == row["surface"] and at_level:
            return name
    return None


def believed(values, row):
    """Values with those missing that the table calls impossible."""
    values = np.where(values == MISSING, np.nan, values)
    wrong = np.zeros(values.shape, bool)
    for sentinel in row["sentinels"]:
        wrong |= np.abs(values - sentinel) <= 1e-6 * abs(sentinel)
    if row["range"]:
        wrong |= (values < row["range"][0]) | (values > row["range"][1])
    kept = np.where(wrong, np.nan, values)
    present = kept[~np.isnan(kept)]
    if row["constant_is_missing"] and present.size > 1 and present.min() == present.max():
        kept[:] = np.nan
    return kept


def fields(path):
    """Values of the first message of every variable of a file, and the places of its points."""
    found, places = {}, None
    with open(path, "rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            name = variable_of(message)
            if name and name not in found:
                assert eccodes.codes_get(message, "scanningMode", int) == 64, "rows from south to north"
                eccodes.codes_set(message, "missingValue", MISSING)
                shape = eccodes.codes_get(message, "Nj", int), eccodes.codes_get(message, "Ni", int)
                found[name] = eccodes.codes_get_array(message, "values").reshape(shape)
                places = [eccodes.codes_get_array(message, key).reshape(shape) for key in ("latitudes", "longitudes")]
            eccodes.codes_release(message)
    return found, places


def same(actual, wanted, what):
    assert actual.dtype == np.float32 and np.array_equal(np.isnan(actual), np.isnan(wanted)), what
    largest = np.nanmax(np.abs(wanted), initial=0)
    error = np.nanmax(np.abs(actual.astype("float64") - wanted), initial=0)
    assert error <= VALUE_TOLERANCE * largest, (what, error, largest)


data, group = xr.open_zarr(expected["store"]), zarr.open_group(expected["store"], mode="r")
inits, leads = data.init_time.values, data.lead_time.values
assert inits.dtype.kind == "M" and leads.dtype.kind == "m", "decoded times"
compared = 0
for slot in expected["slots"]:
    init, lead = np.datetime64(slot["init"]), np.timedelta64(slot["lead_minutes"], "m")
    at = data.sel(init_time=init, lead_time=lead)
    i, k = int(np.flatnonzero(inits == init)[0]), int(np.flatnonzero(leads == lead)[0])
    assert at.valid_time.values == init + lead, slot
    found, places = fields(slot["file"])
    for name in set(found) & set(data.data_vars):
        wanted = believed(found[name], table[name])
        same(at[name].values, wanted, (slot, name, "xarray"))
        same(group[name][i, k], wanted, (slot, name, "zarr-python"))
        assert data[name].attrs["units"] == table[name]["units"], name
        compared += wanted.size
    for name in set(table) & set(data.data_vars) - set(found):
        assert np.isnan(at[name].values).all(), (slot, name, "absent, but not the fill value")
    latitudes, longitudes = places
    assert np.abs(data.latitude.values - latitudes).max() <= PLACE_TOLERANCE, slot
    turned = (data.longitude.values - longitudes + 180) % 360 - 180
    assert np.abs(turned).max() <= PLACE_TOLERANCE, slot
assert compared or not expected["slots"], "nothing was compared"
print("same", compared, "values in", len(expected["slots"]), "slots")
