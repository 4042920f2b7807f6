"""Prints where the points of GRIB messages are, one JSON object a file.

`points` are [index, latitude, longitude] of the corners and of a few thousand points between them; the index is that
of rows in the message's own direction along x and y. REFERENCE is who computes them:
eccodes: ecCodes;
proj: PROJ, from the numbers that ecCodes reads of the section: metres in a map's plane on any earth;
corners: rows and columns at equal steps between the first corner and the last.

read_grid.py REFERENCE FILE [REFERENCE FILE …]
"""

import json
import pathlib
import subprocess
import sys

import eccodes
import numpy as np

SAMPLES = 2000


def sample(nx, ny):
    corners = [0, nx - 1, (ny - 1) * nx, ny * nx - 1]
    return np.unique(np.concatenate([corners, np.linspace(0, nx * ny - 1, SAMPLES).astype(int)]))


def number(message, key):
    return eccodes.codes_get(message, key, float)


def size(message):
    keys = ("Ni", "Nj") if eccodes.codes_is_defined(message, "Ni") else ("Nx", "Ny")
    return [eccodes.codes_get(message, key, int) for key in keys]


def by_eccodes(message):
    at = sample(*size(message))
    return at, *(eccodes.codes_get_array(message, key)[at] for key in ("latitudes", "longitudes"))


def corners(message):
    """Latitudes of the rows and longitudes of the columns."""
    nx, ny = size(message)
    first, last = (
        [number(message, f"{axis}Of{which}GridPointInDegrees") for axis in ("latitude", "longitude")]
        for which in ("First", "Last")
    )
    return np.linspace(first[0], last[0], ny), first[1] + np.linspace(0, (last[1] - first[1]) % 360, nx)


def by_corners(message):
    nx, ny = size(message)
    at = sample(nx, ny)
    rows, columns = corners(message)
    return at, rows[at // nx], columns[at % nx]


def figure(message):
    if number(message, "earthIsOblate"):
        major, minor = number(message, "earthMajorAxisInMetres"), number(message, "earthMinorAxisInMetres")
        return f"+a={major!r} +b={minor!r}"
    return f"+R={number(message, 'radius')!r}"


def projection(message):
    kind = eccodes.codes_get(message, "gridType")
    if kind == "lambert_azimuthal_equal_area":
        origin, meridian = number(message, "standardParallelInDegrees"), number(message, "centralLongitudeInDegrees")
        return f"+proj=laea +lat_0={origin} +lon_0={meridian}"
    scale = number(message, "LaDInDegrees")
    if kind == "mercator":
        return f"+proj=merc +lat_ts={scale} +lon_0={number(message, 'longitudeOfFirstGridPointInDegrees')}"
    if kind == "polar_stereographic":
        south = int(number(message, "projectionCentreFlag")) & 128
        pole, scale = (-90, -abs(scale)) if south else (90, abs(scale))
        meridian = number(message, "orientationOfTheGridInDegrees")
        return f"+proj=stere +lat_0={pole} +lat_ts={scale} +lon_0={meridian}"
    name = {"lambert": "lcc", "albers": "aea"}[kind]
    parallels = [number(message, f"Latin{k}InDegrees") for k in (1, 2)]
    meridian = number(message, "LoVInDegrees")
    return f"+proj={name} +lat_0={scale} +lat_1={parallels[0]} +lat_2={parallels[1]} +lon_0={meridian}"


def turned(message):
    """Places on a globe with other poles, in radians as PROJ has them."""
    nx, ny = size(message)
    at = sample(nx, ny)
    rows, columns = (np.radians(degrees) for degrees in corners(message))
    pole, meridian = (number(message, f"{axis}OfSouthernPoleInDegrees") for axis in ("latitude", "longitude"))
    text = f"+proj=ob_tran +o_proj=longlat +o_lat_p={-pole} +o_lon_p=0 +lon_0={meridian} {figure(message)}"
    return at, {"proj": text, "first": None, "x": columns[at % nx].tolist(), "y": rows[at // nx].tolist()}


def metric(message):
    nx, ny = size(message)
    at = sample(nx, ny)
    names = ("Di", "Dj") if eccodes.codes_get(message, "gridType") == "mercator" else ("Dx", "Dy")
    dx, dy = (number(message, f"{name}InMetres") for name in names)
    dx *= -1 if eccodes.codes_get(message, "iScansNegatively", int) else 1
    dy *= 1 if eccodes.codes_get(message, "jScansPositively", int) else -1
    first = [number(message, f"{axis}OfFirstGridPointInDegrees") for axis in ("longitude", "latitude")]
    text = f"{projection(message)} {figure(message)} +units=m +no_defs"
    return at, {"proj": text, "first": first, "x": (at % nx * dx).tolist(), "y": (at // nx * dy).tolist()}


def by_proj(message):
    """In a process of its own: ecCodes and pyproj bring a PROJ each, and one process cannot end with both."""
    at, grid = turned(message) if eccodes.codes_get(message, "gridType") == "rotated_ll" else metric(message)
    script = pathlib.Path(__file__).with_name("inverse.py")
    done = subprocess.run([sys.executable, script], input=json.dumps(grid), capture_output=True, text=True, check=True)
    return at, *json.loads(done.stdout)


REFERENCES = {"eccodes": by_eccodes, "proj": by_proj, "corners": by_corners}

for reference, path in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(path, "rb") as file:
        message = eccodes.codes_grib_new_from_file(file)
    at, latitude, longitude = REFERENCES[reference](message)
    points = [[int(i), float(y), float(x)] for i, y, x in zip(at, latitude, longitude)]
    scanning = eccodes.codes_get(message, "scanningMode", int)
    print(json.dumps({"file": path, "nx": size(message)[0], "scanning": scanning, "points": points}))
    eccodes.codes_release(message)
