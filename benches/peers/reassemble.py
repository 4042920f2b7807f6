"""Builds HRRR objects of nine variables out of published full-grid messages, under the keys of the NOAA bucket.

Packed values are copied byte for byte. No published set here holds all nine variables of one cycle, so HEADERS ARE
PATCHED for the benchmark: times (sections 1 and 4), parameter and level (sections 0 and 4), and the grid
definition (section 3) of the first message. The values stay inside the range of the variable they stand for.

usage: reassemble.py DATA OUTPUT CYCLES
"""

import datetime
import json
import pathlib
import struct
import sys

FIRST_CYCLE = datetime.datetime(2026, 7, 16)

# variable, file and message that lends its packed values, index text, (discipline, category, number), (surface, level)
SOURCES = [
    ("refc", "hrrr-conus/refc_20240101t00z_f00.grib2", "REFC:entire atmosphere", (0, 16, 196), (10, 0)),
    ("t2m", "hrrr-conus/t06z.wrfsfcf01-TMP.grib2", "TMP:2 m above ground", (0, 0, 0), (103, 2)),
    ("d2m", "hrrr-conus/temperature700_20260219t12z.grib2", "DPT:2 m above ground", (0, 0, 6), (103, 2)),
    ("u10", "hrrr-conus/t06z.wrfsfcf01-UGRD.grib2", "UGRD:10 m above ground", (0, 2, 2), (103, 10)),
    ("v10", "hrrr-conus/t06z.wrfsfcf01-missing-zeros.grib2", "VGRD:10 m above ground", (0, 2, 3), (103, 10)),
    ("cape", "hrrr-conus/t00z.wrfsfcf00-HPBL.grib2", "CAPE:surface", (0, 7, 6), (1, 0)),
    ("cin", "hrrr-conus-20260716t18z/massden_f00.grib2", "CIN:surface", (0, 7, 7), (1, 0)),
    ("hgt", "hrrr-conus/t00z.wrfprsf00-space.grib2", "HGT:surface", (0, 3, 5), (1, 0)),
    ("land", "hrrr-conus-20260716t18z/prate_f06.grib2", "LAND:surface", (2, 0, 0), (1, 0)),
]

PRODUCT_TEMPLATE_INSTANT = 0  # section 4, template 4.0
HOURS = 1  # code table 4.4


def first_message(path):
    """The first GRIB2 message of a file, split into its sections by number."""
    data = path.read_bytes()
    start = data.index(b"GRIB")
    (length,) = struct.unpack_from(">Q", data, start + 8)
    message = data[start : start + length]
    assert message.endswith(b"7777"), f"{path}: the first message is cut short"
    sections, at = {0: bytearray(message[:16])}, 16
    while message[at : at + 4] != b"7777":
        (size,) = struct.unpack_from(">I", message, at)
        sections[message[at + 4]] = bytearray(message[at : at + size])
        at += size
    return sections


def patched(sections, grid, cycle, parameter, level):
    """The message with time, parameter, level and grid replaced, and its values untouched."""
    sections = {number: bytearray(section) for number, section in sections.items()}
    sections[0][6] = parameter[0]
    when = (cycle.year, cycle.month, cycle.day, cycle.hour, 0, 0)
    struct.pack_into(">HBBBBB", sections[1], 12, *when)
    product = sections[4]
    assert struct.unpack_from(">H", product, 7)[0] == PRODUCT_TEMPLATE_INSTANT, "only instantaneous fields can stand in"
    product[9:11] = bytes(parameter[1:])
    struct.pack_into(">BI", product, 17, HOURS, 0)
    struct.pack_into(">BBI", product, 22, level[0], 0, level[1])
    struct.pack_into(">BBI", product, 28, 255, 255, 0xFFFFFFFF)
    sections[3] = grid
    body = b"".join(bytes(sections[number]) for number in sorted(sections) if number > 0) + b"7777"
    struct.pack_into(">Q", sections[0], 8, 16 + len(body))
    return bytes(sections[0]) + body


def write_cycle(output, cycle, messages, grid):
    """One object and its index."""
    key = f"hrrr.{cycle:%Y%m%d}/conus/hrrr.t{cycle:%H}z.wrfsfcf00.grib2"
    path = output / key
    path.parent.mkdir(parents=True, exist_ok=True)
    data, index = bytearray(), []
    for number, (_, _, text, parameter, level, sections) in enumerate(messages, start=1):
        index.append(f"{number}:{len(data)}:d={cycle:%Y%m%d%H}:{text}:anl:\n")
        data += patched(sections, grid, cycle, parameter, level)
    path.write_bytes(data)
    path.with_name(path.name + ".idx").write_text("".join(index))
    return len(data)


def main(data, output, cycles):
    data, output = pathlib.Path(data), pathlib.Path(output)
    messages = [(*source, first_message(data / source[1])) for source in SOURCES]
    templates = {struct.unpack_from(">H", m[5][5], 9)[0] for m in messages}
    grid = messages[0][5][3]
    points = {struct.unpack_from(">I", m[5][3], 6)[0] for m in messages}
    assert len(points) == 1, f"the messages are on grids of different size: {points}"
    total = sum(write_cycle(output, FIRST_CYCLE + datetime.timedelta(hours=h), messages, grid) for h in range(int(cycles)))
    note = "published packed values; headers (time, parameter, level, grid) patched for the benchmark"
    print(json.dumps({"cycles": int(cycles), "bytes": total, "packing": sorted(templates), "note": note}))


if __name__ == "__main__":
    main(*sys.argv[1:])
