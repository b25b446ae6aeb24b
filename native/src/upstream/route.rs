//! Which requests another engine answers.

use std::path::Path;
use std::sync::Arc;

use lyn::error::{Code, Error, Result, quote};

use super::address::Address;
use super::client::{Patience, Upstream};
use super::key::Keys;
use super::profile::Profile;

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The engine here.
    Local,
    /// The engine of this place in [`Routes::upstreams`].
    Upstream(usize),
}

/// What is configured: rules by model id, an engine for everything else, one for when the queue here is full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// For every id that no rule names: `--upstream`.
    everything: Option<usize>,
    /// In the order given: `--route`.
    by_model: Vec<(Pattern, usize)>,
    /// For ids of the engine here, when its queue is full: `--fallback`.
    overflow: Option<usize>,
}

/// An id, or its beginning with `*` behind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    begin: String,
    open: bool,
}

/// Rules, and the engines that they name.
#[derive(Default)]
pub(crate) struct Routes {
    rules: Rules,
    upstreams: Vec<Arc<Upstream>>,
}

/// How routes are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteOptions<'a> {
    /// Address of the engine for everything.
    pub(crate) upstream: Option<&'a str>,
    /// `MODEL_ID=URL` or `PREFIX*=URL`; URL may be `local`.
    pub(crate) routes: &'a [String],
    /// Address of the engine that helps out.
    pub(crate) fallback: Option<&'a str>,
    /// What kind they are, where the user knows better.
    pub(crate) profile: Option<Profile>,
    /// File of keys.
    pub(crate) key_file: Option<&'a Path>,
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        let text = text.trim().to_lowercase();
        let (begin, open) = text.strip_suffix('*').map_or((text.as_str(), false), |begin| (begin, true));
        let sound = !begin.contains('*') && (open || !begin.is_empty());
        sound.then(|| Pattern { begin: begin.to_owned(), open })
    }

    fn matches(&self, id: &str) -> bool {
        if self.open { id.starts_with(&self.begin) } else { id == self.begin }
    }
}

/// Place of an engine that is no engine elsewhere.
const HERE: usize = usize::MAX;

impl Rules {
    /// Who answers a request for a model. The first rule that names it decides, before `--upstream`; a full queue only
    /// concerns what is left for the engine here.
    pub(crate) fn decide(&self, model: &str, local_queue_full: bool) -> Decision {
        let id = model.trim().to_lowercase();
        let ruled = self.by_model.iter().find(|(pattern, _)| pattern.matches(&id)).map(|(_, place)| *place);
        match ruled.or(self.everything) {
            Some(place) if place != HERE => Decision::Upstream(place),
            _ if local_queue_full => self.overflow.map_or(Decision::Local, Decision::Upstream),
            _ => Decision::Local,
        }
    }
}

impl Routes {
    /// Reads routes. Addresses that are given twice are one engine. Nothing is sent yet.
    ///
    /// # Errors
    /// `bad_request` for a rule or an address that is none, and for a key without a host beside several engines; `io` for
    /// the file of keys.
    pub(crate) fn new(options: &RouteOptions<'_>) -> Result<Routes> {
        let keys = Keys::read(options.key_file)?;
        let mut addresses: Vec<Address> = vec![];
        let rules = rules(options, &mut addresses)?;
        let hosts: std::collections::BTreeSet<&str> = addresses.iter().map(Address::shown).collect();
        if keys.has_any() && hosts.len() > 1 {
            return Err(Error::new(Code::BadRequest, "the key of the upstream would go to several hosts").with_help(
                "write lines of a host and its key into LYN_UPSTREAM_KEY or the file of --upstream-key-file",
            ));
        }
        let open = |address| Upstream::new(address, &keys, options.profile, Patience::default()).map(Arc::new);
        let upstreams = addresses.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Routes { rules, upstreams })
    }

    /// Whether every request is answered here.
    pub(crate) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// As [`Rules::decide`]; the engine elsewhere, or none for the one here.
    pub(crate) fn decide(&self, model: &str, local_queue_full: bool) -> Option<&Arc<Upstream>> {
        match self.rules.decide(model, local_queue_full) {
            Decision::Local => None,
            Decision::Upstream(place) => self.upstreams.get(place),
        }
    }

    /// The engines, for what is said at the start.
    pub(crate) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Ids that rules name in full: a server lists them.
    pub(crate) fn model_ids(&self) -> impl Iterator<Item = &str> {
        let whole = self.rules.by_model.iter().filter(|(pattern, place)| !pattern.open && *place != HERE);
        whole.map(|(pattern, _)| pattern.begin.as_str())
    }
}

fn rules(options: &RouteOptions<'_>, addresses: &mut Vec<Address>) -> Result<Rules> {
    let mut place = |text: &str| -> Result<usize> {
        let address = Address::parse(text)?;
        Ok(addresses.iter().position(|known| *known == address).unwrap_or_else(|| {
            addresses.push(address);
            addresses.len() - 1
        }))
    };
    let everything = options.upstream.map(&mut place).transpose()?;
    let by_model = options.routes.iter().map(|rule| {
        let parts = rule.split_once('=').and_then(|(id, url)| Some((Pattern::parse(id)?, url.trim())));
        let (pattern, url) = parts.ok_or_else(|| {
            Error::new(Code::BadRequest, format!("--route {}: expected MODEL_ID=URL", quote(rule)))
                .with_help("for example deepseek-reasoner=https://api.deepseek.com, or gpt-*=https://api.openai.com/v1")
        })?;
        Ok((pattern, if url == "local" { HERE } else { place(url)? }))
    });
    let by_model = by_model.collect::<Result<_>>()?;
    let overflow = options.fallback.map(&mut place).transpose()?;
    Ok(Rules { everything, by_model, overflow })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(options: &RouteOptions<'_>, model: &str, full: bool) -> Option<String> {
        let mut addresses = vec![];
        match rules(options, &mut addresses).unwrap().decide(model, full) {
            Decision::Local => None,
            Decision::Upstream(place) => Some(addresses[place].shown().to_owned()),
        }
    }

    #[test]
    fn the_first_rule_that_names_a_model_decides() {
        let routes =
            ["deepseek-reasoner=http://a", "deepseek-*=http://b", "stories=local", "*=http://c"].map(str::to_owned);
        let options = RouteOptions { routes: &routes, ..RouteOptions::default() };
        for (model, host) in [
            ("deepseek-reasoner", Some("a")),
            (" DeepSeek-Reasoner ", Some("a")),
            ("deepseek-chat", Some("b")),
            ("stories", None),
            ("other", Some("c")),
        ] {
            assert_eq!(decide(&options, model, false).as_deref(), host, "{model}");
            assert_eq!(
                decide(&options, model, true).as_deref(),
                host,
                "{model}: a full queue moves nothing without a fallback"
            );
        }
    }

    #[test]
    fn a_full_queue_sends_on_only_what_is_left_here() {
        let routes = ["far=http://a".to_owned()];
        let options = RouteOptions { routes: &routes, fallback: Some("http://b"), ..RouteOptions::default() };
        let decide = |model, full| decide(&options, model, full);
        assert_eq!((decide("far", false).as_deref(), decide("far", true).as_deref()), (Some("a"), Some("a")));
        assert_eq!((decide("near", false), decide("near", true).as_deref()), (None, Some("b")));
    }

    #[test]
    fn an_upstream_takes_everything_but_what_rules_keep() {
        let routes = ["near=local".to_owned()];
        let options = RouteOptions {
            upstream: Some("http://a"),
            routes: &routes,
            fallback: Some("http://b"),
            ..RouteOptions::default()
        };
        assert_eq!(decide(&options, "far", false).as_deref(), Some("a"));
        assert_eq!((decide(&options, "near", false), decide(&options, "near", true).as_deref()), (None, Some("b")));
    }

    #[test]
    fn one_address_is_one_engine() {
        let routes = ["a=http://h/v1".to_owned(), "b=http://h/v1/".to_owned(), "c=http://h/v2".to_owned()];
        let mut addresses = vec![];
        rules(&RouteOptions { routes: &routes, ..RouteOptions::default() }, &mut addresses).unwrap();
        assert_eq!(addresses.len(), 2);
        let routes = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() }).unwrap();
        assert_eq!(routes.model_ids().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(!routes.is_empty() && routes.upstreams().len() == 2);
        assert_eq!(routes.decide("b", false).map(|it| it.address().shown()), Some("h"));
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for rule in ["", "a", "=http://h", "a*b=http://h", "a=ftp://h", "a="] {
            let routes = [rule.to_owned()];
            let refused = rules(&RouteOptions { routes: &routes, ..RouteOptions::default() }, &mut vec![]);
            assert_eq!(refused.err().map(|error| error.code()), Some(Code::BadRequest), "{rule}");
        }
    }
}
