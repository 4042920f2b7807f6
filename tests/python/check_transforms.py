"""Recomputes coordinates, wind rotation and regridding with pyproj and scipy, and fails where they disagree.

python check_transforms.py FOLDER: the folder holds cases.json and the raw little-endian arrays it names.
"""

import json
import pathlib
import sys

import numpy as np
from pyproj import Proj
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial import cKDTree

FOLDER = pathlib.Path(sys.argv[1])


class Grid:
    def __init__(self, spec):
        self.nx, self.ny = spec["nx"], spec["ny"]
        self.x = spec["x0"] + spec["dx"] * np.arange(self.nx)
        self.y = spec["y0"] + spec["dy"] * np.arange(self.ny)
        self.dx, self.dy, self.radius = spec["dx"], spec["dy"], spec["radius_m"]
        p = spec["projection"]
        sphere = f"+R={self.radius} +units=m +no_defs"
        if p["type"] == "lat_lon":
            self.proj = None
        elif p["type"] == "lambert":
            first, second = p["parallels"]
            self.proj = Proj(
                f"+proj=lcc +lat_0={p['latitude_origin']} +lon_0={p['longitude_origin']} "
                f"+lat_1={first} +lat_2={second} {sphere}"
            )
        else:
            self.proj = Proj(f"+proj=laea +lat_0={p['latitude_origin']} +lon_0={p['longitude_origin']} {sphere}")

    def geographic(self, x, y):
        return (x, y) if self.proj is None else self.proj(x, y, inverse=True)

    def plane(self, lon, lat):
        if self.proj is not None:
            return self.proj(lon, lat)
        middle = (self.x[0] + self.x[-1]) / 2
        return (lon - middle + 180) % 360 - 180 + middle, lat

    def points(self):
        x, y = np.meshgrid(self.x, self.y)
        return tuple(np.asarray(a) for a in self.geographic(x, y))

    def corners(self):
        """Longitude and latitude of the corners of the cells, (ny + 1, nx + 1)."""
        x = np.append(self.x - self.dx / 2, self.x[-1] + self.dx / 2)
        y = np.append(self.y - self.dy / 2, self.y[-1] + self.dy / 2)
        return tuple(np.asarray(a) for a in self.geographic(*np.meshgrid(x, y)))


def read(name, kind="<f4"):
    return np.fromfile(FOLDER / name, kind)


def unit(lon, lat):
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)


def check_coordinates(case):
    grid = Grid(case["grid"])
    lon, lat = grid.points()
    got_lat, got_lon = read(case["latitude"], "<f8"), read(case["longitude"], "<f8")
    worst = max(np.abs(got_lat - lat.ravel()).max(), np.abs((got_lon - lon.ravel() + 180) % 360 - 180).max())
    assert worst < 1e-5, f"coordinates differ by {worst} degrees"
    return worst


def check_rotation(case):
    """Against PROJ's meridian convergence, and the sign against a short step along the wind in the plane."""
    grid = Grid(case["grid"])
    lon, lat = grid.points()
    u, v = case["wind"]
    east, north = (read(case[k]).reshape(lat.shape).astype(float) for k in ("east", "north"))
    factors = grid.proj.get_factors(lon, lat)
    angle = np.radians(factors.meridian_convergence)
    worst = max(
        np.abs(east - (u * np.cos(angle) + v * np.sin(angle))).max(),
        np.abs(north - (v * np.cos(angle) - u * np.sin(angle))).max(),
    )
    assert worst < 1e-5 * np.hypot(u, v), f"rotated winds differ by {worst} m/s"
    x, y = np.meshgrid(grid.x, grid.y)
    end_lon, end_lat = grid.geographic(x + u, y + v)
    step_east = np.radians(end_lon - lon) * np.cos(np.radians(lat)) * grid.radius
    step_north = np.radians(end_lat - lat) * grid.radius
    turn = np.degrees(np.arctan2(east * step_north - north * step_east, east * step_east + north * step_north))
    # A map that is not conformal (LAEA) bends the angle between the wind and north by up to this.
    allowed = factors.angular_distortion + 1e-3
    assert (np.abs(turn) < allowed).all(), f"winds point {np.abs(turn).max()} degrees away"
    return worst


def nearest(source, target, field, got):
    """The source point nearest on the sphere; the field holds each point's own index."""
    lon, lat = target.points()
    x, y = source.plane(lon, lat)
    i, j = (x - source.x[0]) / source.dx, (y - source.y[0]) / source.dy
    inside = ((i > -0.5) & (i < source.nx - 0.5) & (j > -0.5) & (j < source.ny - 0.5)).ravel()
    points = unit(*source.points()).reshape(-1, 3)
    places = unit(lon, lat).reshape(-1, 3)
    distance, found = cKDTree(points).query(places)
    expected = field[found]
    either = np.isnan(expected) | np.isnan(got)
    same = (expected == got) | (np.isnan(expected) & np.isnan(got))
    assert np.isnan(got[~inside]).all(), "a point outside the source has a value"
    # A plane that bends distances draws the line between two cells elsewhere; both are then as near to 5 %.
    other = inside & ~same & ~either
    chosen = np.linalg.norm(points[got[other].astype(int)] - places[other], axis=-1)
    assert (chosen <= 1.05 * distance[other]).all(), "a source point that is not the nearest"
    # On the line between two cells either is right.
    clear = inside & (np.minimum(np.abs(i % 1 - 0.5), np.abs(j % 1 - 0.5)) > 1e-6).ravel()
    share = (clear & ~same).sum() / max(clear.sum(), 1)
    assert share < 0.01, f"{share:.1%} of the points differ"
    return share


def bilinear(source, target, field, got):
    lon, lat = target.points()
    x, y = source.plane(lon, lat)
    order = slice(None, None, -1) if source.dy < 0 else slice(None)
    valid = ~np.isnan(field).reshape(source.ny, source.nx)
    filled = np.where(valid, field.reshape(valid.shape), 0).astype(float)

    def interpolate(values):
        grid = (source.y[order], source.x)
        table = RegularGridInterpolator(grid, values[order], bounds_error=False, fill_value=np.nan)
        return table(np.stack([np.asarray(y), np.asarray(x)], -1)).ravel()

    weight = interpolate(valid.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(weight >= 0.5, interpolate(filled) / weight, np.nan)
    clear = np.isnan(weight) | (np.abs(weight - 0.5) > 1e-5)
    assert (np.isnan(expected) == np.isnan(got))[clear].all(), "missing at other points"
    worst = np.nanmax(np.abs(expected - got)[clear])
    # f32 fractions and arithmetic on values up to 12 that differ by up to 12 from point to point.
    assert worst < 2e-5, f"bilinear differs by {worst}"
    return worst


def area(polygon):
    """The signed area of [(x, y), …]."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, polygon[1:] + polygon[:1])) / 2


def overlap(subject, window):
    """Sutherland and Hodgman: the area of a polygon inside a convex one that runs anticlockwise."""
    for a, b in zip(window, window[1:] + window[:1]):
        side = [(b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) for p in subject]
        kept = []
        for p, q, s, t in zip(subject, subject[1:] + subject[:1], side, side[1:] + side[:1]):
            if s >= 0:
                kept.append(p)
            if (s >= 0) != (t >= 0):
                way = s / (s - t)
                kept.append((p[0] + way * (q[0] - p[0]), p[1] + way * (q[1] - p[1])))
        subject = kept
        if not subject:
            return 0.0
    return abs(area(subject))


def quadrilaterals(lon, lat, plane):
    x, y = (np.asarray(a) for a in plane(lon, lat))

    def at(j, i):
        polygon = [(x[b, a], y[b, a]) for a, b in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))]
        return polygon if area(polygon) > 0 else polygon[::-1]

    return at


def conservative(source, target, field, got, covered):
    """Cells as quadrilaterals with straight sides in an azimuthal equal-area plane around the target."""
    lon, lat = target.points()
    middle = np.unravel_index(lon.size // 2, lon.shape)
    plane = Proj(f"+proj=laea +lat_0={lat[middle]} +lon_0={lon[middle]} +R={source.radius} +units=m")
    source_cell = quadrilaterals(*source.corners(), plane)
    target_cell = quadrilaterals(*target.corners(), plane)
    x, y = (np.asarray(a) for a in source.plane(*target.corners()))
    columns, rows = (x - source.x[0]) / source.dx, (y - source.y[0]) / source.dy
    field, worst, compared = field.reshape(source.ny, source.nx), 0.0, 0
    for j in range(target.ny):
        for i in range(target.nx):
            near_i, near_j = columns[j : j + 2, i : i + 2], rows[j : j + 2, i : i + 2]
            low_i, high_i = max(int(near_i.min()) - 1, 0), min(int(near_i.max()) + 3, source.nx)
            low_j, high_j = max(int(near_j.min()) - 1, 0), min(int(near_j.max()) + 3, source.ny)
            cell = target_cell(j, i)
            found = [
                (overlap(cell, source_cell(b, a)), field[b, a])
                for b in range(low_j, high_j)
                for a in range(low_i, high_i)
            ]
            value, share = got[j * target.nx + i], covered[j * target.nx + i]
            whole = sum(size for size, _ in found) / abs(area(cell))
            assert abs(whole - share) < 2e-3, f"covered {share} of cell {i}, {j}, expected {whole}"
            valid = [(size, v) for size, v in found if size > 0 and not np.isnan(v)]
            weight = sum(size for size, _ in valid) / abs(area(cell))
            if weight < 1e-2:
                assert weight > 1e-6 or np.isnan(value), f"a value at {i}, {j} from nothing"
                continue
            expected = sum(size * v for size, v in valid) / sum(size for size, _ in valid)
            spread = max(v for _, v in valid) - min(v for _, v in valid)
            # Straight sides there and here bulge by 1e-4 of a cell; a sparsely covered cell magnifies that.
            allowed = 5e-4 * spread / weight + 1e-5
            assert abs(value - expected) < allowed, f"{value} at {i}, {j}, expected {expected} ± {allowed}"
            worst, compared = max(worst, abs(value - expected)), compared + 1
    assert compared > target.nx * target.ny / 4, f"only {compared} cells overlap"
    return worst


def check_regrid(case):
    source, target = Grid(case["source"]), Grid(case["target"])
    field, got = read(case["field"]), read(case["result"])
    assert np.isfinite(got).sum() > got.size / 4 and np.isnan(got).any(), "the case has both kinds of points"
    if case["method"] == "conservative":
        return conservative(source, target, field, got, read(case["covered"]))
    return {"nearest": nearest, "bilinear": bilinear}[case["method"]](source, target, field, got)


CHECKS = {"coordinates": check_coordinates, "rotation": check_rotation, "regrid": check_regrid}

failed = 0
for case in json.loads((FOLDER / "cases.json").read_text()):
    try:
        print(f"{case['name']}: worst {CHECKS[case['kind']](case):.2g}")
    except AssertionError as error:
        failed += 1
        print(f"{case['name']}: FAILED: {error}")
sys.exit(1 if failed else 0)
