//! Names of GGUF files: the parts of a model, `NAME-00002-of-00003.gguf`, and which model a folder's files are.

use std::collections::BTreeSet;

use super::config::CONFIG_FILE;

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

/// The files of the model that `file` is, or is a part of, in order.
pub fn parts(file: &str) -> impl ExactSizeIterator<Item = String> {
    let part = part_of(file);
    let count = part.map_or(1, |(_, count)| count);
    (0..count).map(move |before| match part {
        Some((name, count)) => format!("{name}-{:05}-of-{count:05}.gguf", before.saturating_add(1)),
        None => file.to_owned(),
    })
}

/// Whether a path is that of a GGUF file with a model, or with a part of one; not an image encoder or a table of statistics beside
/// one, which publishers name as they like: `mmproj-F16.gguf`, `name-mmproj-f16.gguf`, `name.imatrix.gguf`.
pub fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    path.ends_with(".gguf") && !name.contains("mmproj") && !name.contains("imatrix")
}

/// The GGUF models among the names of a folder's files, each by its first file, which may be absent. None in a folder with a
/// checkpoint as Hugging Face has it.
pub fn models<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let (mut models, mut has_config, mut has_weights) = (BTreeSet::new(), false, false);
    for name in names {
        has_config |= name == CONFIG_FILE;
        has_weights |= name.ends_with(".safetensors");
        if is_model(name) {
            models.extend(parts(name).next());
        }
    }
    if has_config && has_weights { BTreeSet::new() } else { models }
}
