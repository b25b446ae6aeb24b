//! Files that JavaScript reads: picked by the user, downloaded, or fetched.

use std::sync::Arc;

use js_sys::Uint8Array;
use lyn::checkpoint::{BoxFuture, Source};
use lyn::{Class, Error, Result};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r"
/** Files of one model by plain name, read in ranges. */
export interface Source {
  /** The GGUF file that is the model, or one of its parts; absent: a folder as Hugging Face has it. */
  readonly gguf?: string | undefined;
  /** Size in bytes; undefined where there is no such file. */
  size(file: string): Promise<number | undefined>;
  /** Exactly `length` bytes from `offset`, at most 16 MiB. */
  read(file: string, offset: number, length: number): Promise<Uint8Array>;
}
";

#[wasm_bindgen]
extern "C" {
    /// `Source` of the TypeScript above.
    #[wasm_bindgen(typescript_type = "Source")]
    pub type JsSource;

    #[wasm_bindgen(method, getter)]
    fn gguf(this: &JsSource) -> Option<String>;

    #[wasm_bindgen(method, catch)]
    async fn size(this: &JsSource, file: &str) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    async fn read(this: &JsSource, file: &str, offset: f64, length: f64) -> std::result::Result<JsValue, JsValue>;
}

/// Most bytes that JavaScript is asked for at once.
const PIECE: usize = 16 << 20;

/// A [`Source`] over JavaScript's.
pub(crate) struct Shared {
    files: JsSource,
    gguf: Option<String>,
}

impl Shared {
    pub(crate) fn source(files: JsSource) -> Arc<dyn Source> {
        let gguf = files.gguf();
        Arc::new(Shared { files, gguf })
    }

    async fn piece(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        #[expect(clippy::cast_precision_loss, reason = "files are smaller than 2^53 bytes: their size was checked")]
        let (start, count) = (offset as f64, length as f64);
        let bytes = self.files.read(file, start, count).await.map_err(|error| failed(file, &error))?;
        let bytes = bytes.dyn_into::<Uint8Array>().map_err(|_| Error::file(Class::Io, file, "no bytes"))?;
        if bytes.length() as usize != length {
            let message = format!("expected {length} bytes at byte {offset}, found {}", bytes.length());
            return Err(Error::file(Class::Len, file, message));
        }
        Ok(bytes.to_vec())
    }
}

/// The GGUF models among the names of files picked together, each by its first file; none of a checkpoint as Hugging Face
/// has it.
#[wasm_bindgen]
#[must_use]
pub fn gguf_models(names: Vec<String>) -> Vec<String> {
    lyn::checkpoint::gguf_models(names.iter().map(String::as_str)).into_iter().collect()
}

/// The files of the GGUF model that `file` is, or is a part of, in order.
#[wasm_bindgen]
#[must_use]
pub fn gguf_parts(file: &str) -> Vec<String> {
    lyn::checkpoint::gguf_parts(file).collect()
}

/// Largest whole number that JavaScript's numbers hold exactly.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

impl Source for Shared {
    fn gguf(&self) -> Option<&str> {
        self.gguf.as_deref()
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let size = self.files.size(file).await.map_err(|error| failed(file, &error))?;
            match size.as_f64() {
                None if size.is_undefined() || size.is_null() => Ok(None),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked beside it")]
                Some(size) if (0.0..=MAX_SAFE).contains(&size) => Ok(Some(size as u64)),
                _ => Err(Error::file(Class::Io, file, "its size is not a number")),
            }
        })
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let mut bytes = self.piece(file, offset, length.min(PIECE)).await?;
            while bytes.len() < length {
                let next = (length - bytes.len()).min(PIECE);
                bytes.extend(self.piece(file, offset.saturating_add(bytes.len() as u64), next).await?);
            }
            Ok(bytes)
        })
    }
}

/// What the file's reader said, in its own words.
fn failed(file: &str, error: &JsValue) -> Error {
    let said = js_sys::Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    Error::file(Class::Io, file, said.or_else(|| error.as_string()).unwrap_or_else(|| "it cannot be read".to_owned()))
}
