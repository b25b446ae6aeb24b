//! Names of models: which ones are served, and what each says of thinking.

use crate::error::quote;

/// Names that DeepSeek has given to the models of this family, and whether each means thinking.
const KNOWN: [(&str, bool); 8] = [
    ("deepseek-chat", false),
    ("deepseek-v3", false),
    ("deepseek-v3.1", false),
    ("deepseek-v3.1-terminus", false),
    ("deepseek-v3.2", false),
    ("deepseek-v3.2-exp", false),
    ("deepseek-r1", true),
    ("deepseek-reasoner", true),
];

/// What clients are told of, beside the names of the server's own.
const LISTED: [&str; 4] =
    ["deepseek-chat", "deepseek-reasoner", "DeepSeek-V3.2-Exp-thinking", "DeepSeek-V3.2-Exp-nothinking"];

/// Prefixes by which routers name the vendor.
const ROUTERS: [&str; 2] = ["deepseek/", "deepseek-ai/"];

/// The names that a server answers to. One model is behind all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIds {
    /// The model's own name.
    pub loaded: String,
    /// Further names, and whether each means thinking where a request does not say.
    pub aliases: Vec<Alias>,
    /// Whether every other name is served too, and none.
    pub accept_any: bool,
}

/// A further name of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name, as clients are told of it.
    pub name: String,
    /// Whether it means thinking.
    pub thinking: bool,
}

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelId {
    /// The name as the server writes it.
    pub canonical: String,
    /// Whether it means thinking.
    pub thinking: bool,
}

impl Default for ModelIds {
    /// Every name.
    fn default() -> Self {
        ModelIds { loaded: String::new(), aliases: vec![], accept_any: true }
    }
}

impl ModelIds {
    /// What `id` stands for; none where it is not served. Case, white space around it and a router's prefix do not matter.
    /// After any name `-thinking` and `-nothinking` choose the mode.
    ///
    /// ```
    /// use lyn::wire::openai::ModelIds;
    /// let ids = ModelIds { loaded: "stories".to_owned(), aliases: vec![], accept_any: false };
    /// assert!(ids.resolve(" DeepSeek-AI/DeepSeek-V3.2-Exp-thinking").is_some_and(|model| model.thinking));
    /// assert!(ids.resolve("Stories").is_some_and(|model| !model.thinking));
    /// assert_eq!(ids.resolve("gpt-2"), None);
    /// ```
    pub fn resolve(&self, id: &str) -> Option<ModelId> {
        let id = id.trim();
        if let Some(own) = self.own(id) {
            return Some(own);
        }
        let lower = id.to_lowercase();
        let name = ROUTERS.iter().find_map(|router| lower.strip_prefix(router)).unwrap_or(&lower);
        let suffixes = [("-nothinking", false), ("-thinking", true)];
        let with_mode = suffixes.iter().find_map(|(suffix, thinking)| {
            let root = self.root(name.strip_suffix(suffix)?)?;
            Some(ModelId { canonical: root.canonical + suffix, thinking: *thinking })
        });
        let any = || self.accept_any.then(|| self.fallback(name));
        self.root(name).or(with_mode).or_else(any)
    }

    /// Where a request names no model: none where names are required.
    pub(crate) fn unnamed(&self) -> Option<ModelId> {
        self.accept_any.then(|| ModelId { canonical: self.loaded.clone(), thinking: false })
    }

    /// The names that clients are told of.
    pub fn listed(&self) -> Vec<&str> {
        let own = self.aliases.iter().map(|alias| alias.name.as_str()).chain([self.loaded.as_str()]);
        let mut names = LISTED.to_vec();
        for name in own {
            if !name.is_empty() && !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                names.push(name);
            }
        }
        names
    }

    /// Says which models there are, for those who have named another.
    pub fn sentence(&self) -> String {
        format!("the models are {}", self.listed().iter().map(|name| quote(name)).collect::<Vec<_>>().join(", "))
    }

    /// The server's own names, which may hold a slash.
    fn own(&self, id: &str) -> Option<ModelId> {
        let is = |name: &str| !name.is_empty() && name.to_lowercase() == id.to_lowercase();
        if let Some(alias) = self.aliases.iter().find(|alias| is(&alias.name)) {
            return Some(ModelId { canonical: alias.name.clone(), thinking: alias.thinking });
        }
        is(&self.loaded).then(|| ModelId { canonical: self.loaded.clone(), thinking: false })
    }

    fn root(&self, name: &str) -> Option<ModelId> {
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        let known = known.map(|&(known, thinking)| ModelId { canonical: known.to_owned(), thinking });
        self.own(name).or(known)
    }

    fn fallback(&self, name: &str) -> ModelId {
        ModelId {
            canonical: if self.loaded.is_empty() { name.to_owned() } else { self.loaded.clone() },
            thinking: name.ends_with("-thinking"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(accept_any: bool) -> ModelIds {
        let aliases = vec![
            Alias { name: "House/Thinker".to_owned(), thinking: true },
            Alias { name: "fast".to_owned(), thinking: false },
        ];
        ModelIds { loaded: "Stories".to_owned(), aliases, accept_any }
    }

    #[test]
    fn names_stand_for_a_model_and_a_mode() {
        for (id, expected) in [
            ("deepseek-chat", Some(("deepseek-chat", false))),
            ("  DEEPSEEK-V3.2-EXP ", Some(("deepseek-v3.2-exp", false))),
            ("deepseek-ai/DeepSeek-V3.2-Exp", Some(("deepseek-v3.2-exp", false))),
            ("DeepSeek-V3.2-Exp-nothinking", Some(("deepseek-v3.2-exp-nothinking", false))),
            ("DeepSeek-V3.2-Exp-thinking", Some(("deepseek-v3.2-exp-thinking", true))),
            ("deepseek-v3.2-thinking", Some(("deepseek-v3.2-thinking", true))),
            ("deepseek/deepseek-r1", Some(("deepseek-r1", true))),
            ("deepseek-reasoner-nothinking", Some(("deepseek-reasoner-nothinking", false))),
            ("house/thinker", Some(("House/Thinker", true))),
            ("house/thinker-nothinking", Some(("House/Thinker-nothinking", false))),
            ("fast-thinking", Some(("fast-thinking", true))),
            ("stories", Some(("Stories", false))),
            ("deepseek-ai/deepseek-ai/deepseek-chat", None),
            ("gpt-2", None),
            ("-thinking", None),
            ("", None),
        ] {
            let found = ids(false).resolve(id);
            let found = found.as_ref().map(|model| (model.canonical.as_str(), model.thinking));
            assert_eq!(found, expected, "{id}");
        }
        let any = ids(true).resolve("gpt-2-thinking").unwrap();
        assert_eq!((any.canonical.as_str(), any.thinking), ("Stories", true));
        assert_eq!((ids(true).unnamed().is_some(), ids(false).unnamed()), (true, None));
    }

    #[test]
    fn each_name_is_listed_once() {
        let mut ids = ids(false);
        assert_eq!(ids.listed()[4..], ["House/Thinker", "fast", "Stories"]);
        ids.loaded = "DeepSeek-Chat".to_owned();
        assert_eq!(ids.listed().len(), 6);
        assert!(ids.listed().iter().all(|name| ids.resolve(name).is_some()));
    }
}
