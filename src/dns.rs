//! The DNS wire format: names, numbers, and the parts of a message.

mod message;
mod name;
mod numbers;
mod prefix;
mod query;
mod tsig;
mod writer;

pub use message::HEADER;
pub use name::{MAX_LABEL, MAX_NAME, Name, NameError, canonical_order, is_within, unescape};
pub use numbers::{Class, ExtendedError, Rcode, RrType, Ttl};
pub use prefix::{Prefix, PrefixError};
pub use query::{Ecs, Edns, Request, Unanswerable};
pub use tsig::refuse_tsig;
pub use writer::{QNAME, Section, UDP_SIZE, Writer, header_only};
