//! The filter `tojson`.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{ErrorKind, State, Value};
use serde_json::Value as Json;

use crate::chat::json::{indented, spaced};

const MAX_JSON_DEPTH: usize = 128;

pub(super) type Jinja<T> = std::result::Result<T, minijinja::Error>;

/// JSON as `json.dumps(ensure_ascii=False)` has it: minijinja's own escapes what HTML would take for tags.
pub(super) fn tojson(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Jinja<String> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let json = to_json(state, value, 0)?;
    let text = match indent {
        Some(width) => indented(&json, width.min(16)),
        None => spaced(&json),
    };
    Ok(text)
}

fn to_json(state: &State<'_, '_>, value: &Value, depth: usize) -> Jinja<Json> {
    let failed = |what: &str| minijinja::Error::new(ErrorKind::BadSerialization, format!("tojson: {what}"));
    if depth > MAX_JSON_DEPTH {
        return Err(failed("nested too deep"));
    }
    let deeper = depth.saturating_add(1);
    // Half the bytes of a slot of a list, which values of any kind take here.
    state.consume_fuel(1)?;
    Ok(match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => {
            let number = serde_json::from_str(&value.to_string());
            Json::Number(number.map_err(|_| failed("not a number of JSON"))?)
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            state.consume_fuel((text.len() / 64) as u64)?;
            Json::String(text.to_owned())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| to_json(state, &item, deeper)).collect::<Jinja<Vec<Json>>>()?.into()
        }
        ValueKind::Map => {
            let mut fields = serde_json::Map::new();
            for key in value.try_iter()? {
                fields.insert(key.to_string(), to_json(state, &value.get_item(&key)?, deeper)?);
            }
            fields.into()
        }
        kind => return Err(failed(&format!("{kind} is not JSON"))),
    })
}
