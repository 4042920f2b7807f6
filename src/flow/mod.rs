//! Turns a checked pipeline into a running dataflow; the only module that speaks timely.
