"""Times how long ecCodes takes from a message's bytes to its values, in one thread.

`grib2.py RUNS FILE...` prints a line for each file, its cells separated by tabs: the file, the mean of its values,
how many are missing, and the milliseconds of each run; or the file, `-` and why there are none.
"""

import pathlib
import sys
import time

import eccodes
import numpy

LONGEST = 1.5  # seconds after which the runs of one field stop, if there have been FEWEST
FEWEST = 3
MISSING = 1e30  # what ecCodes puts in the place of missing values


def decode(message):
    """The values of the first field, and the milliseconds it took to get them from a message that is parsed already."""
    handle = eccodes.codes_new_from_message(message)
    eccodes.codes_set(handle, "missingValue", MISSING)
    start = time.perf_counter()
    values = eccodes.codes_get_values(handle)
    elapsed = (time.perf_counter() - start) * 1e3
    eccodes.codes_release(handle)
    return values, elapsed


def measure(message, runs):
    """Mean, missing values and times of one field."""
    values, _ = decode(message)
    present = values[values != MISSING]
    mean, missing, times, start = float(numpy.mean(present)), values.size - present.size, [], time.perf_counter()
    while len(times) < runs and (len(times) < FEWEST or time.perf_counter() - start < LONGEST):
        times.append(f"{decode(message)[1]:.4f}")
    return [repr(mean), str(missing), *times]


for file in sys.argv[2:]:
    try:
        result = measure(pathlib.Path(file).read_bytes(), int(sys.argv[1]))
    except eccodes.CodesInternalError as error:
        result = ["-", str(error)]
    print("\t".join([file, *result]), flush=True)
