//! Chat completions: OpenAI's and DeepSeek's, whole or by chunks.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lyn::generate::{Constraint, Request};
use lyn::wire::openai::{ChatRequest, Completion};

use super::answer::Answer;
use super::body::{parsed_bytes, whole_body};
use super::guard::{KeyId, Who};
use super::refusal::{Handled, Refusal};
use super::shared::{Server, Shared, unix_seconds};
use super::{elsewhere, told};
use crate::upstream::Kind;

/// The seed in use, also where the request had none.
pub(crate) const SEED: HeaderName = HeaderName::from_static("x-seed");
/// Fields of the request that meant nothing.
const IGNORED: HeaderName = HeaderName::from_static("x-lyn-ignored-fields");
/// Demands of a schema that the answer is not held to.
const LOOSENED: HeaderName = HeaderName::from_static("x-lyn-loosened");
/// Why there is no thought where one was asked for.
const THINKING: HeaderName = HeaderName::from_static("x-thinking");

/// The header with fields that meant nothing, which are also in the log.
pub(crate) fn ignored(fields: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let fields = fields.join(", ");
    if let (false, Ok(value)) = (fields.is_empty(), HeaderValue::from_str(&fields)) {
        tracing::info!(fields, "fields were ignored");
        headers.insert(IGNORED, value);
    }
    headers
}

/// The headers with the seed, and with demands of a schema that are not held, as far as one header takes them.
pub(crate) fn made_with(request: Option<&Request>) -> HeaderMap {
    const MOST_BYTES: usize = 2 << 10;
    let mut headers = HeaderMap::new();
    headers.insert(SEED, HeaderValue::from(request.map_or(0, |request| request.sampling.seed)));
    let names = request.and_then(|request| request.constraint.as_ref()).map_or(&[][..], Constraint::loosened);
    let mut value = String::new();
    for (place, name) in names.iter().enumerate() {
        let name: String = name.escape_default().collect();
        if value.len() + name.len() > MOST_BYTES {
            value.push_str(&format!(", and {} more", names.len() - place));
            break;
        }
        value = if value.is_empty() { name } else { format!("{value}, {name}") };
    }
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(&value)) {
        headers.insert(LOOSENED, value);
    }
    headers
}

/// An answer on its way, for every dialect.
pub(crate) struct Started {
    pub(crate) answer: Answer,
    pub(crate) completion: Completion,
    pub(crate) choices: u32,
    /// What is said of the answer beside it.
    pub(crate) headers: HeaderMap,
}

/// Asks for the answer to a request that was written in another dialect, here or where a route leads. `any_model`: the
/// engine here answers whatever model the request names. Errors: as [`Answer::ask`], and 400 for the name of a model that
/// nobody has.
pub(crate) async fn start(
    server: &Server,
    key: Option<KeyId>,
    request: ChatRequest,
    any_model: bool,
) -> Result<Started, Refusal> {
    let leads = !server.settings.routes.is_empty();
    let asking = if leads { elsewhere::lead(server, Kind::Chat, request.to_body()) } else { None };
    if let Some(asking) = asking {
        let mut headers = ignored(request.ignored());
        let begun = asking.ask(server, key).await?;
        let (completion, choices) = (asking.completion(&begun), asking.choices());
        headers.extend(begun.headers);
        return Ok(Started { answer: begun.answer, completion, choices, headers });
    }
    if leads && !any_model {
        let rules = server.rules(false, false);
        let ignored = request.ignored().to_vec();
        return start_here(server, key, request.checked(&rules, ignored)?).await;
    }
    start_here(server, key, request).await
}

/// Asks the engine here.
async fn start_here(server: &Server, key: Option<KeyId>, request: ChatRequest) -> Result<Started, Refusal> {
    let user = request.user_id.clone();
    let mut headers = ignored(request.ignored());
    let choices = request.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
    let strict = server.settings.compat.is_strict();
    let log = server.settings.log_prompts;
    let fingerprint = server.loaded()?.fingerprint.clone();
    let asking = Answer::ask(server, key, user.as_deref(), choices as usize, move |language| {
        let asked = request.to_request(language)?;
        let id = uuid::Uuid::new_v4().to_string();
        let completion = request.completion(language, &asked, id, unix_seconds()).with_fingerprint(fingerprint);
        let completion = if strict { completion.without_empty_details() } else { completion };
        if log {
            let prompt = language.tokenizer().decode(&asked.request.prompt);
            tracing::warn!(target: "lyn::prompts", prompt, "asked");
        }
        let told = (completion, made_with(Some(&asked.request)), asked.thinking_disabled_by_tools);
        Ok((asked.requests().collect(), told))
    });
    let (answer, (completion, made_with, no_thought)) = asking.await?;
    headers.extend(made_with);
    if no_thought {
        headers.insert(THINKING, HeaderValue::from_static("disabled-by-tools"));
    }
    Ok(Started { answer, completion, choices, headers })
}

/// `POST /v1/chat/completions`
pub(crate) async fn completions(State(server): State<Shared>, Extension(key): Who, uri: Uri, body: Body) -> Handled {
    server.check_open()?;
    let bytes = whole_body(&server, body).await?;
    if let Some(response) = elsewhere::respond(&server, key, Kind::Chat, &bytes).await? {
        return Ok(response);
    }
    server.loaded()?;
    let rules = server.rules(uri.path().starts_with("/beta/"), false);
    let request = parsed_bytes(bytes, move |bytes| ChatRequest::parse_by(&rules, bytes)).await?;
    let streams = request.is_stream();
    let Started { answer, completion, choices, headers } = start_here(&server, key, request).await?;
    told::respond(answer, completion, choices, streams, headers).await
}
