//! What every HTTP client of this program stands on: connections, and how long a server asks to wait.
//!
//! In: an address. Out: a connection, made within a limit of time. Never: a request, a key, a redirect; those are `upstream`'s
//! and `hub`'s.

pub(crate) mod connect;
pub(crate) mod wait;
