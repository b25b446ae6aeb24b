//! One safetensors file's header: which tensor owns which bytes.
//!
//! In: a file of a [`Source`]. Out: its tensors, in the order of their bytes, which they own without hole or overlap.
//! Never: an allocation that a number in the file asks for before that number is bounded. Stricter than the `safetensors`
//! crate: no white space before `{`, no double names, no arrays for objects, at most 8 dimensions.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::files::{self, JSON_START};
use crate::checkpoint::source::Source;
use crate::checkpoint::stored::{Tensor, tensor_error};
use crate::error::{Class, Error, Result, quote};
use crate::json::{Kind, Reader};

/// Largest header of one file, in bytes.
pub const HEADER_BYTES: u64 = 16 << 20;
/// Largest number of dimensions.
pub(crate) const RANK: usize = 8;
/// Longest tensor name, in bytes.
pub(crate) const NAME_BYTES: usize = 1024;
/// Most tensors of a checkpoint.
pub(crate) const TENSORS: usize = 1_000_000;

/// Reads and checks the header of `file`.
///
/// # Errors
/// `bad_checkpoint`, with the class of what is wrong.
pub async fn read(source: &dyn Source, file: &str) -> Result<Vec<Tensor>> {
    let size = source.size(file).await?.ok_or_else(|| Error::file(Class::Io, file, "no such file"))?;
    let start = source.read(file, 0, usize::try_from(size.min(64)).unwrap_or(64)).await?;
    let length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let json_start = start.get(8) == Some(&JSON_START);
    // A header's length may happen to begin like another format, so look for those only where this is no header.
    if !(json_start && length.is_some_and(|length| length <= HEADER_BYTES)) {
        files::refuse_other_kinds(file, &start)?;
    }
    let Some(length) = length else {
        return Err(Error::file(Class::Len, file, format_args!("expected at least 8 bytes, found {size}")));
    };
    if length > HEADER_BYTES {
        let message = format!("expected a header of at most {HEADER_BYTES} bytes, found a length of {length}");
        return Err(Error::file(Class::Limit, file, message));
    }
    let data_start = length.checked_add(8).filter(|&end| end <= size && length > 0).ok_or_else(|| {
        Error::file(Class::Len, file, format_args!("a header of {length} bytes in a file of {size} bytes"))
    })?;
    if !json_start {
        return Err(Error::file(Class::Json, file, "expected '{' as first byte of the header"));
    }
    let header = source.read(file, 8, usize::try_from(length).unwrap_or(0)).await?;
    parse(file, &header, data_start, size)
}

/// Checks a header text against the real size of its file.
pub(super) fn parse(file: &str, header: &[u8], data_start: u64, size: u64) -> Result<Vec<Tensor>> {
    let mut reader = Reader::new(file, Class::Json, header)?;
    reader.check()?;
    let label: Arc<str> = file.into();
    let mut tensors = Vec::new();
    let mut metadata_seen = false;
    reader.object(|reader, name| {
        if name == "__metadata__" {
            if std::mem::replace(&mut metadata_seen, true) {
                return Err(reader.fault("the key \"__metadata__\" twice"));
            }
            return metadata(reader);
        }
        if name.len() > NAME_BYTES {
            return Err(tensor_error(Class::Limit, file, &name, format_args!("a name longer than {NAME_BYTES} bytes")));
        }
        if tensors.len() >= TENSORS {
            return Err(Error::file(Class::Limit, file, format_args!("more than {TENSORS} tensors")));
        }
        tensors.push(entry(reader, &label, name)?);
        Ok(())
    })?;
    cover(file, &mut tensors, size.saturating_sub(data_start))?;
    for tensor in &mut tensors {
        tensor.offset = tensor.offset.saturating_add(data_start); // ≤ size, by cover
    }
    Ok(tensors)
}

fn metadata(reader: &mut Reader<'_>) -> Result<()> {
    let mut keys = HashSet::new();
    if reader.peek()? != Kind::Object {
        return Err(reader.fault("expected \"__metadata__\" to be an object"));
    }
    reader.object(|reader, key| {
        if reader.peek()? != Kind::String {
            return Err(reader.fault(&format!("__metadata__.{}: expected a string", quote(&key))));
        }
        reader.string()?;
        if keys.insert(key.clone()) { Ok(()) } else { Err(reader.fault(&format!("the key {} twice", quote(&key)))) }
    })
}

/// One `{dtype, shape, data_offsets}`; `offset` still counts from the end of the header.
fn entry(reader: &mut Reader<'_>, file: &Arc<str>, name: Cow<'_, str>) -> Result<Tensor> {
    let fault = |class, message: &str| tensor_error(class, file, &name, message);
    let found = reader.peek()?;
    if found != Kind::Object {
        let message = format!("expected an object of dtype, shape and data_offsets, found {found}");
        return Err(fault(Class::Entry, &message));
    }
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    reader.object(|reader, key| {
        let kind = reader.peek()?;
        let wanted = |expected: Kind| fault(Class::Entry, &format!("{key}: expected {expected}, found {kind}"));
        let again = match &*key {
            "dtype" => match kind {
                Kind::String => {
                    let text = reader.string()?;
                    let known = Dtype::parse(&text);
                    let known = known.ok_or_else(|| fault(Class::Dtype, &format!("unknown dtype {}", quote(&text))))?;
                    dtype.replace(known).is_some()
                }
                Kind::Null => return Err(wanted(Kind::String)),
                _ => return Err(fault(Class::Dtype, &format!("dtype: expected a string, found {kind}"))),
            },
            "shape" | "data_offsets" if kind != Kind::List => return Err(wanted(Kind::List)),
            "shape" => shape
                .replace(whole_numbers::<RANK>(reader).map_err(|what| {
                    fault(Class::Shape, &format!("shape: expected at most {RANK} whole numbers below 2^64, {what}"))
                })?)
                .is_some(),
            "data_offsets" => {
                let pair = whole_numbers::<2>(reader).and_then(|list| match list.as_slice() {
                    &[begin, end] if begin <= end => Ok((begin, end)),
                    list => Err(format!("found {list:?}")),
                });
                let pair =
                    pair.map_err(|what| fault(Class::Offset, &format!("data_offsets: expected [begin, end], {what}")))?;
                offsets.replace(pair).is_some()
            }
            _ => return Err(fault(Class::Entry, &format!("unknown key {}", quote(&key)))),
        };
        match again {
            true => Err(reader.fault(&format!("tensor {}: the key {} twice", quote(&name), quote(&key)))),
            false => Ok(()),
        }
    })?;
    let absent = |key: &str| fault(Class::Entry, &format!("{key} is absent"));
    let dtype = dtype.ok_or_else(|| absent("dtype"))?;
    let shape = shape.ok_or_else(|| absent("shape"))?;
    let (begin, end) = offsets.ok_or_else(|| absent("data_offsets"))?;
    // A zero must not hide that the other dimensions overflow.
    let product =
        |dims: &[u64]| dims.iter().filter(|&&dim| dim > 0).try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let elements = product(&shape).filter(|elements| elements.checked_mul(dtype.bits()).is_some());
    let elements =
        elements.ok_or_else(|| fault(Class::Shape, &format!("shape {shape:?} of {dtype} overflows 64 bits")))?;
    let elements = if shape.contains(&0) { 0 } else { elements };
    let bytes = dtype.bytes(elements);
    let bytes =
        bytes.ok_or_else(|| fault(Class::Shape, &format!("shape {shape:?} of {dtype} does not fill whole bytes")))?;
    let length = end.saturating_sub(begin);
    if length != bytes {
        let message =
            format!("data_offsets [{begin}, {end}] are {length} bytes, shape {shape:?} of {dtype} needs {bytes}");
        return Err(fault(Class::Offset, &message));
    }
    Ok(Tensor { name: name.into_owned(), file: file.clone(), dtype, shape, offset: begin, bytes, packed: None })
}

/// A list of at most `N` whole numbers, or what was found in its place.
fn whole_numbers<const N: usize>(reader: &mut Reader<'_>) -> Result<Vec<u64>, String> {
    let mut numbers = Vec::new();
    let mut wrong = None;
    let read = reader.list(|reader| {
        if reader.peek()? != Kind::Number {
            wrong.get_or_insert_with(|| "found another kind of value".to_owned());
            return reader.skip();
        }
        let text = reader.number()?;
        match text.parse() {
            Ok(number) if numbers.len() < N => numbers.push(number),
            Ok(_) => drop(wrong.get_or_insert_with(|| "found more".to_owned())),
            Err(_) => drop(wrong.get_or_insert_with(|| format!("found {}", crate::error::escape(text)))),
        }
        Ok(())
    });
    // The syntax was checked before, so `read` cannot fail; a fault in it would still be told.
    match (read, wrong) {
        (Ok(()), None) => Ok(numbers),
        (Ok(()), Some(wrong)) => Err(wrong),
        (Err(error), _) => Err(error.message().to_owned()),
    }
}

/// Every byte of the data belongs to exactly one tensor, and no name comes twice.
fn cover(file: &str, tensors: &mut [Tensor], data_bytes: u64) -> Result<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    for tensor in tensors.iter() {
        if !names.insert(tensor.name.as_str()) {
            return Err(tensor.error(Class::Dup, "twice in one file"));
        }
    }
    tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    let mut end = 0u64;
    let mut disagree = None;
    for tensor in tensors.iter() {
        if tensor.offset != end && disagree.is_none() {
            let what =
                if tensor.offset < end { "overlaps the tensor before it" } else { "follows bytes that no tensor owns" };
            disagree = Some(
                tensor.error(Class::Cover, format_args!("begins at {}, {what}, which end at {end}", tensor.offset)),
            );
        }
        end = tensor.offset.saturating_add(tensor.bytes);
        if disagree.is_some() && end > data_bytes {
            return Err(tensor.error(Class::Offset, format_args!("ends at {end}, the data has {data_bytes} bytes")));
        }
    }
    if let Some(error) = disagree {
        return Err(error);
    }
    // Here the header agrees with itself: a shorter file was cut.
    if end > data_bytes {
        let message = format_args!("expected {end} bytes of data, found {data_bytes}: the file is cut");
        return Err(Error::file(Class::Len, file, message));
    }
    if end < data_bytes {
        let message = format!("{} bytes after the last tensor that no tensor owns", data_bytes.saturating_sub(end));
        return Err(Error::file(Class::Cover, file, message));
    }
    Ok(())
}
