"""Writes the seeds of the damage tests and fuzz targets beside itself: synthetic fields, packed by ecCodes.

Run it with a Python that has eccodes and numpy; the seeds are committed, so only a new kind of message needs it.
"""

import struct
from pathlib import Path

import eccodes
import numpy as np

FOLDER = Path(__file__).parent
NX, NY = 16, 11
MISSING = 9999.0
# Octets of section 5 from the twelfth on that the `bits` target takes: those of the longest template.
SCALE_OCTETS = 40


def values(holes=False):
    j, i = np.mgrid[:NY, :NX]
    field = 270.0 + 5.0 * np.sin(i / 3.0) + 0.25 * j
    if holes:
        field[(i + 2 * j) % 7 == 3] = MISSING
    return field.ravel()


def written(packing, field, **keys):
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    plain = {"Ni": NX, "Nj": NY, "latitudeOfFirstGridPointInDegrees": 50, "longitudeOfFirstGridPointInDegrees": 250}
    plain |= {"latitudeOfLastGridPointInDegrees": 47.5, "longitudeOfLastGridPointInDegrees": 253.75}
    plain |= {"iDirectionIncrementInDegrees": 0.25, "jDirectionIncrementInDegrees": 0.25}
    plain |= {"dataDate": 20240229, "dataTime": 600, "shortName": "2t", "missingValue": MISSING}
    plain["bitmapPresent"] = int(MISSING in field)
    for key, value in plain.items():
        eccodes.codes_set(handle, key, value)
    # ecCodes writes some packings only over values that are already there.
    eccodes.codes_set_values(handle, field)
    eccodes.codes_set(handle, "packingType", packing)
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, field)
    message = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return message


def sections(message):
    found, position = [], 16
    while message[position : position + 4] != b"7777":
        length = struct.unpack_from(">I", message, position)[0]
        found.append((message[position + 4], message[position + 5 : position + length]))
        position += length
    return found


def joined(parts):
    body = b"".join(struct.pack(">IB", len(content) + 5, number) + content for number, content in parts)
    return b"GRIB\xff\xff\x00\x02" + struct.pack(">Q", len(body) + 20) + body + b"7777"


def changed(message, **contents):
    by_number = {int(name[1:]): content for name, content in contents.items()}
    return joined([(number, by_number.get(number, content)) for number, content in sections(message)])


def run_length(simple):
    """Template 5.200 by hand: eight bits, levels 0 to 3 of values 0, 1, 5 and 20 tenths."""
    bits, greatest = 8, 3
    levels = [(number // 24) % (greatest + 1) for number in range(NX * NY)]
    codes, base = [], 2**bits - 1 - greatest
    for run in range(0, NX * NY, 24):
        length = min(24, NX * NY - run)
        codes.append(levels[run])
        rest = length - 1
        while rest:
            codes.append(greatest + 1 + rest % base)
            rest //= base
    definition = struct.pack(">IHBHHB", NX * NY, 200, bits, greatest, greatest, 1) + struct.pack(">3H", 1, 5, 20)
    return changed(simple, s5=definition, s6=b"\xff", s7=bytes(codes))


def bit_string(numbers):
    text = "".join(format(int(number), f"0{width}b") for number, width in numbers if width)
    length = -(-len(text) // 8)
    return int(text.ljust(length * 8, "0") or "0", 2).to_bytes(length, "big")


def complex_packing(simple, order, holes):
    """Templates 5.2 and 5.3 by hand: tenths in groups of 16 values, the last two of 14 and 2; all ones are missing."""
    field = values(holes)
    here = field != MISSING
    tenths = np.round(field[here] * 10).astype(int) - 2600
    first = tenths[:order].tolist()
    for _ in range(order):
        tenths = np.concatenate([[0], np.diff(tenths)])
    tenths[:order] = 0
    least = int(tenths.min()) if order else 0
    packed = np.full(field.size, -1)
    packed[here] = tenths - least
    packed[np.flatnonzero(here)[:order]] = 0
    groups = [group for group in np.split(packed, list(range(16, field.size - 2, 16)) + [field.size - 2])]
    references = [int(group[group >= 0].min()) for group in groups]
    highest = [int(group.max()) - reference for group, reference in zip(groups, references)]
    widths = [(high + int((group < 0).any())).bit_length() for high, group in zip(highest, groups)]
    bits, width_bits, length_bits = max(references).bit_length() or 1, max(widths).bit_length(), 1
    # Lengths are 14 + 2 k.
    lengths = [int(group.size == 16) for group in groups]
    extra = b"".join(struct.pack(">H", abs(n) | (0x8000 if n < 0 else 0)) for n in (first + [least] if order else []))
    columns = [(references, bits), (widths, width_bits), (lengths, length_bits)]
    data, numbers = extra + b"".join(bit_string([(n, width) for n in column]) for column, width in columns), []
    for group, reference, width in zip(groups, references, widths):
        numbers += [(n - reference if n >= 0 else (1 << width) - 1, width) for n in group]
    data += bit_string(numbers)
    definition = struct.pack(">IHfHHBBBBII", field.size, 3 if order else 2, 2600, 0, 1, bits, 0, 1, int(holes), 0, 0)
    definition += struct.pack(">IBBIBIB", len(groups), 0, width_bits, 14, 2, 2, length_bits)
    return changed(simple, s5=definition + (bytes([order, 2]) if order else b""), s6=b"\xff", s7=data)


def several_fields(bitmap, simple):
    """Fields that share a grid; the second and third share the first's bitmap."""
    parts = sections(bitmap)
    again = [(6, b"\xfe") if number == 6 else (number, content) for number, content in parts if number >= 4]
    plain = [part for part in sections(simple) if part[0] >= 4]
    return joined(parts + again + again + plain)


def messages():
    simple, bitmap = written("grid_simple", values()), written("grid_simple", values(holes=True))
    found = {
        "simple": simple,
        "simple-bitmap": bitmap,
        "constant": written("grid_simple", np.full(NX * NY, 273.15)),
        "several-fields": several_fields(bitmap, simple),
        "run-length": run_length(simple),
    }
    for name, packing in {
        "jpeg2000": "grid_jpeg",
        "png": "grid_png",
        "ccsds": "grid_ccsds",
        "ieee": "grid_ieee",
    }.items():
        found[name] = written(packing, values())
        found[f"{name}-bitmap"] = written(packing, values(holes=True))
    for order, name in enumerate(["complex", "differences-order-1", "differences-order-2"]):
        found[name] = complex_packing(simple, order, False)
        found[f"{name}-missing"] = complex_packing(simple, order, True)
    found["ieee-64"] = written("grid_ieee", values(), precision=2)
    found["damaged-between"] = simple + b"GRIB\xff\xff\x00\x02\0\0\0\0\0\0\x01\x00junk" + found["complex"]
    found["padded"] = b"\r\n" + simple + b"\0\0\0" + bitmap[:-7]
    return found


def bits(message):
    """What the `bits` target makes a message of: shape, template, bitmap or not, section 5 and section 7."""
    by_number = dict(sections(message))
    template = by_number[5][4:6]
    scale = by_number[5][6 : 6 + SCALE_OCTETS].ljust(SCALE_OCTETS, b"\0")
    holes = by_number[6][1:] if by_number[6][0] == 0 else b""
    packed = struct.pack(">H", struct.unpack(">I", by_number[5][:4])[0])
    return bytes([NX, NY]) + template + packed + bytes([len(holes)]) + scale + holes + by_number[7]


INDEXES = {
    "plain": "1:0:d=2024022906:TMP:2 m above ground:anl:\n2:190:d=2024022906:REFC:entire atmosphere:1 hour fcst:\n",
    "fields-of-one": "1.1:0:d=2024022906:UGRD:10 m above ground:anl:\n1.2:0:d=2024022906:VGRD:10 m above ground:anl:\n",
    "other-line-ends": "1:0:d=202402290615:APCP:surface:0-1 hour acc fcst:ens mean:x\r\n\r\n2:77:d=2024022906:a:b:c:\r\n",
    "unknown": "1:0:d=2024022906:var discipline=0 center=7 local_table=1 parmcat=16 parm=201:surface:anl:\n",
}


def write(kind, name, content):
    folder = FOLDER / kind
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


if __name__ == "__main__":
    for name, message in messages().items():
        write("message", name, message)
        if name not in ("several-fields", "damaged-between", "padded"):
            write("bits", name, bits(message))
    for name, text in INDEXES.items():
        write("index", name, text.encode())
