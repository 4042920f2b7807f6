"""Repeats synthetic storm events, each time under other identifiers, into one HDF5 file a modality, as large as is wished.

usage: enlarge.py INPUT OUTPUT --times N [--chunked] [--catalogs EVENTS EVENTS ...]
--chunked stores every frame as a gzipped chunk, as `gustfront synth sevir --storage chunked` does; else values are contiguous.
--catalogs writes CATALOG-EVENTS.csv with so many events, the first of the files, beside the CATALOG.csv of all.
"""

import argparse
import csv
import functools
import pathlib
import string
import zlib

import h5py

FRAMES = 49
ID_BYTES = 16
GZIP = 4  # gustfront's own level
LETTERS = string.ascii_lowercase  # one more at the end of an identifier makes another event


@functools.cache
def opened(path):
    return h5py.File(path, "r", locking=False)


class Output:
    """The file of one modality, filled row by row or table by table."""

    def __init__(self, folder, modality, rows, like, chunked):
        self.name = f"{modality}/2019/SEVIR_{modality.upper()}_ALLEVENTS_2019_0101_1231.h5"
        path = folder / "data" / self.name
        path.parent.mkdir(parents=True)
        self.file, self.chunked = h5py.File(path, "w"), chunked
        self.file.attrs["origin"] = like.attrs["origin"]
        if modality in like:
            shape = like[modality].shape[1:]
            layout = {"chunks": (1, *shape[:2], 1), "compression": "gzip", "compression_opts": GZIP} if chunked else {}
            self.rows = self.file.create_dataset(modality, (rows, *shape), like[modality].dtype, **layout)
            self.ids = self.file.create_dataset("id", rows, f"S{ID_BYTES}")

    def add(self, at, name, values):
        """Writes the values of an event into a row, packed frames where chunked."""
        self.ids[at] = name.encode()
        if not self.chunked:
            self.rows[at] = values
            return
        for frame, packed in enumerate(values):
            self.rows.id.write_direct_chunk((at, 0, 0, frame), packed)


def source(folder, row, chunked):
    """What an event's row of the catalogue names, as `Output.add` takes it."""
    file = opened(folder / "data" / row["file_name"])
    if row["img_type"] == "lght":
        return file[row["id"]][()]
    values = file[row["img_type"]][int(row["file_index"])]
    return [zlib.compress(values[:, :, frame].tobytes(), GZIP) for frame in range(FRAMES)] if chunked else values


def catalogue(path, columns, rows):
    with open(path, "w", newline="") as text:
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def enlarge(folder, target, times, chunked):
    """Writes the files; the catalogue's columns, and its rows by event."""
    with open(folder / "CATALOG.csv", newline="") as text:
        reader = csv.DictReader(text)
        rows, columns = list(reader), reader.fieldnames
    outputs, made = {}, {}
    for modality in dict.fromkeys(row["img_type"] for row in rows):
        of = [row for row in rows if row["img_type"] == modality]
        outputs[modality] = Output(target, modality, times * len(of), opened(folder / "data" / of[0]["file_name"]), chunked)
    for modality, output in outputs.items():
        of = [row for row in rows if row["img_type"] == modality]
        for at, row in enumerate(of):
            values = source(folder, row, chunked)
            for number, letter in enumerate(LETTERS[:times]):
                name, index = row["id"] + letter, number * len(of) + at
                if modality == "lght":
                    output.file[name], index = values, 0
                else:
                    output.add(index, name, values)
                made.setdefault((letter, row["id"]), []).append(row | {"id": name, "file_name": output.name, "file_index": index})
        output.file.close()
    order = [(letter, name) for letter in LETTERS[:times] for name in dict.fromkeys(row["id"] for row in rows)]
    return columns, [made[key] for key in order]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--catalogs", type=int, nargs="*", default=[])
    options = parser.parse_args()
    columns, events = enlarge(options.input, options.output, options.times, options.chunked)
    for name, count in [("CATALOG.csv", len(events)), *((f"CATALOG-{count}.csv", count) for count in options.catalogs)]:
        catalogue(options.output / name, columns, [row for event in events[:count] for row in event])
    (options.output / "SYNTHETIC.txt").write_bytes((options.input / "SYNTHETIC.txt").read_bytes())


if __name__ == "__main__":
    main()
