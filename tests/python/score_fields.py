"""Scores the fields in a folder with the package `scores` and prints the numbers as JSON."""

import json
import operator
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from scores.categorical import ThresholdEventOperator
from scores.continuous import additive_bias, mae, rmse


def field(path, dtype):
    """A field of cells; what is not finite is missing."""
    values = np.fromfile(path, dtype).astype("f8")
    return xr.DataArray(np.where(np.isfinite(values), values, np.nan), dims="cell")


def contingency(forecast, truth, threshold):
    """Scores of the event `at least the threshold`."""
    manager = ThresholdEventOperator(default_op_fn=operator.ge).make_contingency_manager(
        forecast, truth, event_threshold=threshold
    )
    return {
        "csi": float(manager.critical_success_index()),
        "pod": float(manager.probability_of_detection()),
        "far": float(manager.false_alarm_ratio()),
        "frequency_bias": float(manager.frequency_bias()),
    }


def main(folder):
    forecast, truth = field(folder / "forecast", "<f4"), field(folder / "truth", "<f4")
    weights = field(folder / "area", "<f8")
    thresholds = json.loads((folder / "thresholds").read_text())
    print(
        json.dumps(
            {
                "bias": float(additive_bias(forecast, truth, weights=weights)),
                "mae": float(mae(forecast, truth, weights=weights)),
                "rmse": float(rmse(forecast, truth, weights=weights)),
                "thresholds": [contingency(forecast, truth, threshold) for threshold in thresholds],
            }
        )
    )


main(Path(sys.argv[1]))
