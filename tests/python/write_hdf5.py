"""Writes HDF5 files with h5py in the folder given, and beside them what their datasets hold: every value as bytes, and
`expected.json` with shapes, types, layouts and texts."""

import json
import os
import sys

import h5py
import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(7)
expected = {}


def note(file, dataset, texts=None):
    """Remembers a dataset as h5py reads it back."""
    name = f"{file}.{dataset.name.strip('/').replace('/', '_')}.bin"
    shape = list(dataset.shape)
    entry = {
        "shape": shape,
        "type": "text" if texts is not None else dataset.dtype.newbyteorder("=").name,
        "chunks": None if dataset.chunks is None else list(dataset.chunks),
        "gzip": dataset.compression_opts if dataset.compression == "gzip" else None,
        "shuffle": bool(dataset.shuffle),
        "fletcher32": bool(dataset.fletcher32),
    }
    if texts is None:
        with open(os.path.join(folder, name), "wb") as out:
            out.write(np.ascontiguousarray(dataset[()]).astype(dataset.dtype.newbyteorder("<")).tobytes())
        entry["values"] = name
    else:
        entry["texts"] = texts
    expected.setdefault(file, {})[dataset.name.strip("/")] = entry


def values(shape, dtype):
    """Smooth numbers with noise, so that compression has something to do."""
    count = int(np.prod(shape))
    smooth = 90 * np.sin(np.arange(count) / 300.0) + random.normal(0, 4, count)
    return smooth.reshape(shape).astype(dtype) if dtype != "u1" else np.abs(smooth).reshape(shape).astype("u1")


def dense(name, libver, userblock=0):
    """The layouts that dense files may have."""
    with h5py.File(os.path.join(folder, name), "w", libver=libver, userblock_size=userblock) as f:
        f.create_dataset("contiguous_u8", data=values((5, 12, 10, 7), "u1"))
        f.create_dataset("contiguous_i16", data=values((5, 6, 8, 7), "<i2"))
        f.create_dataset("contiguous_f64", data=values((9, 5), "<f8"))
        f.create_dataset("frames_u8", data=values((5, 12, 10, 7), "u1"), chunks=(1, 12, 10, 1), compression="gzip")
        f.create_dataset("tiles_i16", data=values((5, 13, 11, 7), "<i2"), chunks=(2, 4, 5, 3), compression="gzip",
                         compression_opts=9, shuffle=True)
        f.create_dataset("events_i16", data=values((5, 6, 8, 7), "<i2"), chunks=(1, 6, 8, 7), shuffle=True)
        f.create_dataset("checked_f32", data=values((40, 9), "<f4"), chunks=(16, 9), compression="gzip", shuffle=True,
                         fletcher32=True)
        f.create_dataset("summed_f64", data=values((40, 9), "<f8"), chunks=(7, 4), fletcher32=True)
        f.create_dataset("plain_f64", data=values((300,), "<f8"), chunks=(64,))
        f.create_dataset("one_chunk", data=values((30, 4), "<i4"), chunks=(30, 4), compression="gzip")
        f.create_dataset("growing", data=values((21, 4), "<i4"), chunks=(4, 4), maxshape=(None, 4), compression="gzip")
        f.create_dataset("big_endian", data=values((6, 5), ">i2"))
        f.create_dataset("big_endian_chunks", data=values((6, 5), ">f4"), chunks=(2, 5), compression="gzip")
        for dtype in ["i1", "u2", "u4", "i8", "u8"]:
            f.create_dataset(f"group/inner/{dtype}", data=np.abs(values((4, 3), dtype)), chunks=(3, 3), shuffle=True)
        f.create_dataset("one", data=np.float32(2.5))
        f.create_dataset("empty", data=np.zeros((0, 5)))
        f.create_dataset("unwritten", shape=(4, 3), dtype="i2", fillvalue=-7)
        sparse = f.create_dataset("sparse", shape=(8, 6), dtype="i2", chunks=(2, 3), fillvalue=-9, compression="gzip")
        sparse[4:6, 0:3] = values((2, 3), "<i2")
        f.create_dataset("scale_offset", data=values((20, 4), "<i2"), chunks=(5, 4), scaleoffset=0)
        f.create_dataset("lzf", data=values((20, 4), "<i2"), chunks=(5, 4), compression="lzf")
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(f.id, b"compact", h5py.h5t.STD_I16LE, h5py.h5s.create_simple((3, 2)), compact)
        f["compact"][...] = [[1, -2], [3, -4], [5, -6]]
        names = [k for k in f if isinstance(f[k], h5py.Dataset)]
        for key in names + [f"group/inner/{k}" for k in f["group/inner"]]:
            note(name, f[key])
        ids = [f"S{700000 + 13 * k}" for k in range(5)]
        f.create_dataset("id", data=np.array(ids, dtype="S10"))
        f.create_dataset("id_chunked", data=np.array(ids, dtype="S7"), chunks=(2,), compression="gzip")
        f.create_dataset("id_variable", data=np.array(ids, dtype=object), dtype=h5py.string_dtype("ascii"))
        unicode = ["Größe", "", "雷", "a b ", "x" * 300]
        f.create_dataset("texts", data=np.array(unicode, dtype=object), dtype=h5py.string_dtype("utf-8"))
        for key in ["id", "id_chunked", "id_variable"]:
            note(name, f[key], ids)
        note(name, f["texts"], unicode)
        f.attrs["origin"] = "made for a test"
        f.attrs["count"] = np.int64(5)
        f["contiguous_i16"].attrs["scale_factor"] = np.array([0.01], "f4")
        f["contiguous_i16"].attrs["units"] = np.bytes_("degree_Celsius")
        f["contiguous_i16"].attrs["corners"] = np.array([1.5, -2.0, 3.0])


def keyed(name):
    """Lightning keyed by event: thousands of datasets in the root, some of them empty."""
    with h5py.File(os.path.join(folder, name), "w") as f:
        for k in range(1500):
            rows = 0 if k % 11 == 0 else 1 + k % 17
            f.create_dataset(f"S{700000 + k}", data=values((rows, 5), "<f8"))
            if k % 100 == 0 or k == 11:
                note(name, f[f"S{700000 + k}"])
        expected["counts"] = {"datasets": 1500, "empty": sum(k % 11 == 0 for k in range(1500))}


def elsewhere(name, libver):
    """Values that are not where the file's own bytes are, or nowhere."""
    path = os.path.join(folder, name)
    with h5py.File(f"{path}.other.h5", "w", libver=libver) as f:
        f["values"] = np.arange(24, dtype="<i2").reshape(4, 6)
    with h5py.File(path, "w", libver=libver) as f:
        f.create_dataset("external", (4, 6), "<i2", external=[(f"{path}.bin", 0, h5py.h5f.UNLIMITED)])[...] = 3
        layout = h5py.VirtualLayout((4, 6), "<i2")
        layout[:] = h5py.VirtualSource(f"{name}.other.h5", "values", (4, 6))
        f.create_virtual_dataset("virtual", layout)
        f.create_dataset("never", (4, 6), "<i2")
        f.create_dataset("never_chunked", (4, 6), "<i2", chunks=(1, 6))
        f.create_dataset("in_part", (4, 6), "<i2", chunks=(1, 3))[1:3] = 5
        f.create_dataset("filled", (4, 6), "<i2", chunks=(1, 6), fillvalue=-32768)[1] = 5
    with h5py.File(f"{path}.soft.h5", "w", libver=libver) as f:
        f["here"] = np.full((4, 6), 777, "<i2")
        f["soft"] = h5py.SoftLink("/again")
        f["again"] = h5py.SoftLink("/here")
        f["lost"] = h5py.SoftLink("/nothing")
        f["round"] = h5py.SoftLink("/round")
    # A group with a link to another file is of the new kind in any file.
    with h5py.File(f"{path}.linked.h5", "w", libver=libver) as f:
        f["here"] = np.full((4, 6), 777, "<i2")
        f["soft"] = h5py.SoftLink("/here")
        f["other"] = h5py.ExternalLink(f"{name}.other.h5", "/values")
        f["gone"] = h5py.ExternalLink("gone.h5", "/values")


def crossing(name):
    """Chunks that many events share, and one too large to be unpacked."""
    with h5py.File(os.path.join(folder, name), "w") as f:
        noise = random.integers(0, 4, (40, 16, 16, 49), dtype="u1")
        note(name, f.create_dataset("shared", data=noise, chunks=(17, 5, 16, 7), compression="gzip"))
        note(name, f.create_dataset("plain", data=noise, chunks=(17, 5, 16, 7)))
        many = f.create_dataset("many", (120, 96, 96, 2), "u1", chunks=(120, 12, 96, 2), compression="gzip")
        for k in range(8):
            many[:, k * 12 : k * 12 + 12] = k + 1
        f.create_dataset("huge", (300, 1000, 1000), "u1", chunks=(300, 1000, 1000), compression="gzip")


elsewhere("elsewhere.h5", "earliest")
elsewhere("elsewhere_late.h5", ("v114", "v114"))
crossing("crossing.h5")
dense("early.h5", "earliest")
dense("late.h5", ("v114", "v114"))
dense("latest.h5", ("latest", "latest"))
dense("userblock.h5", "earliest", userblock=512)
keyed("lightning.h5")
with open(os.path.join(folder, "expected.json"), "w") as out:
    json.dump(expected, out)
