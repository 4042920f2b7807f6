//! How good a forecast was, once the truth is known.
