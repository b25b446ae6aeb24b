//! The adapters of this machine, best first.

use std::process::ExitCode;

use lyn::error::{Code, Error, Result, escape};
use lyn::gpu::{AdapterInfo, DeviceMemory, adapter};
use lyn::memory::bytes;
use lyn::platform::block_on;
use serde_json::{Value, json};

use crate::terminal::table::table;
use crate::{App, Ended};

pub(crate) fn run(app: &App) -> Ended {
    let (adapters, default) = found()?;
    if app.terminal.json {
        let adapters: Vec<Value> = adapters.iter().map(with_memory).collect();
        app.terminal.document(&json!({ "schema": "lyn.devices/1", "default": default, "adapters": adapters }));
    } else {
        app.terminal.bytes(describe(&adapters, default).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// All adapters, and the index of the one that `auto` means. Errors: `no_adapter`.
pub(crate) fn found() -> Result<(Vec<AdapterInfo>, Option<usize>)> {
    let adapters: Vec<AdapterInfo> = block_on(adapter::list()).iter().map(|adapter| adapter.info()).collect();
    if adapters.is_empty() {
        return Err(Error::new(Code::NoAdapter, "no GPU adapter found (looked at Vulkan, Metal, DX12, GL)"));
    }
    // The environment may name one that is not there: then there is no default, and the list says what there is.
    let default = block_on(adapter::choose("auto")).ok().map(|adapter| adapter.index);
    Ok((adapters, default))
}

/// What an adapter says of itself, with its memory as it is now.
pub(crate) fn with_memory(info: &AdapterInfo) -> Value {
    let mut facts = json!(info);
    facts["memory"] = json!(info.memory);
    facts
}

/// `21.3 GiB free of 24.0 GiB`; a software adapter has the machine's memory.
pub(crate) fn memory(info: &AdapterInfo) -> String {
    match info.memory {
        Some(DeviceMemory { total_bytes, free_bytes: Some(free) }) => {
            format!("{} free of {}", bytes(free), bytes(total_bytes))
        }
        Some(DeviceMemory { total_bytes, free_bytes: None }) => bytes(total_bytes),
        None if info.kind == "software" => "the machine's".to_owned(),
        None => "unknown".to_owned(),
    }
}

/// The table for people.
pub(crate) fn describe(adapters: &[AdapterInfo], default: Option<usize>) -> String {
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let rows: Vec<Vec<String>> = adapters
        .iter()
        .map(|info| {
            vec![
                format!("{}{}", info.index, if default == Some(info.index) { " *" } else { "" }),
                escape(&info.name),
                info.kind.to_owned(),
                info.backend.clone(),
                escape(&info.driver),
                yes(info.shader_f16),
                format!("{}–{}", info.subgroups.0, info.subgroups.1),
                memory(info),
                bytes(info.max_buffer_bytes),
                bytes(info.max_binding_bytes),
            ]
        })
        .collect();
    let header =
        ["#", "name", "type", "backend", "driver", "f16", "subgroups", "memory", "largest buffer", "largest binding"];
    table(&header, &rows, &["largest buffer", "largest binding"], false)
}
