//! A completion of a text: no chat format; with a suffix, what goes between two texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::completion::TextCompletion;
use super::prompt::{MAX_PROMPTS, Prompt, PromptField, TextAsked};
use crate::chat::control::{BOS, EOT};
use crate::chat::{AnswerShape, Dialect, ResponseShape};
use crate::error::Result;
use crate::generate::{Request, SamplingParams};
use crate::language::Language;
use crate::text::Tokenizer;
use crate::wire::openai::beside::{Beside, Kind, Wishes};
use crate::wire::openai::body::body;
use crate::wire::openai::chat::{ChatRequest, StreamOptions};
use crate::wire::openai::form::{FormFields, ResponseFormat, StructuredOutputs};
use crate::wire::openai::limits::{check_prompt_logprobs, check_scored, fit};
use crate::wire::openai::rules::{self, Given, Rules, ensure, invalid, refuse, resolve};
use crate::wire::openai::sampling::{Sampling, Stop};

/// DeepSeek's default and cap of the tokens that fill a hole.
const FIM_TOKENS: u32 = 4096;
const MAX_TEXT_BYTES: usize = 4 << 20;

body! {
    /// The body of a text completion.
    #[derive(Clone, Debug, Default, Deserialize)]
    pub struct TextRequest {
        /// What is continued, or goes before the hole.
        pub prompt: PromptField,
        /// What goes behind the hole; absent or empty: there is none.
        pub suffix: Option<String>,
        /// Tokens of the answer at most. 0 means none where the prompt is reported, by `echo` or `prompt_logprobs`; else it counts
        /// as absent.
        pub max_tokens: Option<i64>,
        /// The answer begins with the prompt, and so do its log probabilities.
        pub echo: Option<bool>,
        /// Report log probabilities, and of this many of the most probable tokens, 20 at most.
        pub logprobs: Option<u64>,
        /// Texts of control tokens in the prompt are those tokens.
        pub parse_special: Option<bool>,
    }
}

impl TextRequest {
    /// A text asked for as `chat` is: the same model, sampling, form and way to answer. Messages, tools and the thought are a
    /// chat's own, and left.
    pub fn asked_as(prompt: PromptField, chat: ChatRequest) -> TextRequest {
        TextRequest {
            prompt,
            model: chat.model,
            max_tokens: chat.max_tokens,
            temperature: chat.temperature,
            top_p: chat.top_p,
            top_k: chat.top_k,
            min_p: chat.min_p,
            presence_penalty: chat.presence_penalty,
            frequency_penalty: chat.frequency_penalty,
            repetition_penalty: chat.repetition_penalty,
            logit_bias: chat.logit_bias,
            seed: chat.seed,
            stop: chat.stop,
            stop_token_ids: chat.stop_token_ids,
            min_tokens: chat.min_tokens,
            ignore_eos: chat.ignore_eos,
            n: chat.n,
            stream: chat.stream,
            stream_options: chat.stream_options,
            response_format: chat.response_format,
            user_id: chat.user_id,
            ..TextRequest::default()
        }
    }

    /// Parses and checks the body of a request.
    ///
    /// # Errors
    /// As [`ChatRequest::parse_by`].
    pub fn parse_by(rules: &Rules, body: impl AsRef<[u8]>) -> Result<TextRequest> {
        let (request, ignored) = rules::parse::<TextRequest>(body.as_ref(), rules.compat)?;
        request.checked(rules, ignored)
    }

    /// Checks a request, whatever it was made from. `ignored`: names of fields of the body that mean nothing here.
    ///
    /// # Errors
    /// As [`ChatRequest::parse_by`].
    pub fn checked(mut self, rules: &Rules, ignored: Vec<String>) -> Result<TextRequest> {
        let model = resolve(rules, self.model.as_deref())?;
        self.given = Given { model, rules: rules.clone(), ignored };
        // Editors send a suffix with each request, at the end of a file an empty one.
        self.suffix = self.suffix.filter(|suffix| !suffix.is_empty());
        self.check()?;
        Ok(self)
    }

    /// The one form that the answer is asked to have.
    fn form(&self) -> Result<ResponseShape> {
        let form =
            if self.given.rules.compat.is_strict() { ResponseShape::None } else { self.form_fields().form(false)? };
        match form {
            ResponseShape::None => Ok(form),
            _ if self.suffix.is_some() => Err(refuse("suffix", "suffix: cannot be combined with structured output")),
            _ if self.ignore_eos == Some(true) || self.min_tokens > Some(0) => {
                Err(refuse("ignore_eos", "ignore_eos, min_tokens: cannot be combined with structured output"))
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
        let streams = !strict || self.stream_options.is_none() || self.is_stream();
        ensure(streams, "stream_options", "stream_options should be set along with stream = true")?;
        let fills = self.suffix.is_some();
        ensure(!fills || !self.echoes(), "echo", "echo: a text with a suffix cannot be echoed")?;
        check_prompt_logprobs(self.prompt_logprobs, self.is_stream())?;
        let thinks = strict && fills && self.given.model.thinking;
        ensure(!thinks, "suffix", "FIM completion does not support the thinking mode")?;
        let prompts = self.prompt.prompts();
        let found = if prompts.is_empty() { "none" } else { "more" };
        let message = format_args!("prompt: expected 1 to {MAX_PROMPTS} prompts, found {found}");
        ensure((1..=MAX_PROMPTS).contains(&prompts.len()), "prompt", message)?;
        let texts = prompts.iter().filter_map(|prompt| match prompt {
            Prompt::Text(text) => Some(("prompt", *text)),
            Prompt::Ids(_) => None,
        });
        for (field, text) in texts.chain(self.suffix.as_deref().map(|suffix| ("suffix", suffix))) {
            let message = format_args!("{field}: at most {MAX_TEXT_BYTES} bytes, found {}", text.len());
            ensure(text.len() <= MAX_TEXT_BYTES, field, message)?;
        }
        Ok(())
    }

    fn echoes(&self) -> bool {
        self.echo == Some(true)
    }

    /// Of how many of the most probable tokens log probabilities of the prompt are needed; none: of none.
    fn scored(&self) -> Option<u32> {
        let echoed = self.logprobs.filter(|_| self.echoes()).and_then(|count| u32::try_from(count).ok());
        let own = self.prompt_logprobs.and_then(|count| u32::try_from(count).ok());
        echoed.max(own)
    }

    /// The tokens of each answer at most, where the request says so.
    fn asked_tokens(&self) -> Option<u32> {
        let most = self.max_tokens.map(|most| u32::try_from(most).unwrap_or(u32::MAX))?;
        (most > 0 || self.echoes() || self.prompt_logprobs.is_some()).then_some(most)
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
        let (asked, scored) = (self.asked_tokens(), self.scored());
        let most = asked.unwrap_or(self.token_limits().0);
        let mut stop_ids = self.stop_token_ids.clone().unwrap_or_default();
        if self.suffix.is_some() {
            stop_ids.extend(tokenizer.token_id(EOT));
        }
        let answers = self.sampling().answers();
        let shape = AnswerShape { response: self.form()?, ..AnswerShape::default() };
        let constraint = language.grammars().constraint(&shape, false, Dialect::Local)?;
        let (mut all, mut entries) =
            (TextAsked { requests: vec![], answers, echoes: vec![], added_tokens: 0 }, 0_usize);
        for prompt in self.prompt.prompts() {
            let ids = self.ids(language, tokenizer, &prompt)?;
            if let (Prompt::Text(_), None) = (&prompt, &self.suffix) {
                all.added_tokens = language.raw_prompt("")?.len();
            }
            let max_tokens = match most {
                // A whole text may be read again where nothing is to follow it.
                0 if ids.len() == language.context() as usize => 0,
                most => fit(&ids, most, language.context(), asked.is_some() && rules.compat.is_strict())?,
            };
            if let Some(scored) = scored {
                let places = ids.len().saturating_mul(answers as usize);
                entries = entries.saturating_add(places.saturating_mul((scored as usize).saturating_add(1)));
                check_scored("prompt", entries)?;
            }
            let echo = match prompt {
                _ if !self.echoes() => String::new(),
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
                    prompt_logprobs: scored,
                    constraint: constraint.clone(),
                    ..Request::new(ids.clone())
                });
                all.echoes.push(echo.clone());
            }
        }
        Ok(all)
    }

    /// The answer to this request, as it will be told. `created`: Unix seconds.
    pub fn completion(
        &self,
        language: &Language,
        asked: &TextAsked,
        id: impl Into<String>,
        created: u64,
    ) -> TextCompletion {
        let model = self.model.clone().unwrap_or_else(|| language.model_type().to_owned());
        let mut completion = TextCompletion::new(id, created, model, asked);
        if self.has_usage_apart() {
            completion = completion.with_usage_apart();
        }
        if let Some(count) = self.logprobs.and_then(|count| usize::try_from(count).ok()) {
            completion = completion.with_logprobs(Arc::clone(language.tokenizer()), count).with_scored_echoes(asked);
        }
        let prompts = asked.requests.iter().map(|request| request.prompt.as_slice());
        completion.with_beside(Beside::new(Kind::Text, self.wishes(), language.tokenizer(), prompts))
    }

    /// Default and cap of the tokens of an answer.
    fn token_limits(&self) -> (u32, u32) {
        match self.suffix {
            Some(_) => (FIM_TOKENS, FIM_TOKENS),
            None => ChatRequest::token_limits(self.given.model.thinking),
        }
    }

    fn ids(&self, language: &Language, tokenizer: &Tokenizer, prompt: &Prompt<'_>) -> Result<Vec<u32>> {
        let encode = |text: &str| {
            language.check_length(text.len())?;
            tokenizer.encode(text, self.parse_special == Some(true))
        };
        let text = match prompt {
            Prompt::Text(text) => encode(text)?,
            Prompt::Ids(ids) => {
                let most = tokenizer.vocab_size();
                for &id in *ids {
                    ensure(id < most, "prompt", format_args!("prompt: expected ids below {most}, found {id}"))?;
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
        let begin: Vec<u32> = tokenizer.token_id(BOS).into_iter().collect();
        Ok([begin, language.around_hole(&text, &encode(suffix)?)?].concat())
    }

    fn sampling(&self) -> Sampling<'_> {
        self.sampling_with(self.logprobs.and_then(|count| count.try_into().ok()))
    }
}
