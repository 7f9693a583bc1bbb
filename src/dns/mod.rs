//! The DNS wire format: names, numbers, and the parts of a message.

mod name;
mod numbers;

pub use name::{MAX_LABEL, MAX_NAME, Name, NameError};
pub use numbers::{Class, Opcode, Rcode, RrType, Ttl};
