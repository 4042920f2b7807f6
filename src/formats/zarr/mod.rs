//! Stores in Zarr v3 with CF attributes: one shard a variable, init and lead, and a flag that is written last.
//!
//! A store is a group of arrays over (`init_time`, `lead_time`, y, x). The init axis has a fixed origin and step and
//! grows by whole days; what was never written holds the fill value. All metadata is a function of the [`StoreSpec`]
//! and of the axis' length, so that the bytes of a store depend on what was written and never on the order.

mod axis;
mod coordinates;
mod crs;
mod describe;
mod error;
pub mod events;
mod layout;
mod metadata;
mod shard;
mod spec;
mod store;
mod stored;

pub use describe::{ArrayDescription, Description, InitDescription, describe};
pub use error::ZarrError;
pub use spec::{ArraySpec, StoreSpec};
pub use store::Store;
