//! States to forecasts.
