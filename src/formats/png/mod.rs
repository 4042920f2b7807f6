//! Fields as pictures.
