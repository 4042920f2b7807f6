//! Every option, pipeline and table, read whole and checked before anything runs.
