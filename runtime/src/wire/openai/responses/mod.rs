//! OpenAI's Responses, without state: a request in other words than a chat completion's, and its answer as items.

mod items;
mod request;
mod response;

pub use request::ResponsesRequest;
pub use response::Response;
