//! [`guarded`]: calls into Arrow and Parquet with bytes from outside. Those crates may panic on a forged file; here that
//! becomes an error, because a bad file in a vault must never take a run down with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::codec::CodecError;

/// Runs `call`; a panic inside it is an error. What `call` has touched must not be used after an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(CodecError::Piece("its bytes make no sense to the Parquet reader".to_owned()))
    })
}
