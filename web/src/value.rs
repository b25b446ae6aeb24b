//! Values and errors between the two languages.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

/// What an exported function gives back: a value, or lyn's error as a plain object.
pub(crate) type Outcome = Result<JsValue, JsValue>;

/// A plain object, with numbers as numbers and absent values as null.
pub(crate) fn object(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(|error| JsValue::from_str(&error.to_string()))?;
    js_sys::JSON::parse(&text)
}

/// Options of JavaScript.
pub(crate) fn options<T: DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| thrown(lyn::Error::new(lyn::Code::BadRequest, error.to_string())))
}

/// `{code, message, help, details}`.
pub(crate) fn thrown(error: lyn::Error) -> JsValue {
    object(&error.to_json()).unwrap_or_else(|_| JsValue::from_str(error.message()))
}
