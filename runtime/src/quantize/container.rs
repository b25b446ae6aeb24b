//! Bytes of a GGUF file before its data: version 3, little-endian. Source: the GGUF specification.

/// Tensors begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 32;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    I32s(Vec<i32>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
}

/// Metadata in the order of the file.
pub(super) type Keys = Vec<(String, Value)>;

/// A tensor of the table.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    /// Slowest first.
    pub(super) shape: &'a [u64],
    /// The type's number.
    pub(super) number: u32,
    /// From the start of the data.
    pub(super) offset: u64,
}

/// Everything before the data, which begins behind it.
pub(super) fn header(keys: &Keys, tensors: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        text(key, &mut out);
        out.extend(value.kind().to_le_bytes());
        value.write(&mut out);
    }
    for tensor in tensors {
        text(tensor.name, &mut out);
        out.extend(u32::try_from(tensor.shape.len()).unwrap_or(0).to_le_bytes());
        tensor.shape.iter().rev().for_each(|size| out.extend(size.to_le_bytes()));
        out.extend(tensor.number.to_le_bytes());
        out.extend(tensor.offset.to_le_bytes());
    }
    let padding = (out.len() as u64).next_multiple_of(ALIGNMENT) - out.len() as u64;
    out.extend((0..padding).map(|_| 0));
    out
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn list<T>(kind: u32, elements: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    out.extend(kind.to_le_bytes());
    out.extend((elements.len() as u64).to_le_bytes());
    elements.iter().for_each(|element| write(element, out));
}

impl Value {
    /// Its type's number.
    const fn kind(&self) -> u32 {
        match self {
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::Text(_) => 8,
            Value::I32s(_) | Value::Bools(_) | Value::Texts(_) => 9,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::U32(number) => out.extend(number.to_le_bytes()),
            Value::I32(number) => out.extend(number.to_le_bytes()),
            Value::F32(number) => out.extend(number.to_le_bytes()),
            Value::Bool(value) => out.push((*value).into()),
            Value::Text(value) => text(value, out),
            Value::I32s(numbers) => list(5, numbers, out, |number, out| out.extend(number.to_le_bytes())),
            Value::Bools(values) => list(7, values, out, |value, out| out.push((*value).into())),
            Value::Texts(texts) => list(8, texts, out, |value, out| text(value, out)),
        }
    }
}
