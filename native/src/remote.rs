//! An answer of another engine, shown as one of ours: text to stdout, thoughts and statistics to stderr.

use std::time::{Duration, Instant};

use lyn::chat::Message;
use lyn::error::{Code, Error, Result, escape};
use lyn::generate::{Event, Finish, Known, Timings, Voice};
use lyn::memory::ContextSize;
use lyn::wire::openai::{ChatRequest, Usage};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::App;
use crate::answer::Screen;
use crate::ask::Ask;
use crate::flags::{AnswerArgs, AttentionArg, EngineArgs, UpstreamAccess, UpstreamArgs};
use crate::interrupt::Interrupt;
use crate::terminal::table::count;
use crate::text::quoted;
use crate::upstream::{Address, ApiKeys, Kind, Patience, Upstream, gave_up};

/// How soon a stop is heard.
const LISTEN: Duration = Duration::from_millis(50);

/// Fields that flags set and some engines do not have.
const FLAGS: [&str; 11] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_tokens",
    "stop",
    "ignore_eos",
];

/// An engine elsewhere, and the model that is asked for there.
pub(crate) struct Remote {
    /// Taken when dropped, because a look-up of a name may still run and is not worth waiting for.
    runtime: Option<Runtime>,
    upstream: Upstream,
    model: String,
}

/// What was said there.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteAnswer {
    pub(crate) text: String,
    /// The thought before it.
    pub(crate) reasoning: String,
    /// Why it ended; none where the user stopped it or it broke off.
    finish: Option<Finish>,
    /// Why it broke off, after some of it had been shown.
    pub(crate) failure: Option<Error>,
    /// What the engine counted.
    pub(crate) timings: Timings,
    seed: Option<u64>,
    model: String,
    host: String,
    first: Option<Duration>,
    decode: Duration,
}

impl Remote {
    /// The engine that the options name, if they name one. Says where prompts go. Errors: `bad_request` for a bad address,
    /// `io` for a bad key file, `upstream` where the model cannot be found out.
    pub(crate) fn open(app: &App, options: &UpstreamArgs, engine: &EngineArgs) -> Result<Option<Remote>> {
        let Some(address) = &options.upstream else { return Ok(None) };
        let upstream = connect(app, address, &options.access, Patience::default())?;
        let idle = unused(engine);
        if !idle.is_empty() {
            app.terminal.note(&format!("note: ignored with --upstream, which loads no model: {}", idle.join(", ")));
        }
        let runtime = runtime()?;
        let _working = app.interrupt.work();
        // The default names a model that is built in here, and hardly one there.
        let wanted = engine.model.to_str().ok_or_else(|| {
            Error::new(Code::BadRequest, format!("--model {}: expected a model id in UTF-8", quoted(&engine.model)))
        })?;
        let wanted = Some(wanted).filter(|model| *model != "stories");
        let model = runtime.block_on(async {
            tokio::select! {
                model = upstream.choose_model(wanted) => model,
                () = asked(&app.interrupt) => Err(Error::new(Code::Cancelled, "stopped while connecting")),
            }
        })?;
        Ok(Some(Remote { runtime: Some(runtime), upstream, model }))
    }

    /// `deepseek-chat at api.deepseek.com`.
    pub(crate) fn name(&self) -> String {
        format!("{} at {}", escape(&self.model), self.upstream.address().shown())
    }

    /// Asks for the answer to a conversation and shows it. Errors: `bad_request` for values out of range; `upstream` where
    /// nothing was said. What breaks off later is in [`RemoteAnswer::failure`].
    pub(crate) fn answer(&self, app: &App, ask: Ask<'_>, messages: Vec<Message>) -> Result<RemoteAnswer> {
        let request = ChatRequest { model: Some(self.model.clone()), stream: Some(true), ..ask.chat(messages)? };
        let Some(runtime) = &self.runtime else { return Ok(RemoteAnswer::default()) };
        let _working = app.interrupt.work();
        let mut screen = Screen::new(app, ask.answer.reasoning);
        let host = self.upstream.address().shown().to_owned();
        let timings = Timings { known: Known::NOTHING, ..Timings::default() };
        let mut told = RemoteAnswer {
            host,
            seed: ask.sampling.seed(),
            model: self.model.clone(),
            timings,
            ..RemoteAnswer::default()
        };
        let answering = async {
            self.note_unknown(app, &request).await;
            let (start, mut first) = (Instant::now(), None);
            let mut reply = self.upstream.ask(Kind::Chat, request.to_body()).await?;
            loop {
                match reply.next().await {
                    Ok(Some((_, event))) => {
                        first.get_or_insert_with(Instant::now);
                        told.take(event, &mut screen);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        told.failure = Some(error);
                        break;
                    }
                }
                told.first = first.map(|first| first - start);
                told.decode = first.map_or(Duration::ZERO, |first| first.elapsed());
            }
            if let Some(model) = reply.model() {
                told.model = model.to_owned();
            }
            Ok(())
        };
        let result = runtime.block_on(async {
            tokio::select! {
                result = answering => result,
                () = asked(&app.interrupt) => Ok(()),
            }
        });
        screen.end();
        result.map(|()| told)
    }

    /// Says which flags the engine does not know; they are left out of what it gets.
    async fn note_unknown(&self, app: &App, request: &ChatRequest) {
        let profile = self.upstream.profile().await;
        let body = request.to_body();
        let unknown = FLAGS.iter().filter(|field| body.contains_key(**field) && !profile.knows(field));
        let mut unknown: Vec<_> = unknown.map(|field| format!("--{}", field.replace('_', "-"))).collect();
        if request.mode() && !profile.has_switch() {
            unknown.push("--thinking".to_owned());
        }
        if !unknown.is_empty() {
            app.terminal.note(&format!("note: not supported by the upstream engine: {}", unknown.join(", ")));
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The engine at an address. Says where prompts go. Errors: as [`Remote::open`].
pub(crate) fn connect(app: &App, address: &str, access: &UpstreamAccess, patience: Patience) -> Result<Upstream> {
    let keys = ApiKeys::read(access.upstream_key_file.as_deref())?;
    let upstream = Upstream::new(Address::parse(address)?, &keys, access.upstream_profile, patience)?;
    if let Some(text) = upstream.privacy() {
        app.terminal.warn("upstream", &text);
    }
    Ok(upstream)
}

/// What connections run on. Errors: `internal`.
pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::new(Code::Internal, format!("the connection runtime did not start: {error}")))
}

/// Waits for a stop.
pub(crate) async fn asked(interrupt: &Interrupt) {
    while !interrupt.asked() {
        tokio::time::sleep(LISTEN).await;
    }
}

/// Options of an engine here that were set all the same.
fn unused(engine: &EngineArgs) -> Vec<&'static str> {
    let set = [
        ("--context", engine.context != ContextSize::Auto),
        ("--attention", engine.attention != AttentionArg::Sparse),
        ("--index-topk", engine.index_topk.is_some()),
        ("--chunk", engine.chunk.is_some()),
        ("--cache-type", engine.cache_type.is_some()),
    ];
    set.into_iter().filter_map(|(name, set)| set.then_some(name)).collect()
}

impl RemoteAnswer {
    fn take(&mut self, event: Event, screen: &mut Screen<'_>) {
        match event {
            Event::Text { voice, text } => {
                screen.show(voice, &text);
                match voice {
                    Voice::Content => self.text += &text,
                    Voice::Reasoning => self.reasoning += &text,
                }
            }
            Event::End { finish, timings, .. } => {
                self.timings = timings;
                if finish == Finish::Aborted {
                    let help = "ask again: the text so far is incomplete";
                    self.failure = Some(gave_up(&self.host).with_help(help));
                } else {
                    self.finish = Some(finish);
                }
            }
            // No functions are offered and no second answer is asked for.
            _ => {}
        }
    }

    /// Tokens of the prompt and the answer, where both are known.
    pub(crate) fn total_tokens(&self) -> Option<u64> {
        Usage::from(&self.timings).total_tokens.map(u64::from)
    }

    /// Whether the user stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.finish.is_none() && self.failure.is_none()
    }

    /// Says why an answer was cut, and what it took, where that is wanted.
    pub(crate) fn report(&self, app: &App, options: &AnswerArgs) {
        let why = match (self.finish, options.max_tokens()) {
            (Some(Finish::Length), Some(most)) => {
                Some(format!("--max-tokens {most} or the engine's own limit was reached"))
            }
            (Some(Finish::Length), None) => Some("the engine's limit was reached".to_owned()),
            (Some(Finish::Stop) | None, _) => None,
            (Some(other), _) => Some(other.name().to_owned()),
        };
        if let Some(why) = why {
            app.terminal.note(&format!("note: the answer was cut off: {why}"));
        }
        if app.terminal.wants(options.stats) {
            app.terminal.note(&self.statistics());
        }
    }

    /// `212 tokens · 38.1 tok/s · …`; what the engine did not count is unknown.
    pub(crate) fn statistics(&self) -> String {
        let usage = Usage::from(&self.timings);
        let known = |tokens: Option<u32>| tokens.map_or_else(|| "unknown".to_owned(), |tokens| count(tokens.into()));
        let mut parts = vec![match usage.completion_tokens {
            Some(tokens) => format!("{} tokens", count(tokens.into())),
            None => "tokens unknown".to_owned(),
        }];
        let seconds = self.decode.as_secs_f64();
        if let Some(tokens) = usage.completion_tokens.filter(|&tokens| tokens > 1 && seconds > 0.0) {
            parts.push(format!("{:.1} tok/s", f64::from(tokens - 1) / seconds));
        }
        let cached = usage.prompt_cache_hit_tokens.filter(|&cached| cached > 0);
        let cached = cached.map(|cached| format!(" ({} cached)", count(cached.into()))).unwrap_or_default();
        parts.push(format!("prompt {}{cached}", known(usage.prompt_tokens)));
        if let Some(first) = self.first {
            parts.push(format!("first token {:.1} s", first.as_secs_f64()));
        }
        parts.push(format!("{} at {}", escape(&self.model), self.host));
        if self.is_stopped() {
            parts.push("stopped".to_owned());
        }
        parts.join(" · ")
    }

    /// The last line of `--json`.
    pub(crate) fn to_json(&self, schema: &str) -> Value {
        let ended = if self.failure.is_some() { "error" } else { "stopped" };
        json!({
            "schema": schema,
            "text": self.text,
            "reasoning_content": if self.reasoning.is_empty() { Value::Null } else { json!(self.reasoning) },
            "finish_reason": self.finish.map_or(ended, Finish::name),
            "usage": Usage::from(&self.timings).to_json(),
            "timings": Value::Null,
            "seed": self.seed,
            "model": self.model,
            "upstream": self.host,
        })
    }
}
