//! Text to ids and back, and conversations to prompts, in the shapes of llama.cpp and vLLM.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use lyn::Language;
use lyn::error::{Code, Error, Result};
use lyn::wire::openai::ChatRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{parsed, whole_body};
use super::chat::ignored;
use super::refusal::{Handled, ok, ok_text};
use super::shared::Shared;

/// Both shapes; `content` makes it llama.cpp's.
#[derive(Deserialize)]
struct TokenizeRequest {
    /// vLLM's clients name it; there is one.
    #[serde(rename = "model")]
    _model: Option<String>,
    content: Option<String>,
    add_special: Option<bool>,
    parse_special: Option<bool>,
    with_pieces: Option<bool>,
    prompt: Option<String>,
    messages: Option<Value>,
    chat_template_kwargs: Option<Value>,
    add_special_tokens: Option<bool>,
    return_token_strs: Option<bool>,
}

#[derive(Deserialize)]
struct DetokenizeRequest {
    #[serde(rename = "model")]
    _model: Option<String>,
    tokens: Vec<u32>,
}

/// `POST /tokenize`
pub(crate) async fn tokenize(State(server): State<Shared>, body: Body) -> Handled {
    let bytes = whole_body(&server, body).await?;
    let (tokens, fields) = server
        .with_texts(move |language| {
            let (request, fields) = lyn::json::read(&bytes)?;
            Ok((tokens_of(language, &request)?, fields))
        })
        .await?;
    Ok((ignored(&fields), ok_text(tokens)).into_response())
}

/// An answer that may have millions of ids: none of them becomes a value of its own.
#[derive(Serialize)]
struct Tokens<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_strs: Option<Option<Vec<String>>>,
    tokens: &'t [u32],
}

impl Tokens<'_> {
    fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::new(Code::Internal, error.to_string()))
    }
}

fn tokens_of(language: &Language, request: &TokenizeRequest) -> Result<String> {
    let tokenizer = language.tokenizer();
    if let Some(content) = &request.content {
        let mut ids = tokenizer.encode(content, request.parse_special.unwrap_or(true))?;
        if request.add_special == Some(true) {
            ids = [language.raw_prompt("")?, ids].concat();
        }
        if request.with_pieces != Some(true) {
            return Tokens { count: None, max_model_len: None, token_strs: None, tokens: &ids }.text();
        }
        let pieces = ids.iter().map(|&id| {
            let bytes = tokenizer.piece_bytes(id);
            // Half a character is no text.
            let piece = std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text));
            json!({ "id": id, "piece": piece })
        });
        return Ok(json!({ "tokens": pieces.collect::<Vec<_>>() }).to_string());
    }
    let ids = match (&request.prompt, &request.messages) {
        (Some(prompt), _) => {
            // As the checkpoint's own tokenizer does it: clients look up the ids of control tokens this way.
            let ids = tokenizer.encode(prompt, request.parse_special.unwrap_or(true))?;
            let begun = if request.add_special_tokens == Some(false) { vec![] } else { language.raw_prompt("")? };
            [begun, ids].concat()
        }
        (None, Some(messages)) => {
            let arguments = &request.chat_template_kwargs;
            let conversation = json!({ "messages": messages, "chat_template_kwargs": arguments });
            ChatRequest::parse(conversation.to_string())?.to_request(language)?.request.prompt
        }
        (None, None) => {
            return Err(Error::new(Code::BadRequest, "expected one of content, prompt and messages, found none"));
        }
    };
    let pieces = (request.return_token_strs == Some(true))
        .then(|| ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.piece_bytes(id)).into_owned()));
    let token_strs = pieces.map(Iterator::collect::<Vec<String>>);
    let (count, max_model_len) = (Some(ids.len()), Some(language.context()));
    Tokens { count, max_model_len, token_strs: Some(token_strs), tokens: &ids }.text()
}

/// `POST /detokenize`
pub(crate) async fn detokenize(State(server): State<Shared>, body: Body) -> Handled {
    let bytes = whole_body(&server, body).await?;
    let text = server.with_texts(move |language| {
        let (request, fields): (DetokenizeRequest, _) = lyn::json::read(&bytes)?;
        let tokenizer = language.tokenizer();
        let size = tokenizer.vocab_size();
        if let Some(id) = request.tokens.iter().find(|&&id| id >= size) {
            let message = format!("tokens: expected ids below {size}, found {id}");
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "tokens"));
        }
        Ok((tokenizer.decode(&request.tokens), fields))
    });
    let (text, fields) = text.await?;
    Ok((ignored(&fields), ok(&json!({ "content": text, "prompt": text }))).into_response())
}

/// `GET /tokenizer_info`
pub(crate) async fn tokenizer_info(State(server): State<Shared>) -> Handled {
    let info = server.with_language(|language| Ok(Value::Object(language.tokenizer_info().clone()))).await?;
    Ok(ok(&info))
}

/// `POST /apply-template`: the prompt that a chat request makes.
pub(crate) async fn apply_template(State(server): State<Shared>, body: Body) -> Handled {
    let rules = server.rules(true, true);
    let request = parsed(&server, body, move |bytes| ChatRequest::parse_by(&rules, bytes)).await?;
    let headers = ignored(request.ignored());
    let prompt = server.with_language(move |language| {
        let prompt = request.to_request(language)?.request.prompt;
        Ok(language.tokenizer().decode(&prompt))
    });
    Ok((headers, ok(&json!({ "prompt": prompt.await? }))).into_response())
}
