//! A completion of a text: no chat format; with a suffix, what goes between two texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::request::{ChatRequest, ResponseFormat, StreamOptions, fit, resolve};
use super::rules::{self, Rules, invalid, refuse};
use super::sampling::{Sampling, Stop};
use super::shape::{FormFields, ResponseShape, Shape, StructuredOutputs};
use super::{ModelId, TextCompletion};
use crate::chat::Dialect;
use crate::chat::control::{BOS, EOT, FIM_BEGIN, FIM_END, FIM_HOLE};
use crate::error::{Result, quote};
use crate::generate::{Request, SamplingParams};
use crate::language::Language;
use crate::text::Tokenizer;

/// DeepSeek's default and cap of the tokens that fill a hole.
const FIM_TOKENS: u32 = 4096;
const MAX_PROMPTS: usize = 64;
const MAX_TEXT_BYTES: usize = 4 << 20;

/// The body of a text completion.
#[derive(Clone, Debug, Deserialize)]
pub struct TextRequest {
    /// What is continued, or goes before the hole.
    pub prompt: PromptField,
    /// What goes behind the hole; absent: there is none.
    pub suffix: Option<String>,
    /// Echoed in the answer.
    pub model: Option<String>,
    /// Tokens of the answer at most; 0 counts as absent.
    pub max_tokens: Option<i64>,
    /// The answer begins with the prompt.
    pub echo: Option<bool>,
    /// Report log probabilities, and of this many of the most probable tokens, 20 at most.
    pub logprobs: Option<u64>,
    /// Texts of control tokens in the prompt are those tokens.
    pub parse_special: Option<bool>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0, up to 1.
    pub top_p: Option<f64>,
    /// Only the k most probable; 0 and −1 mean all.
    pub top_k: Option<i64>,
    /// 0 to 1.
    pub min_p: Option<f64>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// 0.01 to 10.
    pub repetition_penalty: Option<f64>,
    /// −100 to 100, by id; keys that are no ids are ignored.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Any integer of 64 bits; absent: drawn.
    pub seed: Option<Number>,
    /// Texts that end the answer, 16 at most.
    pub stop: Option<Stop>,
    /// Ids that end the answer, 16 at most.
    pub stop_token_ids: Option<Vec<u32>>,
    /// Tokens before which no id ends the answer.
    pub min_tokens: Option<u32>,
    /// Do not let the model end its answer.
    pub ignore_eos: Option<bool>,
    /// Answers to each prompt, 8 at most.
    pub n: Option<i64>,
    /// Answer by chunks.
    pub stream: Option<bool>,
    /// How to stream.
    pub stream_options: Option<StreamOptions>,
    /// vLLM's ways to ask for a form.
    pub structured_outputs: Option<StructuredOutputs>,
    /// Its older name for a schema.
    pub guided_json: Option<Value>,
    /// And for a regular expression.
    pub guided_regex: Option<String>,
    /// And for answers of which one is given.
    pub guided_choice: Option<Vec<String>>,
    /// And for a grammar.
    pub guided_grammar: Option<String>,
    /// llama.cpp's name for a schema.
    pub json_schema: Option<Value>,
    /// And for a grammar.
    pub grammar: Option<String>,
    /// The form of an answer, as in chats.
    pub response_format: Option<ResponseFormat>,
    /// Whose prompts may share what is cached.
    pub user_id: Option<String>,
    #[serde(skip)]
    given: Given,
}

#[derive(Clone, Debug, Default)]
struct Given {
    model: ModelId,
    rules: Rules,
    ignored: Vec<String>,
}

/// One prompt or several, as text or as ids. Ids are taken as they are; text gets the token that begins texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string, an array of strings, of ids, or of arrays of ids")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}

/// One prompt.
enum Prompt<'r> {
    Text(&'r str),
    Ids(&'r [u32]),
}

impl PromptField {
    fn prompts(&self) -> Vec<Prompt<'_>> {
        match self {
            PromptField::Text(text) => vec![Prompt::Text(text)],
            PromptField::Texts(texts) => texts.iter().map(|text| Prompt::Text(text)).collect(),
            PromptField::Ids(ids) => vec![Prompt::Ids(ids)],
            PromptField::ManyIds(many) => many.iter().map(|ids| Prompt::Ids(ids)).collect(),
        }
    }
}

/// What a text completion asks of the engine.
#[derive(Clone, Debug)]
pub struct TextAsked {
    /// All answers, in the order of their `index`: those to the first prompt first.
    pub requests: Vec<Request>,
    /// Answers to each prompt.
    pub answers: u32,
    /// What each answer begins with: its prompt, where that was asked for.
    pub echoes: Vec<String>,
}

impl TextRequest {
    /// Parses and checks the body of a request.
    ///
    /// # Errors
    /// As [`ChatRequest::parse_by`].
    pub fn parse_by(rules: &Rules, body: impl AsRef<[u8]>) -> Result<TextRequest> {
        let (mut request, ignored) = rules::parse::<TextRequest>(body.as_ref(), rules.compat)?;
        let model = resolve(rules, request.model.as_deref())?;
        request.given = Given { model, rules: rules.clone(), ignored };
        request.check()?;
        Ok(request)
    }

    /// The one form that the answer is asked to have.
    fn form(&self) -> Result<ResponseShape> {
        let fields = FormFields {
            response_format: self.response_format.as_ref(),
            structured_outputs: self.structured_outputs.as_ref(),
            guided_json: self.guided_json.as_ref(),
            guided_regex: self.guided_regex.as_deref(),
            guided_choice: self.guided_choice.as_deref(),
            guided_grammar: self.guided_grammar.as_deref(),
            json_schema: self.json_schema.as_ref(),
            grammar: self.grammar.as_deref(),
        };
        let form = if self.given.rules.compat.is_strict() { ResponseShape::None } else { fields.form(false)? };
        match form {
            ResponseShape::None => Ok(form),
            _ if self.suffix.is_some() => Err(refuse("suffix", "suffix: cannot be used beside a form of the answer")),
            _ if self.ignore_eos == Some(true) || self.min_tokens > Some(0) => {
                Err(refuse("ignore_eos", "ignore_eos, min_tokens: cannot be used beside a form of the answer"))
            }
            form => Ok(form),
        }
    }

    fn check(&self) -> Result<()> {
        self.form()?;
        let strict = self.given.rules.compat.is_strict();
        self.sampling().check()?;
        let (default, cap) = self.token_limits();
        let range = if strict { 1..=i64::from(cap) } else { 0..=i64::MAX };
        if let Some(most) = self.max_tokens.filter(|most| !range.contains(most)) {
            return Err(invalid("max_tokens", &format!("[1, {}]", cap.max(default)), most));
        }
        if let Some(count) = self.logprobs.filter(|&count| count > 20) {
            return Err(invalid("logprobs", "[0, 20]", count));
        }
        if strict && self.stream_options.is_some() && !self.is_stream() {
            return Err(refuse("stream_options", "stream_options should be set along with stream = true"));
        }
        if self.echo == Some(true) && self.suffix.is_some() {
            return Err(refuse("echo", "echo: a text with a suffix cannot be echoed"));
        }
        if self.echo == Some(true) && self.logprobs.is_some() {
            let message = "echo: log probabilities of a prompt are not reported: expected echo or logprobs, found both";
            return Err(refuse("echo", message));
        }
        if strict && self.suffix.is_some() && self.given.model.thinking {
            return Err(refuse("suffix", "FIM completion does not support the thinking mode"));
        }
        let prompts = self.prompt.prompts();
        if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
            return Err(refuse(
                "prompt",
                format!("prompt: expected 1 to {MAX_PROMPTS} prompts, found {}", prompts.len()),
            ));
        }
        let texts = prompts.iter().filter_map(|prompt| match prompt {
            Prompt::Text(text) => Some(("prompt", *text)),
            Prompt::Ids(_) => None,
        });
        for (field, text) in texts.chain(self.suffix.as_deref().map(|suffix| ("suffix", suffix))) {
            if text.len() > MAX_TEXT_BYTES {
                let found = text.len();
                return Err(refuse(field, format!("{field}: at most {MAX_TEXT_BYTES} bytes, found {found}")));
            }
        }
        Ok(())
    }

    /// Names of fields that mean nothing here, 32 at most.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.given.ignored
    }

    /// Whether the answer is to come by chunks.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// What the engine is to do.
    ///
    /// # Errors
    /// `bad_request` for ids that the model does not have, and for a suffix where the vocabulary has no hole;
    /// `context_overflow` where a prompt is too long.
    pub fn to_requests(&self, language: &Language) -> Result<TextAsked> {
        let tokenizer = language.tokenizer();
        let rules = &self.given.rules;
        let defaults = match rules.checkpoint_sampling {
            true => SamplingParams::recommended(language.defaults()),
            false => SamplingParams::default(),
        };
        let sampling = self.sampling().params(defaults);
        let asked = self.max_tokens.filter(|&most| most > 0).map(|most| u32::try_from(most).unwrap_or(u32::MAX));
        let most = asked.unwrap_or(self.token_limits().0);
        let mut stop_ids = self.stop_token_ids.clone().unwrap_or_default();
        if self.suffix.is_some() {
            stop_ids.extend(tokenizer.token_id(EOT));
        }
        let answers = self.sampling().answers();
        let shape = Shape { response: self.form()?, ..Shape::default() };
        let constraint = language.grammars().constraint(&shape, false, Dialect::Local)?;
        let mut all = TextAsked { requests: vec![], answers, echoes: vec![] };
        for prompt in self.prompt.prompts() {
            let ids = self.ids(language, tokenizer, &prompt)?;
            let max_tokens = fit(&ids, most, language.context(), asked.is_some() && rules.compat.is_strict())?;
            let echo = match prompt {
                _ if self.echo != Some(true) => String::new(),
                Prompt::Text(text) => text.to_owned(),
                Prompt::Ids(ids) => tokenizer.decode(ids),
            };
            for choice in 0..answers {
                all.requests.push(Request {
                    sampling: SamplingParams { choice, ..sampling.clone() },
                    max_tokens: Some(max_tokens),
                    stop: self.sampling().stops(),
                    stop_ids: stop_ids.clone(),
                    min_tokens: self.min_tokens.unwrap_or(0),
                    ignore_eos: self.ignore_eos == Some(true),
                    constraint: constraint.clone(),
                    ..Request::new(ids.clone())
                });
                all.echoes.push(echo.clone());
            }
        }
        Ok(all)
    }

    /// The answer to this request, as it will be told. `created`: Unix seconds.
    #[must_use]
    pub fn completion(
        &self,
        language: &Language,
        asked: &TextAsked,
        id: impl Into<String>,
        created: u64,
    ) -> TextCompletion {
        let model = self.model.clone().unwrap_or_else(|| language.model_type().to_owned());
        let mut completion = TextCompletion::new(id, created, model, asked);
        if self.is_stream() && self.stream_options.and_then(|options| options.include_usage) == Some(true) {
            completion = completion.with_usage_apart();
        }
        if self.logprobs.is_some() {
            completion = completion.with_logprobs(Arc::clone(language.tokenizer()));
        }
        completion
    }

    /// Default and cap of the tokens of an answer.
    fn token_limits(&self) -> (u32, u32) {
        match self.suffix {
            Some(_) => (FIM_TOKENS, FIM_TOKENS),
            None => ChatRequest::token_limits(self.given.model.thinking),
        }
    }

    fn ids(&self, language: &Language, tokenizer: &Tokenizer, prompt: &Prompt<'_>) -> Result<Vec<u32>> {
        let encode = |text: &str| tokenizer.encode(text, self.parse_special == Some(true));
        let text = match prompt {
            Prompt::Text(text) => encode(text)?,
            Prompt::Ids(ids) => {
                if let Some(id) = ids.iter().find(|&&id| id >= tokenizer.vocab_size()) {
                    let most = tokenizer.vocab_size();
                    return Err(refuse("prompt", format!("prompt: expected ids below {most}, found {id}")));
                }
                ids.to_vec()
            }
        };
        let Some(suffix) = &self.suffix else {
            return match prompt {
                Prompt::Text(_) => Ok([language.raw_prompt("")?, text].concat()),
                Prompt::Ids(_) => Ok(text),
            };
        };
        around_hole(tokenizer, &text, &encode(suffix)?)
    }

    fn sampling(&self) -> Sampling<'_> {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            logit_bias: self.logit_bias.as_ref(),
            seed: self.seed.as_ref(),
            stop: self.stop.as_ref(),
            stop_token_ids: self.stop_token_ids.as_ref(),
            n: self.n,
            logprobs: self.logprobs.and_then(|count| count.try_into().ok()),
        }
    }
}

/// The prompt of a hole between two texts: its beginning, its place, its end, as tokens.
fn around_hole(tokenizer: &Tokenizer, before: &[u32], behind: &[u32]) -> Result<Vec<u32>> {
    let token = |name: &str| {
        let lacks = format!("suffix: the model has no token {}, so it cannot fill a hole", quote(name));
        tokenizer.token_id(name).ok_or_else(|| refuse("suffix", lacks).with_help("leave out suffix"))
    };
    let (begin, hole, end) = (token(FIM_BEGIN)?, token(FIM_HOLE)?, token(FIM_END)?);
    let bos: Vec<u32> = tokenizer.token_id(BOS).into_iter().collect();
    Ok([&bos, &[begin][..], before, &[hole], behind, &[end]].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hole_is_between_its_texts() {
        let added: Vec<_> = (10..).zip([BOS, FIM_BEGIN, FIM_HOLE, FIM_END]).collect();
        let added: Vec<_> = added.iter().map(|(id, token)| json!({ "id": id, "content": token })).collect();
        let file = json!({
            "added_tokens": added, "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] },
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
        });
        let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 20).unwrap();
        assert_eq!(around_hole(&tokenizer, &[1, 2], &[3]).unwrap(), [10, 11, 1, 2, 12, 3, 13]);
    }
}
