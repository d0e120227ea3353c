//! Where backups live. In this version a local directory; what a caller may rely on is written at [`Vault`].

mod durable;
mod error;
mod select;
mod space;
mod staging;
mod vault;

pub use error::{Damage, StoreError};
pub use select::BackupChoice;
pub use space::free_space;
pub use staging::{StagedFile, Staging};
pub use vault::Vault;
