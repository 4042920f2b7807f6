//! What several test files share.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

pub mod s3_server;
pub mod scripted_server;
