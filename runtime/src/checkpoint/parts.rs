//! Names of the parts of a GGUF model: `NAME-00002-of-00003.gguf`.

/// Most parts of a model.
const PARTS: u32 = 10_000;

/// The name before a part's number, and of how many it is one: `NAME-00002-of-00003.gguf`.
pub fn part_of(file: &str) -> Option<(&str, u32)> {
    let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let five = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| five(count) && five(number))?;
    (1..=PARTS).contains(&count).then_some((name, count))
}

/// The name of a part.
pub(super) fn part_name(name: &str, number: u32, count: u32) -> String {
    format!("{name}-{number:05}-of-{count:05}.gguf")
}
