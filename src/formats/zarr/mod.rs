//! Fields as a Zarr v3 store that grows a cycle at a time.
