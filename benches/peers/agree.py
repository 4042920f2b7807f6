"""Compares two archives field by field; ends with an error unless they hold the same numbers.

usage: agree.py STORE STORE
"""

import json
import sys

import numpy
import xarray

# Decoders may differ by one rounding to f32; relative to the field's largest magnitude.
TOLERANCE = 1e-6
NAMES = ["refc", "t2m", "d2m", "u10", "v10", "cape", "cin", "hgt", "land"]


def compare(ours, theirs):
    """The worst difference at the first shared lead, over the first, middle and last cycle that both hold, relative to the largest magnitude."""
    shared = numpy.intersect1d(ours["init_time"].values, theirs["init_time"].values)
    lead = numpy.intersect1d(ours["lead_time"].values, theirs["lead_time"].values)[0]
    worst, fields = 0.0, 0
    for cycle in shared[[0, len(shared) // 2, -1]]:
        for name in NAMES:
            a, b = (d[name].sel(init_time=cycle, lead_time=lead).values for d in (ours, theirs))
            if numpy.isnan(a).all() and numpy.isnan(b).all():
                continue
            assert (numpy.isnan(a) == numpy.isnan(b)).all(), f"{name} at {cycle}: missing values differ"
            scale = max(float(numpy.nanmax(numpy.abs(b))), 1e-30)
            worst, fields = max(worst, float(numpy.nanmax(numpy.abs(a - b))) / scale), fields + 1
    return worst, fields


def main(first, second):
    worst, fields = compare(*(xarray.open_zarr(store, decode_timedelta=True) for store in (first, second)))
    assert fields and worst <= TOLERANCE, f"{fields} fields compared, worst relative difference {worst}"
    print(json.dumps({"fields_compared": fields, "worst_relative_difference": worst}))


if __name__ == "__main__":
    main(*sys.argv[1:])
