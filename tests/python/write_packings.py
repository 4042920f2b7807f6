"""Writes synthetic fields with ecCodes, in every compressed packing and many widths, and what ecCodes reads back.

Usage: write_packings.py FOLDER. Prints the names; FOLDER/NAME.grib2 is the message, FOLDER/NAME.f64 its values.
"""

import pathlib
import sys

import eccodes
import numpy as np

FOLDER = pathlib.Path(sys.argv[1])
NI, NJ = 83, 61
RANDOM = np.random.default_rng(5)
X, Y = np.meshgrid(np.arange(NI), np.arange(NJ))
SMOOTH = 250 + 40 * np.sin(X / 9) * np.cos(Y / 13)
FIELDS = {
    "smooth": SMOOTH,
    "noise": RANDOM.uniform(-5, 900, SMOOTH.shape),
    "steps": np.where((X // 20 + Y // 9) % 2 == 0, -3.0, np.round(SMOOTH / 10)),
    "negative": -SMOOTH,
}
WIDTHS = {
    "grid_jpeg": [1, 2, 3, 5, 8, 11, 12, 16, 17, 20, 24],
    "grid_png": [8, 16, 24, 32],
    "grid_ccsds": [1, 2, 3, 4, 5, 8, 9, 12, 15, 16, 17, 20, 24, 25, 28, 31, 32],
}
# Flags, block, interval, width: differences (8) or none, intervals that begin at bytes (32), fewer codes (16).
CCSDS = [(6, 16, 64, 12), (14, 8, 2, 10), (46, 64, 128, 11), (30, 32, 128, 4), (30, 16, 9, 2), (14, 8, 1, 3)]


def write(name, field, settings):
    """Writes one message unless ecCodes cannot write it (libpng's buffer)."""
    message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    for key, value in {"Ni": NI, "Nj": NJ, **settings}.items():
        eccodes.codes_set(message, key, value)
    try:
        eccodes.codes_set_values(message, field.ravel())
        again = eccodes.codes_new_from_message(eccodes.codes_get_message(message))
        values = eccodes.codes_get_values(again)
    except eccodes.CodesInternalError as error:
        print(f"left out: {name}: {error}", file=sys.stderr)
        return
    # Some fields are written otherwise where a packing cannot hold them.
    if eccodes.codes_get(again, "packingType") == settings["packingType"]:
        (FOLDER / f"{name}.grib2").write_bytes(eccodes.codes_get_message(again))
        values.astype("<f8").tofile(FOLDER / f"{name}.f64")
        print(name)


for kind, field in FIELDS.items():
    for packing, widths in WIDTHS.items():
        for bits in widths:
            write(f"{packing}-{bits}-{kind}", field, {"packingType": packing, "bitsPerValue": bits})
    for precision in (1, 2):
        write(f"grid_ieee-{precision}-{kind}", field, {"packingType": "grid_ieee", "precision": precision})
    for flags, block, interval, bits in CCSDS:
        settings = {"bitsPerValue": bits, "ccsdsFlags": flags, "ccsdsBlockSize": block, "ccsdsRsi": interval}
        write(f"grid_ccsds-{flags}-{block}-{interval}-{kind}", field, {"packingType": "grid_ccsds", **settings})
