"""Reads a PROJ string, a first point (or none) and ways from it in the plane as JSON; prints their latitudes and longitudes."""

import json
import sys

from pyproj import Proj

grid = json.load(sys.stdin)
proj = Proj(grid["proj"])
x, y = proj(*grid["first"]) if grid["first"] else (0, 0)
longitude, latitude = proj([x + way for way in grid["x"]], [y + way for way in grid["y"]], inverse=True)
print(json.dumps([latitude, longitude]))
