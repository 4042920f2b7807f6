"""The backfill of storm events with the Python tools: SEVIR's files read by h5py, written by zarr-python.

Written the way someone who knows these tools would for speed: one process a core, one modality of a shard at a time;
files opened once and kept; an event is one read, and gzipped frames are taken as they are stored, because HDF5 would
scatter each into an array of another order; frames doubled frame by frame in whole numbers, which takes numpy a tenth
of the time that scipy.ndimage.zoom takes; flashes counted by bincount; whole shards written; every library's own
threads off, as the cores are taken.

usage: sevir.py INPUT OUTPUT --like STORE [--catalog NAME] [--workers N] [--resize numpy|scipy]
--like takes sizes, types, chunks, shards and codecs from a Zarr v3 store of the same events.
"""

import argparse
import concurrent.futures
import csv
import datetime
import functools
import json
import os
import pathlib
import zlib

import h5py
import numpy
import scipy.ndimage
import zarr

FRAMES = 49
MODALITIES = ["vil", "ir069", "ir107", "lght"]
REQUIRED = "vil"  # as in pipelines/sevir_backfill.toml
CELLS = 48  # of lightning, along a side
EDGES = numpy.arange(-7200, 7201, 300)  # seconds, SEVIR's own frames
MISSING = numpy.iinfo("int16").min
EPOCH = datetime.datetime(1970, 1, 1)


def events(catalog):
    """Seconds since 1970, identifier and parts (file and row by modality) of every event with radar, in order of time."""
    found = {}
    with open(catalog, newline="") as text:
        for row in csv.DictReader(text):
            seconds = int((datetime.datetime.fromisoformat(row["time_utc"]) - EPOCH).total_seconds())
            event = found.setdefault(row["id"], (seconds, row["id"], {}))
            event[2][row["img_type"]] = (row["file_name"], int(row["file_index"]))
    return sorted((event for event in found.values() if REQUIRED in event[2]), key=lambda event: event[:2])


@functools.cache
def opened(path):
    """A file and the identifiers of its rows, if it has rows."""
    file = h5py.File(path, "r", locking=False)
    return file, [name.decode() for name in file["id"][:]] if "id" in file else []


def row(dataset, at):
    """One event of a dense dataset, its frames first."""
    if dataset.chunks == (1, *dataset.shape[1:3], 1) and dataset.compression == "gzip" and not dataset.shuffle:
        return stored(dataset, at)
    turned = numpy.empty((FRAMES, *dataset.shape[1:3]), dataset.dtype)
    for y, line in enumerate(dataset[at]):  # a line at a time stays in the nearest cache
        turned[:, y] = line.T
    return turned


def stored(dataset, at):
    """As `row`, of frames that are a gzipped chunk each."""
    side = dataset.shape[1:3]
    frames = [zlib.decompress(dataset.id.read_direct_chunk((at, 0, 0, frame))[1]) for frame in range(FRAMES)]
    return numpy.frombuffer(b"".join(frames), dataset.dtype).reshape(FRAMES, *side)


def weighted(frame):
    """Twice the size, times sixteen: half-pixel centres, 3/4 of the nearer and 1/4 of the farther along both axes."""
    rows, columns = frame.shape
    wide, tall = numpy.empty((rows, 2 * columns), "int32"), numpy.empty((2 * rows, 2 * columns), "int32")
    three = 3 * frame
    wide[:, 0], wide[:, -1] = 4 * frame[:, 0], 4 * frame[:, -1]
    numpy.add(three[:, :-1], frame[:, 1:], out=wide[:, 1:-1:2])
    numpy.add(three[:, 1:], frame[:, :-1], out=wide[:, 2:-1:2])
    three = 3 * wide
    tall[0], tall[-1] = 4 * wide[0], 4 * wide[-1]
    numpy.add(three[:-1], wide[1:], out=tall[1:-1:2])
    numpy.add(three[1:], wide[:-1], out=tall[2:-1:2])
    return tall


def double(frame, out):
    """Bilinear to twice the size in whole numbers, halves upwards; missing where the nearest point is missing."""
    if frame.min() > MISSING:
        numbers = weighted(frame.astype("int32"))
        numbers += 8
        numpy.right_shift(numbers, 4, out=out, casting="unsafe")
        return
    there = frame != MISSING
    total, weight = weighted(numpy.where(there, frame, 0).astype("int32")), weighted(there.astype("int32"))
    mean = (2 * total + weight) // numpy.maximum(2 * weight, 1)
    out[...] = numpy.where(2 * weight < 16, MISSING, mean)


def zoomed(frame, out):
    """As `double`, by scipy where nothing is missing."""
    if frame.min() == MISSING:
        return double(frame, out)
    numbers = scipy.ndimage.zoom(frame.astype("float64"), 2, order=1, mode="nearest", grid_mode=True)
    out[...] = numpy.floor(numbers + 0.5)


def flashes(points, out):
    """Flashes by SEVIR's own rule, every count repeated in the smaller cells of its own."""
    seconds, x, y = points[:, 0], points[:, 3], points[:, 4]
    inside = (x >= 0) & (x < CELLS) & (y >= 0) & (y < CELLS)
    frame = numpy.maximum(numpy.digitize(seconds[inside], EDGES) - 1, 0)
    cell = (frame * CELLS + y[inside].astype(int)) * CELLS + x[inside].astype(int)
    counts = numpy.bincount(cell, minlength=FRAMES * CELLS * CELLS).astype(out.dtype).reshape(FRAMES, CELLS, CELLS)
    times = out.shape[-1] // CELLS
    out.reshape(FRAMES, CELLS, times, -1)[...] = numpy.repeat(counts, times, axis=2)[:, :, None, :]


def read(folder, name, part, modality, resize, out):
    """One modality of an event, as it is stored."""
    file, ids = opened(os.path.join(folder, "data", part[0]))
    if modality == "lght":
        return flashes(file[name][:], out)
    if ids[part[1]] != name:
        raise ValueError(f"row {part[1]} of {part[0]} is {ids[part[1]]}; expected {name}")
    frames = row(file[modality], part[1])
    if frames.shape == out.shape:
        out[...] = frames
        return
    for frame, place in zip(frames, out):
        resize(frame, place)


def backfill(folder, output, modality, first, group, resize):
    """Writes one modality of a shard; which of its events have it."""
    array = zarr.open_group(output, mode="r+")[modality]
    values = numpy.full((len(group), *array.shape[1:]), array.fill_value, array.dtype)
    for (_, name, parts), out in zip(group, values):
        if modality in parts:
            read(folder, name, parts[modality], modality, zoomed if resize == "scipy" else double, out)
    array[first:first + len(group)] = values
    return [modality in parts for _, _, parts in group]


def quiet_threads():
    """One process a core is all the parallelism there is room for."""
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})


def create(output, found, like):
    """The store without its values; events of a shard."""
    root = zarr.create_group(output, overwrite=True)
    for name in MODALITIES:
        array = like[name]
        root.create_array(name, shape=array.shape, dtype=array.dtype, fill_value=array.fill_value, chunks=array.chunks,
                          shards=array.shards, compressors=array.compressors, dimension_names=array.metadata.dimension_names)
    coordinate(root, "time", numpy.array([seconds for seconds, _, _ in found], "int64"),
               {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"})
    coordinate(root, "event", numpy.array([name for _, name, _ in found], numpy.dtypes.StringDType()), {})
    zarr.consolidate_metadata(output)
    return like[MODALITIES[0]].shards[0]


def coordinate(root, name, values, attributes):
    """An array of what is known of each event."""
    array = root.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=("event",), attributes=attributes)
    array[...] = values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--like", required=True)
    parser.add_argument("--catalog", default="CATALOG.csv")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--resize", choices=["numpy", "scipy"], default="numpy")
    options = parser.parse_args()
    found = events(pathlib.Path(options.input) / options.catalog)
    size = create(options.output, found, zarr.open_group(options.like, mode="r"))
    shards = [(first, found[first:first + size]) for first in range(0, len(found), size)]
    with concurrent.futures.ProcessPoolExecutor(options.workers, initializer=quiet_threads) as pool:
        jobs = [pool.submit(backfill, options.input, options.output, modality, first, group, options.resize)
                for first, group in shards for modality in MODALITIES]
        present = sum(sum(job.result()) for job in jobs)
    print(json.dumps({"events": len(found), "parts": present}))


if __name__ == "__main__":
    main()
