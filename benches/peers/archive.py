"""The archive job with the Python tools: HRRR objects read by cfgrib and xarray, written by zarr-python.

Written the way someone who knows these tools would for speed: one process a core, a whole object each; no index
files; the latitudes and longitudes, which cfgrib computes anew at every opening, asked for once; fields written
straight into their shards; every library's own threads off, as the cores are taken.

usage: archive.py INPUT OUTPUT [--workers N] [--cycles N] [--like STORE]
--like takes chunks, shards and codecs from a Zarr v3 store that holds the same variables.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re

import numpy
import xarray
import zarr

KEY = re.compile(r"hrrr\.(\d{8})/conus/hrrr\.t(\d\d)z\.wrfsfcf(\d\d)\.grib2$")

# ecCodes knows NCEP's own numbers in messages of NCEP only; this names them in synthetic messages too.
DEFINITIONS = pathlib.Path(__file__).resolve().parent / "definitions"

# What one opening of cfgrib can hold: one kind of level; cfgrib's name of each variable and ours.
OPENINGS = [
    ({"typeOfLevel": "atmosphere"}, {"refc": "refc"}),
    ({"typeOfLevel": "heightAboveGround", "level": 2}, {"t2m": "t2m", "d2m": "d2m"}),
    ({"typeOfLevel": "heightAboveGround", "level": 10}, {"u10": "u10", "v10": "v10"}),
    ({"typeOfLevel": "surface", "shortName": ["cape", "cin", "orog", "lsm"]},
     {"cape": "cape", "cin": "cin", "orog": "hgt", "lsm": "land"}),
]
NAMES = [ours for _, names in OPENINGS for ours in names.values()]

# Without "geography" cfgrib leaves fields flat and computes no latitudes and longitudes.
PLAIN = ("parameter", "time", "vertical")


def open_group(path, keys, encode_cf):
    """One kind of level of an object as an xarray data set; empty where the object has none."""
    options = {"filter_by_keys": keys, "indexpath": "", "errors": "ignore", "encode_cf": encode_cf}
    return xarray.open_dataset(path, engine="cfgrib", backend_kwargs=options)


def archive_object(path, output, init, lead, shape):
    """Writes every wanted field of one object into its shards."""
    root = zarr.open_group(output, mode="r+")
    written = 0
    for keys, names in OPENINGS:
        dataset = open_group(path, keys, PLAIN)
        for theirs, ours in names.items():
            if theirs in dataset:
                root[ours][init, lead] = dataset[theirs].values.reshape(shape)
                written += 1
    root["published"][init, lead] = 1
    return written


def quiet_threads():
    """One process a core is all the parallelism there is room for."""
    import numcodecs.blosc

    numcodecs.blosc.set_nthreads(1)
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})


def listing(folder):
    """Cycle, lead hours and path of every object, in order."""
    found = []
    for path in sorted(pathlib.Path(folder).glob("hrrr.*/conus/*.grib2")):
        match = KEY.search(path.as_posix())
        if match:
            cycle = datetime.datetime.strptime(match[1] + match[2], "%Y%m%d%H")
            found.append((cycle, int(match[3]), path))
    return found


def layout(like, shape):
    """Chunks, shards and codecs of each variable."""
    if like:
        arrays = zarr.open_group(like, mode="r")
        return {n: {"chunks": arrays[n].chunks, "shards": arrays[n].shards, "compressors": arrays[n].compressors}
                for n in NAMES if n in arrays}
    codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
    chunk = tuple(next(d for d in range(400, 0, -1) if n % d == 0) for n in shape)
    return {n: {"chunks": (1, 1, *chunk), "shards": (1, 1, *shape), "compressors": codec} for n in NAMES}


def create(output, cycles, leads, first, like):
    """The store with its coordinates; the shape of a field."""
    geography = open_group(first, {"typeOfLevel": "heightAboveGround", "level": 10}, PLAIN + ("geography",))
    shape = geography["latitude"].shape
    root = zarr.create_group(output, overwrite=True)
    time = {"units": "hours since 1970-01-01", "calendar": "proleptic_gregorian"}
    hours = [int((c - datetime.datetime(1970, 1, 1)).total_seconds() // 3600) for c in cycles]
    coordinate(root, "init_time", numpy.array(hours, "int64"), ("init_time",), time)
    coordinate(root, "lead_time", numpy.array(leads, "int64"), ("lead_time",), {"units": "hours"})
    for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        coordinate(root, name, geography[name].values, ("y", "x"), {"units": units})
    for name, options in layout(like, shape).items():
        root.create_array(name, shape=(len(cycles), len(leads), *shape), dtype="float32", fill_value=numpy.nan,
                          dimension_names=("init_time", "lead_time", "y", "x"), **options)
    root.create_array("published", shape=(len(cycles), len(leads)), chunks=(1, 1), dtype="uint8", fill_value=0,
                      dimension_names=("init_time", "lead_time"))
    zarr.consolidate_metadata(output)
    return shape


def coordinate(root, name, values, dimensions, attributes):
    """An array of known values."""
    array = root.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=dimensions,
                              attributes=attributes)
    array[...] = values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--cycles", type=int, help="only so many, from the first on")
    parser.add_argument("--like")
    options = parser.parse_args()
    os.environ["ECCODES_EXTRA_DEFINITION_PATH"] = str(DEFINITIONS)
    objects = listing(options.input)
    cycles = sorted({c for c, _, _ in objects})[:options.cycles]
    objects = [found for found in objects if found[0] in cycles]
    leads = sorted({lead for _, lead, _ in objects})
    shape = create(options.output, cycles, leads, objects[0][2], options.like)
    with concurrent.futures.ProcessPoolExecutor(options.workers, initializer=quiet_threads) as pool:
        jobs = [pool.submit(archive_object, path, options.output, cycles.index(cycle), leads.index(lead), shape)
                for cycle, lead, path in objects]
        fields = sum(job.result() for job in jobs)
    print(json.dumps({"objects": len(objects), "fields": fields}))


if __name__ == "__main__":
    main()
