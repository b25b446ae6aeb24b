//! One GGUF file's header: its metadata, and which tensor owns which bytes.
//!
//! In: a file of a [`Source`]. Out: [`Header`]. The header's length stands nowhere, so a growing piece of the file is read until
//! it holds the whole. Never: an allocation that a number in the file asks for before the file is known to hold as much; recursion.
//! Source: the GGUF specification, versions 2 and 3, little-endian.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::blocks;
use super::metadata::{Float, Kind, List, Metadata, Value};
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::files;
use crate::checkpoint::source::Source;
use crate::checkpoint::stored::tensor_error;
use crate::error::{Class, Error, Result, quote};

/// Bytes read at first; most headers hold a vocabulary and take some megabytes.
pub(super) const FIRST_BYTES: u64 = 1 << 20;
/// Largest header of one file, in bytes.
const HEADER_BYTES: u64 = 128 << 20;
/// Most tensors of a file.
const TENSORS: u64 = 131_072;
/// Most metadata keys of a file.
const KEYS: u64 = 4096;
/// Longest metadata key, in bytes.
const KEY_BYTES: u64 = 256;
/// Longest string, in bytes.
const STRING_BYTES: u64 = 16 << 20;
/// Most elements of a list.
const LIST: u64 = 4 << 20;
/// Longest tensor name, in bytes.
const NAME_BYTES: u64 = 63;
/// Most dimensions.
const RANK: u32 = 4;
/// Most elements of a tensor.
const ELEMENTS: u64 = 1 << 40;
/// Where nothing else is said, in bytes.
const ALIGNMENT: u64 = 32;

/// A file's metadata and tensors.
#[derive(Debug)]
pub(super) struct Header {
    /// The file.
    pub(super) file: Arc<str>,
    /// Metadata by key.
    pub(super) metadata: Metadata,
    /// Tensors in the order of the table.
    pub(super) tensors: Vec<Entry>,
}

/// A tensor of the table.
#[derive(Debug)]
pub(super) struct Entry {
    /// Name as stored.
    pub(super) name: String,
    /// Dimensions, slowest first: the reverse of the file's.
    pub(super) shape: Vec<u64>,
    /// How values are stored.
    pub(super) dtype: Dtype,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) bytes: u64,
}

/// Why reading stopped.
enum Stop {
    /// The piece ends here; so many bytes from the start of the file are needed at least.
    Short(u64),
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Wrong(error)
    }
}

/// Reads and checks the header of `file`.
///
/// # Errors
/// `bad_checkpoint`, with the class of what is wrong; `unsupported_model` for block types that lyn does not run.
pub(super) async fn read(source: &dyn Source, file: &str) -> Result<Header> {
    let size = source.size(file).await?.ok_or_else(|| Error::file(Class::Io, file, "no such file"))?;
    let label: Arc<str> = file.into();
    let mut wanted = FIRST_BYTES.min(size);
    let mut piece = Vec::new();
    loop {
        let have = piece.len() as u64;
        let more = source.read(file, have, usize::try_from(wanted.saturating_sub(have)).unwrap_or(0)).await?;
        piece.extend(more);
        if piece.len() as u64 != wanted {
            let message = format!("expected {wanted} bytes, the source gave {}", piece.len());
            return Err(Error::file(Class::Len, file, message));
        }
        match parse(&label, &piece, size) {
            Ok((values, tensors, length)) => {
                piece.truncate(length);
                let metadata = Metadata { file: label.clone(), header: piece, values };
                return Ok(Header { file: label, metadata, tensors });
            }
            Err(Stop::Wrong(error)) => return Err(error),
            Err(Stop::Short(needed)) if needed > size => {
                let message = format!("the header needs {needed} bytes, the file has {size}: the file is cut");
                return Err(Error::file(Class::Len, file, message));
            }
            Err(Stop::Short(needed)) if needed > HEADER_BYTES => {
                let message = format!("expected a header of at most {HEADER_BYTES} bytes, found at least {needed}");
                return Err(Error::file(Class::Limit, file, message));
            }
            Err(Stop::Short(needed)) => wanted = needed.max(wanted.saturating_mul(2)).min(size).min(HEADER_BYTES),
        }
    }
}

type Parsed = (BTreeMap<String, Value>, Vec<Entry>, usize);

/// Reads a header from the first bytes of a file of `size` bytes.
fn parse(file: &Arc<str>, piece: &[u8], size: u64) -> Result<Parsed, Stop> {
    let mut reader = Reader { file, piece, at: 0, size };
    reader.start()?;
    let count = reader.u64()?;
    let keys = reader.u64()?;
    reader.bounded("tensors", count, TENSORS, 24)?;
    reader.bounded("metadata keys", keys, KEYS, 13)?;
    let (mut values, mut alignment) = (BTreeMap::new(), ALIGNMENT);
    for _ in 0..keys {
        let key = reader.key()?;
        let kind = reader.kind(&key)?;
        let value = reader.value(&key, kind)?;
        if key == "general.alignment" {
            alignment = reader.alignment(kind, &value)?;
        }
        if values.contains_key(&key) {
            return Err(reader.wrong(Class::Dup, format_args!("the key {} twice", quote(&key))));
        }
        values.insert(key, value);
    }
    let mut tensors = Vec::new();
    for _ in 0..count {
        tensors.push(reader.tensor(alignment)?);
    }
    let start = reader.at as u64;
    let data_start = start.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    place(file, &mut tensors, data_start, size)?;
    Ok((values, tensors, reader.at))
}

/// Offsets from the start of the file; no two tensors share a byte, and none ends beyond the file.
fn place(file: &str, tensors: &mut [Entry], data_start: u64, size: u64) -> Result<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    for tensor in tensors.iter_mut() {
        if !names.insert(tensor.name.clone()) {
            return Err(tensor_error(Class::Dup, file, &tensor.name, "twice in one file"));
        }
        let start = tensor.offset.checked_add(data_start);
        let end = start.and_then(|start| start.checked_add(tensor.bytes)).filter(|&end| end <= size);
        let (Some(start), Some(_)) = (start, end) else {
            let message = format!(
                "{} bytes from {} of the data, which begins at {data_start} of {size} bytes: the file is cut, or the offset is wrong",
                tensor.bytes, tensor.offset
            );
            return Err(tensor_error(Class::Offset, file, &tensor.name, message));
        };
        tensor.offset = start;
    }
    let mut order: Vec<&Entry> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if let [first, second] = pair
            && first.offset.saturating_add(first.bytes) > second.offset
        {
            let message = format!("begins within the bytes of tensor {}", quote(&first.name));
            return Err(tensor_error(Class::Cover, file, &second.name, message));
        }
    }
    Ok(())
}

/// Reads a piece of a file from its start.
struct Reader<'a> {
    file: &'a str,
    piece: &'a [u8],
    at: usize,
    size: u64,
}

impl<'a> Reader<'a> {
    fn wrong(&self, class: Class, message: impl std::fmt::Display) -> Stop {
        Stop::Wrong(Error::file(class, self.file, message))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Stop> {
        let end = (self.at as u64).saturating_add(length);
        let range = usize::try_from(end).ok().map(|end| self.at..end);
        let bytes = range.and_then(|range| self.piece.get(range)).ok_or(Stop::Short(end))?;
        self.at = self.at.saturating_add(bytes.len());
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.first_chunk::<N>().copied().unwrap_or([0; N]))
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    /// Magic and version.
    fn start(&mut self) -> Result<(), Stop> {
        let start = self.piece.get(..64).unwrap_or(self.piece);
        match start {
            [b'G', b'G', b'U', b'F', ..] => {}
            [] => return Err(self.wrong(Class::Len, "the file is empty")),
            [b'l' | b't', b'm' | b'j', b'g', b'g', ..] => {
                let error = Error::file(Class::Kind, self.file, "this is a file of llama.cpp from before GGUF");
                return Err(error.with_help("download the model as GGUF, version 2 or 3").into());
            }
            _ => {
                files::refuse_other_kinds(self.file, start)?;
                let json = matches!(start, [_, _, _, _, _, _, _, _, b'{', ..]);
                let found = if json { "this looks like a safetensors file" } else { "expected GGUF as first bytes" };
                return Err(self.wrong(Class::Kind, found));
            }
        }
        self.take(4)?;
        match self.u32()? {
            2 | 3 => Ok(()),
            version if (1..=3).contains(&version.swap_bytes()) => {
                Err(self.wrong(Class::Kind, "this is a big-endian GGUF file; expected little-endian"))
            }
            version => Err(self.wrong(Class::Kind, format_args!("expected GGUF version 2 or 3, found {version}"))),
        }
    }

    /// Refuses a count above `most`, or above what the rest of the file can hold.
    fn bounded(&self, what: &str, count: u64, most: u64, least_bytes: u64) -> Result<(), Stop> {
        if count > most {
            return Err(self.wrong(Class::Limit, format_args!("expected at most {most} {what}, found {count}")));
        }
        let rest = self.size.saturating_sub(self.at as u64);
        if count.saturating_mul(least_bytes) > rest {
            let message = format!("{count} {what} in the last {rest} bytes: the file is cut");
            return Err(self.wrong(Class::Len, message));
        }
        Ok(())
    }

    /// A string's place.
    fn string(&mut self, what: &str, most: u64) -> Result<Range<usize>, Stop> {
        let length = self.u64()?;
        self.bounded("bytes of a string", length, most, 1).map_err(|stop| match stop {
            Stop::Wrong(error) => Stop::Wrong(error.with_detail("key", crate::error::escape(what))),
            short @ Stop::Short(_) => short,
        })?;
        let start = self.at;
        if std::str::from_utf8(self.take(length)?).is_err() {
            return Err(self.wrong(Class::Entry, format_args!("{what}: expected UTF-8")));
        }
        Ok(start..self.at)
    }

    fn text(&self, range: Range<usize>) -> String {
        self.piece.get(range).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    fn key(&mut self) -> Result<String, Stop> {
        let range = self.string("a metadata key", KEY_BYTES)?;
        if range.is_empty() {
            return Err(self.wrong(Class::Entry, "a metadata key is empty"));
        }
        Ok(self.text(range))
    }

    fn kind(&mut self, key: &str) -> Result<Kind, Stop> {
        let number = self.u32()?;
        let unknown = || self.wrong(Class::Entry, format_args!("{}: unknown type {number} of a value", quote(key)));
        Kind::of(number).ok_or_else(unknown)
    }

    fn value(&mut self, key: &str, kind: Kind) -> Result<Value, Stop> {
        match kind {
            Kind::String => self.string(&quote(key), STRING_BYTES).map(Value::Text),
            Kind::List => self.list(key).map(Value::List),
            kind => self.scalar(key, kind),
        }
    }

    fn scalar(&mut self, key: &str, kind: Kind) -> Result<Value, Stop> {
        Ok(match kind {
            Kind::U8 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            Kind::I8 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            Kind::U16 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            Kind::I16 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            Kind::U32 => Value::Integer(self.u32()?.into()),
            Kind::I32 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            Kind::U64 => Value::Integer(self.u64()?.into()),
            Kind::I64 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            Kind::F32 => Value::Float(Float::Single(f32::from_le_bytes(self.array()?))),
            Kind::F64 => Value::Float(Float::Double(f64::from_le_bytes(self.array()?))),
            Kind::Bool => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => {
                    let message = format!("{}: expected 0 or 1 as true or false, found {other}", quote(key));
                    return Err(self.wrong(Class::Entry, message));
                }
            },
            Kind::String | Kind::List => {
                return Err(self.wrong(Class::Entry, format_args!("{}: expected a number", quote(key))));
            }
        })
    }

    /// A list, whose elements are checked here and decoded by who wants them.
    fn list(&mut self, key: &str) -> Result<List, Stop> {
        let kind = self.kind(key)?;
        if kind == Kind::List {
            return Err(self.wrong(Class::Entry, format_args!("{}: a list of lists", quote(key))));
        }
        let count = self.u64()?;
        self.bounded(&format!("elements of {}", quote(key)), count, LIST, kind.least_bytes())?;
        let start = self.at;
        match kind {
            Kind::String => {
                let what = quote(key);
                for _ in 0..count {
                    self.string(&what, STRING_BYTES)?;
                }
            }
            Kind::Bool => {
                if self.take(count)?.iter().any(|&byte| byte > 1) {
                    let message = format!("{}: expected 0 or 1 as true or false", quote(key));
                    return Err(self.wrong(Class::Entry, message));
                }
            }
            kind => drop(self.take(count.saturating_mul(kind.least_bytes()))?),
        }
        Ok(List { kind, count: usize::try_from(count).unwrap_or(usize::MAX), bytes: start..self.at })
    }

    /// A power of two that tensors begin at multiples of.
    fn alignment(&self, kind: Kind, value: &Value) -> Result<u64, Stop> {
        let alignment = match value {
            Value::Integer(number) if kind == Kind::U32 => u64::try_from(*number).ok(),
            _ => None,
        };
        let right = alignment.filter(|alignment| alignment.is_power_of_two() && (8..=65536).contains(alignment));
        let wrong = || self.wrong(Class::Entry, "general.alignment: expected a u32, a power of two from 8 to 65,536");
        right.ok_or_else(wrong)
    }

    fn tensor(&mut self, alignment: u64) -> Result<Entry, Stop> {
        let range = self.string("a tensor's name", NAME_BYTES)?;
        let name = self.text(range);
        if name.is_empty() {
            return Err(self.wrong(Class::Entry, "a tensor's name is empty"));
        }
        let file = self.file;
        let wrong = |class, message: &str| Stop::Wrong(tensor_error(class, file, &name, message));
        let rank = self.u32()?;
        if !(1..=RANK).contains(&rank) {
            return Err(wrong(Class::Shape, &format!("expected 1 to {RANK} dimensions, found {rank}")));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(self.u64()?);
        }
        let columns = shape.first().copied().unwrap_or(0);
        shape.reverse();
        let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
        let elements = elements.filter(|elements| (1..ELEMENTS).contains(elements));
        let elements = elements
            .ok_or_else(|| wrong(Class::Shape, &format!("expected 1 to 2^40 elements, found the shape {shape:?}")))?;
        let number = self.u32()?;
        let dtype = blocks::dtype(number).map_err(|refused| Stop::Wrong(refused.error(file, &name, number)))?;
        let (values, block_bytes) = dtype.block();
        if !columns.is_multiple_of(values) {
            let message = format!("rows of {columns} values, {dtype} has blocks of {values}");
            return Err(wrong(Class::Shape, &message));
        }
        let offset = self.u64()?;
        if !offset.is_multiple_of(alignment) {
            return Err(wrong(Class::Offset, &format!("offset {offset} is no multiple of the alignment {alignment}")));
        }
        let bytes = elements.checked_div(values).unwrap_or(0).saturating_mul(block_bytes);
        Ok(Entry { name, shape, dtype, offset, bytes })
    }
}
