//! What another engine expects of a text: log probabilities of its tokens and of the most probable ones in their places.
//!
//! In: ids. Out: a [`KnownPlace`] for each of them but the first, in whatever form the engine tells it. Never: a place that was not
//! told, or a token that is not the text's.

use std::collections::HashMap;
use std::sync::OnceLock;

use lyn::error::{Error, Result, quote};
use lyn::inspect::compare::KnownPlace;
use lyn::text::Tokenizer;
use lyn::wire::openai::reply::upstream;
use serde_json::{Value, json};

use super::client::Upstream;
use super::profile::Profile;

/// Bytes of an answer, for each token that it tells of. Texts of tokens are seldom longer than 20.
const BYTES_PER_TOKEN: usize = 512;
/// Text whose tokens are compared before anything else is asked for.
const SAMPLE_BYTES: usize = 16 << 10;

/// Scores texts by a model elsewhere.
pub(crate) struct Scores<'a> {
    upstream: &'a Upstream,
    model: &'a str,
    tokenizer: &'a Tokenizer,
    /// Most probable tokens to ask for at each place.
    top: u32,
    /// Ids by their texts; none for a text that several ids have.
    ids: OnceLock<HashMap<&'a str, Option<u32>>>,
}

impl<'a> Scores<'a> {
    /// Scores by `model`, whose tokens must be those of `tokenizer`. Nothing is sent yet.
    pub(crate) fn new(upstream: &'a Upstream, model: &'a str, tokenizer: &'a Tokenizer, top: u32) -> Scores<'a> {
        Scores { upstream, model, tokenizer, top, ids: OnceLock::new() }
    }

    /// Whether the engine cuts a text into the tokens that are known here. An engine without a route for that is believed, and its
    /// answers looked at. Errors: `upstream` where the tokens differ, or it cannot be reached.
    pub(crate) async fn check_tokens(&self, text: &str) -> Result<()> {
        let sample = &text[..text.floor_char_boundary(SAMPLE_BYTES)];
        let own = self.tokenizer.encode(sample, false)?;
        // By the names of vLLM and SGLang, and of llama.cpp.
        let body = json!({
            "model": self.model, "prompt": sample, "add_special_tokens": false,
            "content": sample, "add_special": false, "parse_special": false,
        });
        let most = BYTES_PER_TOKEN.saturating_mul(sample.len().saturating_add(1));
        let told = match self.upstream.post(&self.upstream.address().root(), "/tokenize", &body, most).await {
            Ok(told) => told,
            Err(error) if absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let ids: Option<Vec<u64>> =
            told.get("tokens").and_then(Value::as_array).and_then(|ids| ids.iter().map(Value::as_u64).collect());
        match ids {
            Some(ids) if !ids.iter().copied().eq(own.iter().copied().map(u64::from)) => {
                let place = ids.iter().zip(&own).position(|(there, here)| *there != u64::from(*here));
                let place = place.unwrap_or(own.len().min(ids.len()));
                Err(self.other_tokens(&format!("after {place} of {} tokens", own.len())))
            }
            _ => Ok(()),
        }
    }

    /// What the engine expects in the places of `ids[from..]`, each after the ids before it; of the first none can be expected.
    /// Errors: `upstream`, also where it tells nothing, or of other tokens.
    pub(crate) async fn score(&self, ids: &[u32], from: usize) -> Result<Vec<KnownPlace>> {
        let from = from.max(1);
        if from >= ids.len() {
            return Ok(vec![]);
        }
        match self.upstream.profile().await {
            Profile::Vllm | Profile::Lyn => self.by_prompt_logprobs(ids, from).await,
            Profile::Sglang => self.by_generate(ids, from).await,
            Profile::Llamacpp => self.one_by_one(ids, from).await,
            _ => self.by_echo(ids, from).await,
        }
    }

    /// vLLM's `prompt_logprobs`, which lyn has too: by ids.
    async fn by_prompt_logprobs(&self, ids: &[u32], from: usize) -> Result<Vec<KnownPlace>> {
        let mut body = self.asking(ids);
        body["prompt_logprobs"] = json!(self.top);
        if self.upstream.profile().await == Profile::Lyn {
            // A text may fill its context.
            body["max_tokens"] = json!(0);
        }
        let answer = self.upstream.post(self.upstream.address(), "/completions", &body, self.most(ids.len())).await?;
        let told = answer.pointer("/choices/0/prompt_logprobs").and_then(Value::as_array);
        let told = self.counted(told, ids.len())?;
        let mut places = vec![];
        for (place, (&id, told)) in ids.iter().zip(told).enumerate().skip(from) {
            let entries = told.as_object().ok_or_else(|| self.nothing(place))?;
            let (mut own, mut top) = (None, vec![]);
            for (name, entry) in entries {
                let other: u32 = name.parse().map_err(|_| self.wrong(place, &format!("a token {}", quote(name))))?;
                let log = self.log(entry.get("logprob"), place)?;
                top.push((other, log));
                if other == id {
                    own = Some(log);
                    self.same_text(id, entry.get("decoded_token"), place)?;
                }
            }
            if own.is_none() {
                return Err(self.wrong(place, &format!("no token {id}, which the text has there")));
            }
            places.push(self.place(own, top, place)?);
        }
        Ok(places)
    }

    /// SGLang's own route: by ids.
    async fn by_generate(&self, ids: &[u32], from: usize) -> Result<Vec<KnownPlace>> {
        let body = json!({
            "input_ids": ids, "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": self.top,
            "return_text_in_logprobs": true, "sampling_params": { "max_new_tokens": 1, "temperature": 0 },
        });
        let root = self.upstream.address().root();
        let answer = self.upstream.post(&root, "/generate", &body, self.most(ids.len())).await?;
        let list = |name: &str| answer.pointer(&format!("/meta_info/{name}")).and_then(Value::as_array);
        let own = self.counted(list("input_token_logprobs"), ids.len())?;
        let top = self.counted(list("input_top_logprobs"), ids.len())?;
        let mut places = vec![];
        for (place, ((&id, own), top)) in ids.iter().zip(own).zip(top).enumerate().skip(from) {
            let (log, other) = self.triple(own, place)?;
            if other != id {
                return Err(self.wrong(place, &format!("token {other} instead of {id}")));
            }
            self.same_text(id, own.get(2), place)?;
            let top = top.as_array().ok_or_else(|| self.nothing(place))?;
            let top = top.iter().map(|entry| self.triple(entry, place).map(|(log, id)| (id, log)));
            places.push(self.place(Some(log), top.collect::<Result<_>>()?, place)?);
        }
        Ok(places)
    }

    /// llama.cpp tells only of what it writes: a request for each place, of which it has read all but the last token.
    async fn one_by_one(&self, ids: &[u32], from: usize) -> Result<Vec<KnownPlace>> {
        let root = self.upstream.address().root();
        // A token that is text by itself.
        let whole = self.tokenizer.encode("a", false)?.first().copied();
        let mut places = vec![];
        for (place, &next) in ids.iter().enumerate().skip(from) {
            let mut body = json!({
                "prompt": ids.get(..place), "n_predict": 1, "n_probs": self.top, "temperature": 0, "cache_prompt": true,
                "stream": false,
            });
            let mut answer = self.upstream.post(&root, "/completion", &body, self.most(8)).await?;
            if answer.pointer("/completion_probabilities/0").is_none() {
                // Of half a character it tells nothing. What it chooses is forced; what it tells is from before the choice.
                body["logit_bias"] = json!([[whole, 1000]]);
                answer = self.upstream.post(&root, "/completion", &body, self.most(8)).await?;
            }
            let top = answer.pointer("/completion_probabilities/0/top_logprobs").and_then(Value::as_array);
            let top = top.ok_or_else(|| self.nothing(place))?.iter().map(|entry| {
                let id = entry.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
                let id = id.ok_or_else(|| self.wrong(place, "a token without an id"))?;
                Ok((id, self.log(entry.get("logprob"), place)?))
            });
            let top = top.collect::<Result<Vec<(u32, f64)>>>()?;
            let own = top.iter().find(|(id, _)| *id == next).map(|(_, log)| *log);
            places.push(self.place(own, top, place)?);
        }
        Ok(places)
    }

    /// OpenAI's `echo`: by texts of tokens, whose ids are looked up here. A text that several ids have is left out.
    async fn by_echo(&self, ids: &[u32], from: usize) -> Result<Vec<KnownPlace>> {
        let mut body = self.asking(ids);
        body["echo"] = json!(true);
        body["logprobs"] = json!(self.top);
        let answer = self.upstream.post(self.upstream.address(), "/completions", &body, self.most(ids.len())).await?;
        let list = |name: &str| answer.pointer(&format!("/choices/0/logprobs/{name}")).and_then(Value::as_array);
        let tokens = self.counted(list("tokens"), ids.len())?;
        let logs = self.counted(list("token_logprobs"), ids.len())?;
        let tops = self.counted(list("top_logprobs"), ids.len())?;
        let mut places = vec![];
        for (place, (((&id, text), log), top)) in ids.iter().zip(tokens).zip(logs).zip(tops).enumerate().skip(from) {
            self.same_text(id, Some(text), place)?;
            let log = self.log(Some(log), place)?;
            let entries = top.as_object().ok_or_else(|| self.nothing(place))?;
            let mut top = vec![(id, log)];
            for (text, log) in entries {
                if let Some(other) = self.id_of(text).filter(|other| *other != id) {
                    top.push((other, self.log(Some(log), place)?));
                }
            }
            places.push(self.place(Some(log), top, place)?);
        }
        Ok(places)
    }

    /// A completion of ids that writes as little as every engine allows.
    fn asking(&self, ids: &[u32]) -> Value {
        json!({ "model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0, "stream": false })
    }

    /// What an answer about so many tokens can have.
    fn most(&self, tokens: usize) -> usize {
        let entries = (self.top as usize).saturating_add(2).saturating_mul(tokens.saturating_add(2));
        entries.saturating_mul(BYTES_PER_TOKEN)
    }

    /// The list of what is told of a prompt, which what was written may follow.
    fn counted<'v>(&self, told: Option<&'v Vec<Value>>, expected: usize) -> Result<&'v [Value]> {
        let told = told.ok_or_else(|| self.nothing(1))?;
        told.get(..expected).filter(|_| told.len() <= expected.saturating_add(1)).ok_or_else(|| {
            let what = format!("sent log probabilities of {} tokens; the text has {expected}", told.len());
            upstream(self.upstream.address().shown(), what)
        })
    }

    fn log(&self, value: Option<&Value>, place: usize) -> Result<f64> {
        value.and_then(Value::as_f64).ok_or_else(|| {
            let found = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            self.wrong(place, &format!("{} instead of a log probability", quote(&found)))
        })
    }

    /// SGLang's `[log probability, id, text]`.
    fn triple(&self, entry: &Value, place: usize) -> Result<(f64, u32)> {
        let id = entry.get(1).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| self.wrong(place, "a token without an id"))?;
        Ok((self.log(entry.get(0), place)?, id))
    }

    fn place(&self, own: Option<f64>, top: Vec<(u32, f64)>, place: usize) -> Result<KnownPlace> {
        KnownPlace::new(own, top).map_err(|what| self.wrong(place, &what))
    }

    /// Refuses a token whose text is another one here. Where either is no whole text, or no text at all, nothing can be said.
    fn same_text(&self, id: u32, told: Option<&Value>, place: usize) -> Result<()> {
        let Some(told) = told.and_then(Value::as_str) else { return Ok(()) };
        let same = match told.strip_prefix("token_id:").and_then(|id| id.parse::<u32>().ok()) {
            Some(other) => other == id,
            None => {
                let own = String::from_utf8_lossy(self.tokenizer.piece_bytes(id));
                let partial = [&own, told].iter().any(|text| text.contains('\u{fffd}') || text.trim().is_empty());
                partial || told.starts_with("bytes:") || self.tokenizer.is_special(id) || own.trim() == told.trim()
            }
        };
        match same {
            true => Ok(()),
            false => Err(self.other_tokens(&format!("token {id}, after {place} tokens, is {} there", quote(told)))),
        }
    }

    /// The id that alone has this text.
    fn id_of(&self, text: &str) -> Option<u32> {
        if let Some(id) = text.strip_prefix("token_id:").and_then(|id| id.parse().ok()) {
            return Some(id);
        }
        let ids = self.ids.get_or_init(|| {
            let mut ids = HashMap::new();
            for id in 0..self.tokenizer.vocab_size() {
                if let Ok(text) = std::str::from_utf8(self.tokenizer.piece_bytes(id)) {
                    ids.entry(text).and_modify(|known| *known = None).or_insert(Some(id));
                }
            }
            ids
        });
        *ids.get(text)?
    }

    fn wrong(&self, place: usize, what: &str) -> Error {
        upstream(self.upstream.address().shown(), format!("sent, after {place} tokens, {what}"))
    }

    fn nothing(&self, place: usize) -> Error {
        let what = format!("sent no log probabilities of the token after {place} others");
        upstream(self.upstream.address().shown(), what).with_help(
            "compare with vLLM, SGLang, llama.cpp's server, lyn, or an engine whose completions have echo with logprobs; \
             --upstream-profile names its kind",
        )
    }

    fn other_tokens(&self, where_: &str) -> Error {
        let what = format!("has other tokens for this text: {where_}");
        upstream(self.upstream.address().shown(), what).with_help("compare models with one tokenizer")
    }
}

/// Whether an engine has no such route.
fn absent(error: &Error) -> bool {
    let status = error.details().get("status").and_then(Value::as_u64);
    matches!(status, Some(404 | 405 | 501))
}
