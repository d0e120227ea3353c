//! The only place where connections, threads and files meet: what `plan` decided is done here.

pub mod beside;
pub mod digest;
pub mod dump;
pub mod journal;
pub mod load;
pub mod schema;
pub mod sink;
