//! What reads strangers' input, each with what must hold for any of it.

use std::sync::{Arc, LazyLock};

use lyn::chat::formats::template::Ends;
use lyn::chat::{CallSyntax, ChatTemplate, Conversation, OutputParser, Parsed, RenderOptions};
use lyn::checkpoint::{Checkpoint, GenerationDefaults, MemorySource, ModelConfig, Source, read_header};
use lyn::generate::{Constraint, Parser, Request};
use lyn::text::Tokenizer;
use lyn::wire::openai::{ChatRequest, Rules, TextRequest};
use lyn::{Code, Error, Language};
use pollster::block_on;
use serde_json::{Value, json};

use crate::random::Random;

/// A reader, and the folder of its corpus.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Reads an input; what is wrong, if anything is.
    pub(crate) run: fn(&[u8]) -> Result<(), String>,
}

/// All of them, in the order in which they run.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "header", run: header },
    Target { name: "gguf", run: gguf },
    Target { name: "config", run: config },
    Target { name: "index", run: index },
    Target { name: "tokenizer", run: tokenizer },
    Target { name: "tiktoken", run: tiktoken },
    Target { name: "template", run: template },
    Target { name: "chat", run: chat },
    Target { name: "text", run: text },
    Target { name: "schema", run: schema },
    Target { name: "output", run: output },
];

static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let checkpoint = block_on(Checkpoint::open(lyn::models::stories())).expect("stories open");
    block_on(Language::open(&checkpoint)).expect("stories read").expect("stories have a tokenizer")
});

/// A refusal is an answer; one that blames lyn is a fault.
fn refused(error: &Error) -> Result<(), String> {
    match error.code() {
        Code::Internal => Err(format!("an internal error: {}", error.message())),
        _ if error.message().chars().any(|character| character.is_control()) => {
            Err(format!("a control character in a message: {:?}", error.message()))
        }
        _ if error.message().len() > 4096 => Err(format!("a message of {} bytes", error.message().len())),
        _ => Ok(()),
    }
}

fn judged<T>(read: lyn::Result<T>) -> Result<Option<T>, String> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) => refused(&error).map(|()| None),
    }
}

/// A safetensors file. What lyn takes, the safetensors crate reads alike.
fn header(bytes: &[u8]) -> Result<(), String> {
    let source = MemorySource::new().with("model.safetensors", bytes.to_vec());
    let Some(tensors) = judged(block_on(read_header(&source, "model.safetensors")))? else { return Ok(()) };
    let (data, other) =
        safetensors::SafeTensors::read_metadata(bytes).map_err(|error| format!("the other reader refuses: {error}"))?;
    let others = other.tensors();
    if tensors.len() != others.len() {
        return Err(format!("{} tensors, the other reader has {}", tensors.len(), others.len()));
    }
    for tensor in &tensors {
        let known = others.get(&tensor.name).ok_or_else(|| format!("{:?} is not in the other's list", tensor.name))?;
        let (begin, end) = known.data_offsets;
        let begins = (data + 8 + begin) as u64;
        let same_shape = known.shape.iter().map(|&length| length as u64).eq(tensor.shape.iter().copied());
        if !same_shape || begins != tensor.offset || (end - begin) as u64 != tensor.bytes {
            return Err(format!("{:?} lies elsewhere for the other reader", tensor.name));
        }
    }
    Ok(())
}

/// A GGUF file: header, keys, names, and the vocabulary in it.
fn gguf(bytes: &[u8]) -> Result<(), String> {
    let source: Arc<dyn Source> = Arc::new(MemorySource::new().with("model.gguf", bytes.to_vec()));
    let Some(checkpoint) = judged(block_on(Checkpoint::open(source)))? else { return Ok(()) };
    judged(block_on(checkpoint.check_values(&mut |_, _| Ok(()))))?;
    let Some(language) = judged(block_on(Language::open(&checkpoint)))?.flatten() else { return Ok(()) };
    encoding(language.tokenizer())
}

fn config(bytes: &[u8]) -> Result<(), String> {
    judged(ModelConfig::parse(bytes))?;
    judged(GenerationDefaults::parse(bytes, 2048)).map(|_| ())
}

/// The index of a checkpoint, whose shards are not there.
fn index(bytes: &[u8]) -> Result<(), String> {
    static CONFIG: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let stories = lyn::models::stories();
        block_on(lyn::checkpoint::small_file(&*stories, "config.json", 1 << 20)).expect("stories have a config")
    });
    let source = MemorySource::new()
        .with("config.json", CONFIG.clone())
        .with("model.safetensors.index.json", bytes.to_vec())
        .with("model-00001-of-00002.safetensors", vec![0; 64]);
    let source: Arc<dyn Source> = Arc::new(source);
    judged(block_on(Checkpoint::open(source))).map(|_| ())
}

fn tokenizer(bytes: &[u8]) -> Result<(), String> {
    judged(Tokenizer::from_json("tokenizer.json", bytes, 2048))?.map_or(Ok(()), |tokenizer| encoding(&tokenizer))
}

fn tiktoken(bytes: &[u8]) -> Result<(), String> {
    judged(Tokenizer::from_tiktoken(bytes, None, 2048))?.map_or(Ok(()), |tokenizer| encoding(&tokenizer))
}

fn encoding(tokenizer: &Tokenizer) -> Result<(), String> {
    for text in ["", "Once upon a time", "<｜User｜>é🙂\u{2028}  x\n\n1234567", "aaaaaaaaaaaaaaaaaaaaaaaa\0"] {
        for special in [false, true] {
            let Some(ids) = judged(tokenizer.encode(text, special))? else { continue };
            if let Some(id) = ids.iter().find(|&&id| id >= tokenizer.vocab_size()) {
                return Err(format!("id {id} of {text:?} is beyond the vocabulary"));
            }
            drop(tokenizer.decode(&ids));
        }
    }
    Ok(())
}

fn template(bytes: &[u8]) -> Result<(), String> {
    static CONVERSATION: LazyLock<Conversation> = LazyLock::new(|| {
        let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1]}"}});
        let conversation = json!({
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "<｜Assistant｜>Hi</think>"},
                {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call]},
                {"role": "tool", "content": "42", "tool_call_id": "1"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        });
        serde_json::from_value(conversation).expect("a conversation")
    });
    let Ok(source) = std::str::from_utf8(bytes) else { return Ok(()) };
    let Some(template) = judged(ChatTemplate::new("chat_template.jinja", source, LANGUAGE.tokenizer()))? else {
        return Ok(());
    };
    let ends = Ends { bos: "<｜begin▁of▁sentence｜>", eos: "<｜end▁of▁sentence｜>" };
    judged(template.render(&CONVERSATION, RenderOptions::default(), LANGUAGE.tokenizer(), ends)).map(|_| ())
}

fn chat(bytes: &[u8]) -> Result<(), String> {
    let Some(request) = judged(ChatRequest::parse(bytes))? else { return Ok(()) };
    judged(request.to_request(&LANGUAGE)).map(|_| ())
}

fn text(bytes: &[u8]) -> Result<(), String> {
    let Some(request) = judged(TextRequest::parse_by(&Rules::default(), bytes))? else { return Ok(()) };
    judged(request.to_requests(&LANGUAGE)).map(|_| ())
}

/// A schema as the form of an answer and as parameters of a function, strict and not, with fifty tokens under its masks.
fn schema(bytes: &[u8]) -> Result<(), String> {
    let Ok(schema) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    let ask = [json!({"role": "user", "content": "json"})];
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}});
    let function =
        |strict: bool| json!([{"type": "function", "function": {"name": "f", "strict": strict, "parameters": schema}}]);
    for body in [
        json!({"model": "stories", "messages": ask, "response_format": format}),
        json!({"model": "stories", "messages": ask, "tools": function(true), "tool_choice": "required"}),
        json!({"model": "stories", "messages": ask, "tools": function(false), "tool_choice": "required"}),
    ] {
        let Some(request) = judged(ChatRequest::parse(body.to_string()))? else { continue };
        let Some(asked) = judged(request.to_request(&LANGUAGE))? else { continue };
        let Request { constraint: Some(constraint), .. } = asked.request else { continue };
        write(constraint, bytes)?;
    }
    Ok(())
}

fn write(mut constraint: Constraint, bytes: &[u8]) -> Result<(), String> {
    let mut random = Random::new(bytes.len() as u64);
    for _ in 0..50 {
        let Some(mask) = judged(constraint.allowed())? else { break };
        let allowed: Vec<u32> = match mask {
            Some(mask) => (0..).zip(mask).filter_map(|(id, may)| may.then_some(id)).collect(),
            None => (16..2048).collect(),
        };
        if allowed.is_empty() {
            return Err("no token may come next".to_owned());
        }
        let id = *random.pick(&allowed);
        if id == 1 || judged(constraint.advance(id))?.is_none() {
            break;
        }
    }
    Ok(())
}

/// What a model wrote. However it is cut into pieces, the parser says the same.
fn output(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let mut random = Random::new(bytes.len() as u64);
    for format in [None, Some(CallSyntax::Exp), Some(CallSyntax::Dsml), Some(CallSyntax::Glm), Some(CallSyntax::Kimi)] {
        for thinking in [false, true] {
            let whole = Parsed::of(format, thinking, &text);
            let (mut parser, mut pieces) = (OutputParser::new(format, thinking), Parsed::default());
            let mut rest = &*text;
            while !rest.is_empty() {
                let mut end = random.below(rest.len().min(12)) + 1;
                while !rest.is_char_boundary(end) {
                    end += 1;
                }
                let (piece, after) = rest.split_at(end);
                parser.push(piece).iter().for_each(|event| pieces.take(event));
                rest = after;
            }
            parser.finish().iter().for_each(|event| pieces.take(event));
            if whole != pieces {
                return Err(format!("{format:?}, thinking {thinking}: whole {whole:?}, in pieces {pieces:?}"));
            }
        }
    }
    Ok(())
}
