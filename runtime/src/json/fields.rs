//! Fields that may be of two kinds, and lists of which only the beginning is wanted.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A field that is a string or a list: [`serde(untagged)`](https://serde.rs/enum-representations.html) would buffer the list,
/// and take lists in it for structs.
pub(crate) fn text_or_list<'de, D: Deserializer<'de>, T: Deserialize<'de>, R>(
    deserializer: D,
    expected: &'static str,
    text: impl FnOnce(String) -> R,
    list: impl FnOnce(Vec<T>) -> R,
) -> Result<R, D::Error> {
    struct TextOrList<T, R, F, G>(&'static str, F, G, PhantomData<(T, R)>);

    impl<'de, T: Deserialize<'de>, R, F: FnOnce(String) -> R, G: FnOnce(Vec<T>) -> R> Visitor<'de>
        for TextOrList<T, R, F, G>
    {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<R, E> {
            Ok((self.1)(text.to_owned()))
        }

        fn visit_string<E: serde::de::Error>(self, text: String) -> Result<R, E> {
            Ok((self.1)(text))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<R, A::Error> {
            Ok((self.2)(Vec::deserialize(SeqAccessDeserializer::new(list))?))
        }
    }

    deserializer.deserialize_any(TextOrList(expected, text, list, PhantomData))
}

/// The elements of a list up to the first beyond `most`, which tells that there are more: nobody wants the rest.
pub(crate) fn at_most<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    most: usize,
    first: Option<T>,
    mut list: A,
) -> Result<Vec<T>, A::Error> {
    let mut kept: Vec<T> = first.into_iter().collect();
    while kept.len() <= most {
        match list.next_element()? {
            Some(element) => kept.push(element),
            None => return Ok(kept),
        }
    }
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(kept)
}

/// A field that is a string or an object, as [`text_or_list`]. `text` knows which strings there are.
///
/// # Errors
/// The deserializer's, and `expected` for a string without a meaning.
pub(crate) fn text_or_object<'de, D: Deserializer<'de>, T: Deserialize<'de>, R>(
    deserializer: D,
    expected: &'static str,
    text: impl FnOnce(&str) -> Option<R>,
    object: impl FnOnce(T) -> R,
) -> Result<R, D::Error> {
    struct TextOrObject<T, R, F, G>(&'static str, F, G, PhantomData<(T, R)>);

    impl<'de, T: Deserialize<'de>, R, F: FnOnce(&str) -> Option<R>, G: FnOnce(T) -> R> Visitor<'de>
        for TextOrObject<T, R, F, G>
    {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<R, E> {
            (self.1)(text).ok_or_else(|| E::custom(format_args!("expected {}", self.0)))
        }

        fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<R, A::Error> {
            Ok((self.2)(T::deserialize(MapAccessDeserializer::new(object))?))
        }
    }

    deserializer.deserialize_any(TextOrObject(expected, text, object, PhantomData))
}
