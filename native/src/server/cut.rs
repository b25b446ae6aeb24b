//! Why an answer ended before its time, as metrics, logs and clients are told.

use lyn::error::Error;

use super::refusal::Refusal;

/// Why an answer ended before its time.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// The engine failed.
    Failed(Error),
    /// It waited too long for its turn.
    Waited,
    /// It took too long.
    Late,
    /// The client did not read.
    Unread,
    /// The server stops.
    Stopping,
}

impl Cut {
    /// The name in metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Cut::Failed(error) => error.code().name(),
            Cut::Waited => "queue_timeout",
            Cut::Late => "request_timeout",
            Cut::Unread => "slow_reader",
            Cut::Stopping => "server_shutdown",
        }
    }
}

impl From<Cut> for Refusal {
    fn from(cut: Cut) -> Refusal {
        match cut {
            Cut::Failed(error) => error.into(),
            Cut::Waited => {
                Refusal::unavailable("overloaded", "the request waited too long in the queue; try again later")
            }
            Cut::Late => Refusal::unavailable("request_timeout", "the answer took longer than this server allows"),
            Cut::Unread => Refusal::unavailable("slow_reader", "the answer was not read"),
            Cut::Stopping => Refusal::unavailable("server_shutdown", "the server is stopping"),
        }
    }
}
