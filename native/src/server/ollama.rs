//! Ollama's API, for the editors that speak it: the same conversation, over HTTP.
//!
//! In: requests to chat and to generate, and questions about models. Out: Ollama's shapes, its errors too. Never: a model that
//! is fetched, made, renamed or deleted.

use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use lyn::chat::control::{FIM_BEGIN, FIM_END, FIM_HOLE};
use lyn::error::{escape, quote};
use lyn::generate::Event;
use lyn::wire::ollama::{self, Lines, What, fields, plain_name};
use lyn::wire::openai::TextRequest;
use lyn::wire::time::timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::body::parsed;
use super::chat::{self, Started};
use super::cut::Cut;
use super::dialect::ClientDialect;
use super::guard::{KeyId, Who};
use super::loaded::Loaded;
use super::refusal::{Handled, Refusal, ok};
use super::shared::{Server, Shared};
use super::sse::{self, StreamFormat};

/// Whose API this is. Clients refuse servers that are older than what they use; lyn's own number is at `/version`.
const VERSION: &str = "0.13.5";
/// Nothing unloads the model while the server runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// An answer by lines, or as its last one.
struct Told {
    lines: Lines,
    last: Map<String, Value>,
}

impl StreamFormat for Told {
    const KIND: &'static str = "application/x-ndjson";
    // An empty line is no line.
    const KEEP_ALIVE: &'static str = "\n";

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        self.lines.take(event, false, now()).map_or(String::new(), |line| format!("{}\n", Value::Object(line)))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        cut.map_or(String::new(), |cut| format!("{}\n", ClientDialect::Ollama.envelope(&cut.into(), None)))
    }

    fn take(&mut self, _choice: u32, event: &Event) {
        self.last = self.lines.take(event, true, now()).unwrap_or(std::mem::take(&mut self.last));
    }

    fn whole(&mut self) -> Value {
        Value::Object(self.last.clone())
    }
}

/// `POST /api/chat`
pub(crate) async fn chat(server: State<Shared>, who: Who, body: Body) -> Handled {
    respond(server, who, body, false).await
}

/// `POST /api/generate`
pub(crate) async fn generate(server: State<Shared>, who: Who, body: Body) -> Handled {
    respond(server, who, body, true).await
}

async fn respond(State(server): State<Shared>, Extension(key): Who, body: Body, generates: bool) -> Handled {
    server.check_open()?;
    let rules = server.rules(true, true);
    let asked = parsed(&server, body, move |bytes| ollama::asked(&rules, bytes, generates)).await?;
    let lines = Lines::new(asked.model, generates);
    let (answer, headers) = match asked.what {
        What::Load { done_reason } => {
            server.loaded()?;
            return Ok(ok(&Value::Object(lines.empty(done_reason, now()))));
        }
        What::Chat(request) => {
            let Started { answer, headers, .. } = chat::start(&server, key, *request, true).await?;
            (answer, headers)
        }
        What::Text(request) => text(&server, key, *request).await?,
    };
    sse::respond(answer, Told { lines, last: Map::new() }, asked.streams, headers).await
}

/// Asks for the answer to a text without a chat format.
async fn text(server: &Server, key: Option<KeyId>, request: TextRequest) -> Result<(Answer, HeaderMap), Refusal> {
    let headers = chat::ignored(request.ignored());
    let asking = Answer::ask(server, key, None, 1, move |language| Ok((request.to_requests(language)?.requests, ())));
    Ok((asking.await?.0, headers))
}

/// What is the same for all names: there is one model.
fn described(server: &Server, loaded: Option<&Loaded>) -> Map<String, Value> {
    let family = loaded.map_or("", |loaded| loaded.plan.model_type.as_str());
    let fingerprint = loaded.map_or(server.settings.models.loaded.as_str(), |loaded| loaded.fingerprint.as_str());
    let digest: String = Sha256::digest(fingerprint).iter().map(|byte| format!("{byte:02x}")).collect();
    let formats = loaded.map(|loaded| &loaded.plan.formats).into_iter().flatten();
    let widest = formats.max_by_key(|(_, bytes)| *bytes).map_or(String::new(), |(format, _)| format.to_uppercase());
    fields(json!({
        "size": loaded.map_or(0, |loaded| loaded.plan.weights_bytes),
        "digest": digest,
        "details": {
            "parent_model": "", "format": "safetensors", "family": family, "families": [family],
            "parameter_size": parameters(loaded.map_or(0, |loaded| loaded.plan.parameters)),
            "quantization_level": widest,
        },
    }))
}

/// A count of parameters as Ollama writes it: `4.4M`, `671.0B`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn parameters(count: u64) -> String {
    match count {
        1_000_000_000.. => format!("{:.1}B", count as f64 / 1e9),
        1_000_000.. => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}K", count as f64 / 1e3),
    }
}

/// `GET /api/tags`
pub(crate) async fn tags(State(server): State<Shared>) -> Response {
    let loaded = server.worker.loaded().ok();
    let described = described(&server, loaded.as_deref());
    let modified = timestamp(server.started, None);
    let model = |name: &str| {
        let mut model = fields(json!({ "name": name, "model": name, "modified_at": modified }));
        model.extend(described.clone());
        Value::Object(model)
    };
    let models: Vec<Value> = server.settings.models.listed().into_iter().map(model).collect();
    ok(&json!({ "models": models }))
}

/// `GET /api/ps`: the model in memory.
pub(crate) async fn ps(State(server): State<Shared>) -> Response {
    let Ok(loaded) = server.worker.loaded() else { return ok(&json!({ "models": [] })) };
    let name = &server.settings.models.loaded;
    let bytes = loaded.plan.total_bytes;
    let mut model = fields(json!({ "name": name, "model": name }));
    model.extend(described(&server, Some(&loaded)));
    model.extend(fields(json!({
        "size": bytes,
        "expires_at": timestamp((now() + FOREVER).as_secs(), None),
        "size_vram": if loaded.adapter.is_some() { bytes } else { 0 },
        "context_length": loaded.plan.context,
    })));
    ok(&json!({ "models": [model] }))
}

/// A request that names a model, by the older field or the newer one.
#[derive(Deserialize)]
struct Named {
    model: Option<String>,
    name: Option<String>,
    stream: Option<bool>,
}

/// The model that a request names, where it is one of those here.
async fn named(server: &Server, body: Body) -> Result<(String, Named), Refusal> {
    let named: Named = parsed(server, body, |bytes| Ok(lyn::json::read(bytes)?.0)).await?;
    let asked = named.model.as_deref().or(named.name.as_deref()).unwrap_or_default();
    let name = plain_name(asked);
    if server.settings.models.resolve(name).is_none() {
        let names = server.settings.models.listed().join(", ");
        let message = format!("model {} not found; available: {}", quote(asked), escape(&names));
        return Err(Refusal::invalid(StatusCode::NOT_FOUND, "model_not_found", message));
    }
    Ok((name.to_owned(), named))
}

/// `POST /api/show`
pub(crate) async fn show(State(server): State<Shared>, body: Body) -> Handled {
    let loaded = server.loaded()?;
    let (name, _) = named(&server, body).await?;
    let described = described(&server, Some(&loaded));
    let plan = &loaded.plan;
    let family = &plan.model_type;
    let language = loaded.language().ok();
    let calls = language.as_ref().is_some_and(|language| language.chat_format().format().is_some());
    let has = |token: &str| language.as_ref().is_some_and(|language| language.tokenizer().token_id(token).is_some());
    let fills = [FIM_BEGIN, FIM_HOLE, FIM_END].into_iter().all(has);
    let can = |ability: &str| loaded.model.get(ability) == Some(&Value::Bool(true));
    let capabilities = [("completion", true), ("tools", calls), ("insert", fills), ("thinking", can("thinking"))];
    let capabilities: Vec<&str> = capabilities.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    let mut info = fields(json!({
        "general.architecture": family,
        "general.basename": server.settings.models.loaded,
        "general.parameter_count": plan.parameters,
    }));
    for (key, value) in [
        ("context_length", json!(plan.context)),
        ("block_count", json!(plan.layers)),
        ("vocab_size", json!(loaded.model.get("vocab_size"))),
    ] {
        info.insert(format!("{family}.{key}"), value);
    }
    let defaults = loaded.model.get("defaults").and_then(Value::as_object).into_iter().flatten();
    let own = [("num_ctx".to_owned(), json!(plan.context))];
    let lines = defaults.map(|(key, value)| (key.clone(), value.clone())).chain(own);
    let parameters: Vec<String> = lines.map(|(key, value)| format!("{key} {value}")).collect();
    let modelfile = parameters.iter().map(|line| format!("\nPARAMETER {line}")).collect::<String>();
    Ok(ok(&json!({
        "license": "",
        "modelfile": format!("FROM {name}{modelfile}\n"),
        "parameters": parameters.join("\n"),
        "template": loaded.chat_format(),
        "details": described.get("details"),
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": timestamp(server.started, None),
    })))
}

/// `POST /api/pull`: what is here need not be fetched, and nothing else is.
pub(crate) async fn pull(State(server): State<Shared>, body: Body) -> Handled {
    let (_, Named { stream, .. }) = named(&server, body).await?;
    let done = json!({ "status": "success" });
    if stream == Some(false) {
        return Ok(ok(&done));
    }
    Ok(([(CONTENT_TYPE, Told::KIND)], format!("{done}\n")).into_response())
}

/// `GET /api/version`
pub(crate) async fn version() -> Response {
    ok(&json!({ "version": VERSION }))
}

/// What Ollama does and lyn does not.
pub(crate) async fn refused(method: Method, uri: Uri) -> Refusal {
    let what = match uri.path().trim_start_matches("/api/") {
        "embed" | "embeddings" => "this model writes text and has no embeddings; ask a server with an embedding model",
        "push" => "lyn serves one model and cannot push models",
        "create" | "copy" | "delete" => {
            "lyn serves the model that it was started with; other names are given with lyn serve --alias"
        }
        _ => "lyn does not store files",
    };
    let message = format!("{method} {}: {what}", escape(uri.path()));
    Refusal::invalid(StatusCode::NOT_IMPLEMENTED, "not_implemented", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: Ollama's own words for sizes.
    #[test]
    fn counts_of_parameters_are_short() {
        for (count, text) in [
            (0, "0.0K"),
            (1_500, "1.5K"),
            (999_999, "1000.0K"),
            (1_000_000, "1.0M"),
            (4_440_000, "4.4M"),
            (999_999_999, "1000.0M"),
            (1_000_000_000, "1.0B"),
            (671_026_419_200, "671.0B"),
        ] {
            assert_eq!(parameters(count), text, "{count}");
        }
    }
}
