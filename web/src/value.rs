//! Values and errors between the two languages.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

/// What an exported function gives back: a value, or lyn's error as a plain object.
pub(crate) type Outcome = Result<JsValue, JsValue>;

/// A plain object, with numbers as numbers and absent values as null.
pub(crate) fn object(value: &impl Serialize) -> Outcome {
    let serializer = Serializer::json_compatible();
    value.serialize(&serializer).map_err(|error| JsValue::from_str(&error.to_string()))
}

/// Options of JavaScript.
pub(crate) fn options<T: DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| thrown(lyn::Error::new(lyn::Code::BadRequest, error.to_string())))
}

/// `{code, message, help, details}`.
pub(crate) fn thrown(error: lyn::Error) -> JsValue {
    // The JSON text is parsed there: numbers of any size come through.
    js_sys::JSON::parse(&error.to_json().to_string()).unwrap_or_else(|_| JsValue::from_str(error.message()))
}
