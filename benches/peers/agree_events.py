"""Compares every value of two stores of storm events; ends with an error unless they hold the same numbers.

usage: agree_events.py STORE STORE
"""

import concurrent.futures
import json
import os
import sys

import numpy
import zarr

MODALITIES = ["vil", "ir069", "ir107", "lght"]


def compare(stores, modality, first, last):
    """Values compared, those of them that are not the fill value, and the greatest difference."""
    ours, theirs = (zarr.open_group(store, mode="r")[modality] for store in stores)
    a, b, filled, worst = ours[first:last], theirs[first:last], 0, 0
    for event, other in zip(a, b):
        filled += int((event != ours.fill_value).sum())
        if not numpy.array_equal(event, other):
            worst = max(worst, int(numpy.abs(event.astype("int32") - other).max()))
    return a.size, filled, worst


def main(*stores):
    ours, theirs = (zarr.open_group(store, mode="r") for store in stores)
    for name in MODALITIES:
        assert ours[name].shape == theirs[name].shape and ours[name].dtype == theirs[name].dtype, f"{name} differs in shape or type"
    events, group = ours[MODALITIES[0]].shape[0], ours[MODALITIES[0]].shards[0]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compare, stores, name, first, first + group) for first in range(0, events, group) for name in MODALITIES]
        counts, filled, worst = zip(*(job.result() for job in jobs))
    assert sum(filled) > 0 and max(worst) == 0, f"{sum(filled)} values compared, worst difference {max(worst)}; expected none"
    print(json.dumps({"values_compared": sum(counts), "values_there": sum(filled), "worst_difference": max(worst)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
