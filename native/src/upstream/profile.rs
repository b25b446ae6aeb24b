//! What differs between engines that speak the same API: where the thinking switch is, what a thought is called, which fields
//! are not known.
//!
//! In: a request in DeepSeek's form, as lyn's own server takes it. Out: the same request as one engine takes it.

use clap::ValueEnum;
use lyn::error::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::address::Address;

/// A kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// api.deepseek.com
    Deepseek,
    /// api.cometapi.com: the model's id switches the thought
    Cometapi,
    /// vLLM
    Vllm,
    /// SGLang
    Sglang,
    /// llama.cpp's server
    Llamacpp,
    /// Ollama, by its OpenAI route
    Ollama,
    /// openrouter.ai
    Openrouter,
    /// Another lyn
    Lyn,
    /// Any other engine with OpenAI's chat completions
    Openai,
}

/// How a request goes out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PreparedRequest {
    /// Whether thinking was asked for; none: the engine decides.
    pub(super) thinking: Option<bool>,
    /// It needs DeepSeek's beta routes.
    pub(super) beta: bool,
}

impl Profile {
    /// What the address alone tells.
    pub(super) fn of_address(address: &Address) -> Option<Profile> {
        let host = address.host().to_ascii_lowercase();
        let is = |name: &str| host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.'));
        match address.port() {
            _ if is("deepseek.com") => Some(Profile::Deepseek),
            _ if is("cometapi.com") => Some(Profile::Cometapi),
            _ if is("openrouter.ai") => Some(Profile::Openrouter),
            _ if is("openai.com") => Some(Profile::Openai),
            Some(11434) => Some(Profile::Ollama),
            _ => None,
        }
    }

    /// What the list of models tells: engines name themselves as the owner.
    pub(super) fn of_models(list: &Value) -> Option<Profile> {
        let models = list.get("data")?.as_array()?;
        let owner = models.iter().find_map(|model| model.get("owned_by")?.as_str())?;
        Some(match owner {
            "vllm" => Profile::Vllm,
            "sglang" => Profile::Sglang,
            "llamacpp" => Profile::Llamacpp,
            "library" => Profile::Ollama,
            // Behind another host than DeepSeek's own it is one that copies its answers, as lyn's server does.
            "deepseek" | "lyn" => Profile::Lyn,
            _ => return None,
        })
    }

    /// The environment variable in which people keep the key of this service.
    pub(super) fn key_variable(self) -> Option<&'static str> {
        match self {
            Profile::Deepseek => Some("DEEPSEEK_API_KEY"),
            Profile::Cometapi => Some("COMETAPI_KEY"),
            Profile::Openrouter => Some("OPENROUTER_API_KEY"),
            Profile::Openai => Some("OPENAI_API_KEY"),
            _ => None,
        }
    }

    /// The path of the API where the address names only the host.
    pub(super) fn path(self) -> Option<&'static str> {
        match self {
            Profile::Openrouter => Some("/api/v1"),
            Profile::Cometapi | Profile::Openai => Some("/v1"),
            _ => None,
        }
    }

    /// Whether a request can choose to think or not.
    pub(crate) fn has_switch(self) -> bool {
        self != Profile::Openai
    }

    /// Whether the engine samples by a field of a request beyond OpenAI's own.
    pub(crate) fn knows(self, field: &str) -> bool {
        let own = ["temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "stop"];
        let seeded = !matches!(self, Profile::Deepseek);
        let open =
            matches!(self, Profile::Vllm | Profile::Sglang | Profile::Llamacpp | Profile::Openrouter | Profile::Lyn);
        match field {
            "seed" | "logit_bias" => seeded,
            "top_k" | "min_p" | "repetition_penalty" => open,
            "ignore_eos" => matches!(self, Profile::Vllm | Profile::Sglang | Profile::Llamacpp),
            field => own.contains(&field),
        }
    }

    /// Turns a request into this engine's form. Errors: `bad_request` for more than one answer, where the engine makes only
    /// one.
    pub(super) fn prepare(self, body: &mut Map<String, Value>) -> Result<PreparedRequest> {
        self.check_answers(body)?;
        let thinking = wanted(body);
        // DeepSeek's own default changes with its models, ours does not: always say it.
        let thinking = if self == Profile::Deepseek { Some(thinking.unwrap_or(false)) } else { thinking };
        if let Some(on) = thinking {
            self.switch(body, on);
        }
        self.drop_unknown(body);
        if let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) {
            self.send_back(messages);
        }
        let beta = self == Profile::Deepseek && needs_beta(body);
        Ok(PreparedRequest { thinking, beta })
    }

    /// Turns a request for a text completion into this engine's form. Errors: as [`Profile::prepare`].
    pub(super) fn prepare_text(self, body: &mut Map<String, Value>) -> Result<PreparedRequest> {
        self.check_answers(body)?;
        self.drop_unknown(body);
        Ok(PreparedRequest { thinking: Some(false), beta: self == Profile::Deepseek })
    }

    fn check_answers(self, body: &Map<String, Value>) -> Result<()> {
        let several = body.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1);
        if several && matches!(self, Profile::Deepseek | Profile::Ollama) {
            return Err(Error::new(Code::BadRequest, "n: this engine returns one answer per request"));
        }
        Ok(())
    }

    fn drop_unknown(self, body: &mut Map<String, Value>) {
        for field in ["seed", "logit_bias", "top_k", "min_p", "repetition_penalty", "ignore_eos"] {
            if !self.knows(field) {
                body.remove(field);
            }
        }
        if self == Profile::Llamacpp
            && let Some(penalty) = body.remove("repetition_penalty")
        {
            body.insert("repeat_penalty".to_owned(), penalty);
        }
        if body.get("stream") == Some(&json!(true)) {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }

    /// Takes every switch out of a request and puts in the engine's own.
    fn switch(self, body: &mut Map<String, Value>, on: bool) {
        for name in ["thinking", "enable_thinking", "reasoning"] {
            body.remove(name);
        }
        let effort = body.remove("reasoning_effort").filter(|effort| on && effort.is_string() && effort != "none");
        if let Some(Value::Object(arguments)) = body.get_mut("chat_template_kwargs") {
            arguments.remove("thinking");
            arguments.remove("enable_thinking");
            if arguments.is_empty() {
                body.remove("chat_template_kwargs");
            }
        }
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        match self {
            Profile::Deepseek | Profile::Lyn => {
                put("thinking", json!({ "type": if on { "enabled" } else { "disabled" } }));
            }
            Profile::Openrouter => {
                put(
                    "reasoning",
                    effort.clone().map_or_else(|| json!({ "enabled": on }), |effort| json!({ "effort": effort })),
                );
            }
            Profile::Ollama => {
                put("reasoning_effort", effort.clone().unwrap_or_else(|| json!(if on { "medium" } else { "none" })));
            }
            // DeepSeek's templates read `thinking`, others `enable_thinking`; a template ignores what it does not read.
            Profile::Vllm | Profile::Sglang | Profile::Llamacpp => {
                let arguments = body.entry("chat_template_kwargs").or_insert_with(|| json!({}));
                if let Some(arguments) = arguments.as_object_mut() {
                    arguments.insert("thinking".to_owned(), json!(on));
                    arguments.insert("enable_thinking".to_owned(), json!(on));
                }
            }
            Profile::Cometapi => {
                if let Some(id) = body.get("model").and_then(Value::as_str) {
                    let id = with_suffix(id, on);
                    body.insert("model".to_owned(), json!(id));
                }
            }
            Profile::Openai => {}
        }
        let takes_effort =
            !matches!(self, Profile::Openrouter | Profile::Ollama | Profile::Cometapi | Profile::Llamacpp);
        if let (true, Some(effort)) = (takes_effort, effort) {
            body.insert("reasoning_effort".to_owned(), effort);
        }
    }

    /// Thoughts that go back: those of the turn under way, under the engine's name. Of older turns the engine makes nothing.
    fn send_back(self, messages: &mut [Value]) {
        let last = messages.iter().rposition(|message| message.get("role").and_then(Value::as_str) == Some("user"));
        for (place, message) in messages.iter_mut().enumerate() {
            let Some(fields) = message.as_object_mut() else { continue };
            let under_other_name = fields.remove("reasoning");
            let thought = fields.remove("reasoning_content").filter(|thought| !thought.is_null()).or(under_other_name);
            let Some(thought) = thought.filter(|_| last.is_none_or(|last| place > last)) else { continue };
            let names: &[&str] = match self {
                Profile::Vllm | Profile::Ollama | Profile::Openrouter => &["reasoning"],
                Profile::Lyn => &["reasoning_content", "reasoning"],
                _ => &["reasoning_content"],
            };
            for name in names {
                fields.insert((*name).to_owned(), thought.clone());
            }
        }
    }
}

/// Whether a request wants a thought, by what it says, else by the id of its model; none where both leave it open.
pub(crate) fn wanted(body: &Map<String, Value>) -> Option<bool> {
    asked(body).or_else(|| implied(body.get("model")?.as_str()?))
}

/// Whether a request says that it wants a thought, in any of the forms that lyn's server takes, in its order.
fn asked(body: &Map<String, Value>) -> Option<bool> {
    let field = |name: &str| body.get(name).filter(|value| !value.is_null());
    let arguments = field("chat_template_kwargs");
    let argument = |name: &str| arguments?.get(name)?.as_bool();
    let effort = |value: &Value| value.as_str().map(|effort| effort != "none");
    field("thinking")
        .and_then(|thinking| thinking.get("type")?.as_str())
        .map(|kind| kind != "disabled")
        .or_else(|| field("reasoning_effort").and_then(effort))
        .or_else(|| argument("thinking"))
        .or_else(|| argument("enable_thinking"))
        .or_else(|| field("enable_thinking").and_then(Value::as_bool))
        .or_else(|| field("reasoning")?.get("enabled")?.as_bool())
        .or_else(|| field("reasoning").and_then(|reasoning| effort(reasoning.get("effort")?)))
}

/// What a model's id says; none where it leaves it open.
fn implied(id: &str) -> Option<bool> {
    let id = id.trim().to_ascii_lowercase();
    let root = id.rsplit('/').next().unwrap_or(&id);
    match root {
        "deepseek-chat" => Some(false),
        "deepseek-reasoner" => Some(true),
        root if root.ends_with("-nothinking") => Some(false),
        root if root.ends_with("-thinking") => Some(true),
        _ => None,
    }
}

/// An id with the suffix that switches the thought. Without one an id does not think.
fn with_suffix(id: &str, on: bool) -> String {
    let lower = id.to_ascii_lowercase();
    let end = ["-nothinking", "-thinking"].iter().find(|end| lower.ends_with(**end)).map_or(0, |end| end.len());
    let root = &id[..id.len() - end];
    match (on, end) {
        _ if lower.ends_with("deepseek-chat") || lower.ends_with("deepseek-reasoner") => {
            let router = &id[..id.rfind('/').map_or(0, |slash| slash + 1)];
            format!("{router}{}", if on { "deepseek-reasoner" } else { "deepseek-chat" })
        }
        (true, _) => format!("{root}-thinking"),
        (false, 0) => id.to_owned(),
        (false, _) => format!("{root}-nothinking"),
    }
}

/// A prefix to continue and strict functions are only known to DeepSeek's beta routes.
fn needs_beta(body: &Map<String, Value>) -> bool {
    let last = body.get("messages").and_then(Value::as_array).and_then(|messages| messages.last());
    let prefix = last.and_then(|message| message.get("prefix")?.as_bool()).unwrap_or(false);
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    prefix || tools.filter_map(|tool| tool.pointer("/function/strict")?.as_bool()).any(|strict| strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn prepared(profile: Profile, fields: Value) -> Map<String, Value> {
        let mut body = body(fields);
        profile.prepare(&mut body).unwrap();
        body
    }

    #[test]
    fn engines_are_known_by_their_address_and_their_models() {
        let address = |text: &str| Profile::of_address(&Address::parse(text).unwrap());
        for (text, profile) in [
            ("https://api.deepseek.com/v1", Some(Profile::Deepseek)),
            ("https://API.CometAPI.com", Some(Profile::Cometapi)),
            ("https://openrouter.ai/api/v1", Some(Profile::Openrouter)),
            ("http://localhost:11434/v1", Some(Profile::Ollama)),
            ("http://localhost:8000/v1", None),
            ("https://notdeepseek.com", None),
            ("https://deepseek.com.example.org", None),
        ] {
            assert_eq!(address(text), profile, "{text}");
        }
        let owner = |name: &str| Profile::of_models(&json!({ "data": [{ "id": "m", "owned_by": name }] }));
        assert_eq!(owner("vllm"), Some(Profile::Vllm));
        assert_eq!(owner("sglang"), Some(Profile::Sglang));
        assert_eq!(owner("deepseek"), Some(Profile::Lyn));
        assert_eq!(owner("someone"), None);
        assert_eq!(Profile::of_models(&json!({ "data": [] })), None);
    }

    #[test]
    fn the_switch_is_put_where_each_engine_looks() {
        let ask = json!({ "model": "m", "thinking": { "type": "enabled" }, "enable_thinking": true, "messages": [] });
        let put = |profile| {
            let mut fields = prepared(profile, ask.clone());
            fields.remove("messages");
            Value::Object(fields)
        };
        let arguments = json!({ "model": "m", "chat_template_kwargs": { "thinking": true, "enable_thinking": true } });
        assert_eq!(put(Profile::Deepseek), json!({ "model": "m", "thinking": { "type": "enabled" } }));
        assert_eq!(put(Profile::Lyn), json!({ "model": "m", "thinking": { "type": "enabled" } }));
        assert_eq!(put(Profile::Vllm), arguments);
        assert_eq!(put(Profile::Sglang), arguments);
        assert_eq!(put(Profile::Openrouter), json!({ "model": "m", "reasoning": { "enabled": true } }));
        assert_eq!(put(Profile::Ollama), json!({ "model": "m", "reasoning_effort": "medium" }));
        assert_eq!(put(Profile::Cometapi), json!({ "model": "m-thinking" }));
        assert_eq!(put(Profile::Openai), json!({ "model": "m" }));
    }

    #[test]
    fn other_arguments_and_efforts_stay() {
        let fields = json!({ "chat_template_kwargs": { "a": 1, "thinking": false }, "reasoning_effort": "high" });
        let vllm = prepared(Profile::Vllm, fields.clone());
        let arguments = json!({ "a": 1, "thinking": true, "enable_thinking": true });
        assert_eq!((&vllm["chat_template_kwargs"], &vllm["reasoning_effort"]), (&arguments, &json!("high")));
        assert_eq!(prepared(Profile::Openrouter, fields)["reasoning"], json!({ "effort": "high" }));
        let off = prepared(Profile::Lyn, json!({ "reasoning_effort": "none" }));
        assert_eq!(Value::Object(off), json!({ "thinking": { "type": "disabled" } }));
    }

    #[test]
    fn what_a_request_asks_for_beats_the_id() {
        let thinking = |fields: Value| Profile::Vllm.prepare(&mut body(fields)).unwrap().thinking;
        assert_eq!(thinking(json!({ "model": "deepseek-reasoner" })), Some(true));
        assert_eq!(thinking(json!({ "model": "deepseek/DeepSeek-V3.2-Exp-nothinking" })), Some(false));
        assert_eq!(thinking(json!({ "model": "deepseek-reasoner", "thinking": { "type": "disabled" } })), Some(false));
        assert_eq!(thinking(json!({ "model": "qwen", "reasoning": { "effort": "low" } })), Some(true));
        assert_eq!(thinking(json!({ "model": "qwen", "thinking": null })), None);
        // Without a word the engine is left alone, except DeepSeek's, whose default changes.
        assert!(!prepared(Profile::Vllm, json!({ "model": "qwen" })).contains_key("chat_template_kwargs"));
        assert_eq!(prepared(Profile::Deepseek, json!({ "model": "x" }))["thinking"]["type"], "disabled");
    }

    #[test]
    fn suffixes_of_ids() {
        for (id, on, off) in [
            ("DeepSeek-V3.2-Exp", "DeepSeek-V3.2-Exp-thinking", "DeepSeek-V3.2-Exp"),
            ("DeepSeek-V3.2-Exp-Thinking", "DeepSeek-V3.2-Exp-thinking", "DeepSeek-V3.2-Exp-nothinking"),
            ("deepseek-v3.2-nothinking", "deepseek-v3.2-thinking", "deepseek-v3.2-nothinking"),
            ("deepseek-chat", "deepseek-reasoner", "deepseek-chat"),
            ("x/deepseek-reasoner", "x/deepseek-reasoner", "x/deepseek-chat"),
        ] {
            assert_eq!((with_suffix(id, true), with_suffix(id, false)), (on.to_owned(), off.to_owned()), "{id}");
        }
    }

    #[test]
    fn thoughts_of_the_turn_under_way_go_back_under_the_name_that_is_read() {
        let messages = json!({ "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "b", "reasoning_content": "old" },
            { "role": "user", "content": "c" },
            { "role": "assistant", "content": "", "reasoning_content": "new", "tool_calls": [] },
            { "role": "tool", "content": "d", "tool_call_id": "x" },
        ] });
        for (profile, names) in [
            (Profile::Deepseek, &["reasoning_content"][..]),
            (Profile::Vllm, &["reasoning"]),
            (Profile::Lyn, &["reasoning_content", "reasoning"]),
        ] {
            let fields = prepared(profile, messages.clone());
            let there = |place: usize, name: &str| fields["messages"][place].get(name).cloned();
            for name in ["reasoning_content", "reasoning"] {
                assert_eq!(there(1, name), None, "{profile:?}");
                assert_eq!(there(3, name), names.contains(&name).then(|| json!("new")), "{profile:?} {name}");
            }
        }
    }

    #[test]
    fn fields_that_an_engine_does_not_know_stay_here() {
        let all = json!({ "model": "m", "seed": 1, "top_k": 2, "min_p": 0.1, "logit_bias": {}, "repetition_penalty": 1.1,
            "temperature": 1, "stream": true });
        let names = |profile| {
            let fields = prepared(profile, all.clone());
            let mut names: Vec<&str> = fields.keys().map(String::as_str).filter(|name| *name != "thinking").collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(names(Profile::Deepseek), "model stream stream_options temperature");
        assert_eq!(names(Profile::Openai), "logit_bias model seed stream stream_options temperature");
        assert!(
            names(Profile::Llamacpp).contains("repeat_penalty") && names(Profile::Vllm).contains("repetition_penalty")
        );
        let counts = &prepared(Profile::Vllm, all)["stream_options"];
        assert_eq!(counts, &json!({ "include_usage": true }));
        assert!(Profile::Deepseek.prepare(&mut body(json!({ "n": 2 }))).is_err());
    }

    #[test]
    fn prefixes_and_strict_functions_go_to_beta() {
        let beta = |profile: Profile, fields: Value| profile.prepare(&mut body(fields)).unwrap().beta;
        let prefix = json!({ "messages": [{ "role": "assistant", "content": "{", "prefix": true }] });
        let strict = json!({ "tools": [{ "type": "function", "function": { "name": "f", "strict": true } }] });
        assert!(beta(Profile::Deepseek, prefix.clone()) && beta(Profile::Deepseek, strict));
        assert!(!beta(Profile::Lyn, prefix) && !beta(Profile::Deepseek, json!({ "messages": [] })));
    }
}
