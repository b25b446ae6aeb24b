//! Which requests another engine answers, or is asked beside the one that answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lyn::error::{Code, Error, Result, quote};

use super::address::Address;
use super::client::{Patience, Upstream};
use super::key::ApiKeys;
use super::profile::Profile;

/// Parts of all conversations: shares are told to a hundredth of a percent.
pub(crate) const PARTS: u16 = 10_000;

/// The place of a conversation among [`PARTS`]: the same for all of its turns.
pub(crate) type RoutePart = u16;

/// Who answers a request, or is asked beside it.
struct Target {
    /// In the words of the rule: a model's id, `upstream`, `fallback`.
    route: String,
    /// Place of the engine; none: the one here.
    place: Option<usize>,
}

struct Rule {
    pattern: Pattern,
    target: Target,
    /// The conversations that it takes, of [`PARTS`]; none: all that are left.
    share: Option<u16>,
}

/// An id, or its beginning with `*` behind.
struct Pattern {
    begin: String,
    open: bool,
}

/// An engine behind a rule, and its name in the metrics.
#[derive(Clone)]
pub(crate) struct UpstreamRoute {
    /// In the words of the rule.
    pub(crate) name: String,
    pub(crate) upstream: Arc<Upstream>,
}

/// Rules by model id, an engine for everything else, one for when the queue here is full; and these engines.
#[derive(Default)]
pub(crate) struct Routes {
    /// For every id that no rule names: `--upstream`.
    everything: Option<Target>,
    /// In the order given: `--route`.
    by_model: Vec<Rule>,
    /// For ids of the engine here, when its queue is full: `--fallback`.
    overflow: Option<Target>,
    /// Copies: `--route shadow:…`.
    shadows: Vec<Rule>,
    upstreams: Vec<Arc<Upstream>>,
}

/// How routes are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteOptions<'a> {
    /// Address of the engine for everything.
    pub(crate) upstream: Option<&'a str>,
    /// `MODEL_ID=URL` or `PREFIX*=URL`; URL may be `local`, and may end in `@N%`. `shadow:` before it: a copy.
    pub(crate) routes: &'a [String],
    /// Address of the engine that helps out.
    pub(crate) fallback: Option<&'a str>,
    /// What kind they are, where the user knows better.
    pub(crate) profile: Option<Profile>,
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

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.begin, if self.open { "*" } else { "" })
    }
}

impl Routes {
    /// Reads routes. Addresses that are given twice are one engine. Nothing is sent yet. Errors: `bad_request` for a rule
    /// or an address that is none, and for a key without a host beside several engines; `io` for the file of keys.
    pub(crate) fn new(options: &RouteOptions<'_>) -> Result<Routes> {
        let keys = ApiKeys::read(options.key_file)?;
        let mut addresses: Vec<Address> = vec![];
        let routes = parse(options, &mut addresses)?;
        let hosts: std::collections::BTreeSet<&str> = addresses.iter().map(Address::shown).collect();
        if keys.has_any() && hosts.len() > 1 {
            return Err(Error::new(Code::BadRequest, "the key of the upstream would go to several hosts").with_help(
                "write lines of a host and its key into LYN_UPSTREAM_KEY or the file of --upstream-key-file",
            ));
        }
        let open = |address| Upstream::new(address, &keys, options.profile, Patience::default()).map(Arc::new);
        Ok(Routes { upstreams: addresses.into_iter().map(open).collect::<Result<_>>()?, ..routes })
    }

    /// Whether every request is answered here, and nobody else hears of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// The engine elsewhere that answers a request for a model; none: the one here. The first rule that names it decides,
    /// before `--upstream`; rules with a share take theirs one after the other, and a full queue only concerns what is left
    /// for the engine here.
    pub(crate) fn decide(&self, model: &str, part: RoutePart, local_queue_full: bool) -> Option<UpstreamRoute> {
        let id = model.trim().to_lowercase();
        let mut taken = 0;
        let takes = |rule: &&Rule| {
            let Some(share) = rule.share else { return true };
            let begin = taken;
            taken += share;
            (begin..taken).contains(&part)
        };
        let ruled = self.by_model.iter().filter(|rule| rule.pattern.matches(&id)).find(takes).map(|rule| &rule.target);
        match ruled.or(self.everything.as_ref()) {
            Some(target) if target.place.is_some() => self.route(target),
            _ if local_queue_full => self.route(self.overflow.as_ref()?),
            _ => None,
        }
    }

    /// The engines that are asked for the same beside the one that answers.
    pub(crate) fn shadows(&self, model: &str, part: RoutePart) -> Vec<UpstreamRoute> {
        let id = model.trim().to_lowercase();
        let matching = self.shadows.iter().filter(|rule| rule.pattern.matches(&id));
        let chosen = matching.filter(|rule| rule.share.is_none_or(|share| part < share));
        chosen.filter_map(|rule| self.route(&rule.target)).collect()
    }

    fn route(&self, target: &Target) -> Option<UpstreamRoute> {
        let upstream = Arc::clone(self.upstreams.get(target.place?)?);
        Some(UpstreamRoute { name: target.route.clone(), upstream })
    }

    /// Whether some requests for this model are answered elsewhere.
    pub(crate) fn may_lead(&self, model: &str) -> bool {
        let id = model.trim().to_lowercase();
        let ruled = |rule: &Rule| rule.target.place.is_some() && rule.pattern.matches(&id);
        self.everything.is_some() || self.overflow.is_some() || self.by_model.iter().any(ruled)
    }

    /// The engines, for what is said at the start.
    pub(crate) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Ids that rules name in full: a server lists them.
    pub(crate) fn model_ids(&self) -> impl Iterator<Item = &str> {
        let whole = self.by_model.iter().filter(|rule| !rule.pattern.open && rule.target.place.is_some());
        let mut ids: Vec<&str> = whole.map(|rule| rule.pattern.begin.as_str()).collect();
        ids.dedup();
        ids.into_iter()
    }
}

/// The routes, without their engines.
fn parse(options: &RouteOptions<'_>, addresses: &mut Vec<Address>) -> Result<Routes> {
    let mut place = |text: &str| -> Result<usize> {
        let address = Address::parse(text)?;
        Ok(addresses.iter().position(|known| *known == address).unwrap_or_else(|| {
            addresses.push(address);
            addresses.len() - 1
        }))
    };
    let mut target = |route: &str, text: &str| -> Result<Target> {
        let place = if text == "local" { None } else { Some(place(text)?) };
        Ok(Target { route: route.to_owned(), place })
    };
    let everything = options.upstream.map(|text| target("upstream", text)).transpose()?;
    let (mut by_model, mut shadows) = (vec![], vec![]);
    let mut taken: BTreeMap<String, u16> = BTreeMap::new();
    for text in options.routes {
        let refuse = |what: &str| {
            Error::new(Code::BadRequest, format!("--route {}: {what}", quote(text))).with_help(
                "for example deepseek-reasoner=https://api.deepseek.com, big=http://10.0.0.7:8000/v1#deepseek-chat@10%, or \
                shadow:*=http://10.0.0.8:8000/v1@5%",
            )
        };
        let (copy, rule) = text.trim().strip_prefix("shadow:").map_or((false, text.trim()), |rule| (true, rule));
        let parts = rule.split_once('=').and_then(|(id, url)| Some((Pattern::parse(id)?, url.trim())));
        let (pattern, url) = parts.ok_or_else(|| refuse("expected MODEL_ID=URL"))?;
        let (url, share) = match url.strip_suffix('%').and_then(|url| url.rsplit_once('@')) {
            Some((url, percent)) => {
                let wanted = "expected a share from 0% to 100% after @, in steps of 0.01";
                (url.trim_end(), Some(parts_of(percent).ok_or_else(|| refuse(wanted))?))
            }
            None => (url, None),
        };
        let name = pattern.to_string();
        if copy {
            if url == "local" {
                return Err(refuse("a shadow must go to another engine, not to local"));
            }
            shadows.push(Rule { pattern, target: target(&format!("shadow:{name}"), url)?, share });
            continue;
        }
        let sum = taken.entry(name.clone()).or_default();
        *sum = sum.saturating_add(share.unwrap_or(0));
        if *sum > PARTS {
            return Err(refuse("the shares of this model add up to more than 100%"));
        }
        by_model.push(Rule { pattern, target: target(&name, url)?, share });
    }
    let overflow = options.fallback.map(|text| target("fallback", text)).transpose()?;
    Ok(Routes { everything, by_model, overflow, shadows, upstreams: vec![] })
}

/// `2.5` percent of [`PARTS`].
fn parts_of(percent: &str) -> Option<u16> {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || rest.len() > 2 || !digits(whole) || !digits(rest) {
        return None;
    }
    let parts: u16 = format!("{whole}{rest:0<2}").parse().ok()?;
    (parts <= PARTS).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(options: &RouteOptions<'_>, model: &str, full: bool) -> Option<String> {
        decide_part(options, model, 0, full)
    }

    fn decide_part(options: &RouteOptions<'_>, model: &str, part: RoutePart, full: bool) -> Option<String> {
        let route = Routes::new(options).unwrap().decide(model, part, full);
        route.map(|route| route.upstream.address().shown().to_owned())
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
            let full = decide(&options, model, true);
            assert_eq!(full.as_deref(), host, "{model}: a full queue moves nothing without a fallback");
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
        let routes = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() }).unwrap();
        assert_eq!(routes.model_ids().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(!routes.is_empty() && routes.upstreams().len() == 2);
        assert_eq!(routes.decide("b", 0, false).unwrap().upstream.address().shown(), "h");
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for rule in [
            "",
            "a",
            "=http://h",
            "a*b=http://h",
            "a=ftp://h",
            "a=",
            "a=http://h@101%",
            "a=http://h@-1%",
            "a=http://h@x%",
            "a=http://h@1.234%",
            "a=http://h@%",
            "shadow:a",
            "shadow:a=local",
            "shadow:=http://h",
        ] {
            let routes = [rule.to_owned()];
            let refused = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() });
            assert_eq!(refused.err().map(|error| error.code()), Some(Code::BadRequest), "{rule}");
        }
    }

    #[test]
    fn shares_are_taken_one_after_the_other_and_the_rest_goes_on() {
        let routes = ["a=http://b@10%", "a=http://c#m@2.5%", "*=http://d"].map(str::to_owned);
        let options = RouteOptions { routes: &routes, ..RouteOptions::default() };
        for (part, host) in [(0, "b"), (999, "b"), (1000, "c"), (1249, "c"), (1250, "d"), (9999, "d")] {
            assert_eq!(decide_part(&options, "a", part, false).as_deref(), Some(host), "{part}");
        }
        let routes = ["a=local@90%".to_owned(), "a=http://b".to_owned()];
        let options = RouteOptions { routes: &routes, ..RouteOptions::default() };
        assert_eq!(decide_part(&options, "a", 8999, false), None);
        assert_eq!(decide_part(&options, "a", 9000, false).as_deref(), Some("b"));
        let routes = ["a=http://b@0%".to_owned()];
        let options = RouteOptions { routes: &routes, ..RouteOptions::default() };
        assert_eq!(decide_part(&options, "a", 0, false), None, "a roll-out that is turned off");
        let routes = ["a=http://b@60%".to_owned(), "a=http://c@50%".to_owned()];
        let refused = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() });
        assert!(refused.err().unwrap().message().contains("more than 100%"));
    }

    #[test]
    fn a_shadow_answers_nothing() {
        let routes = ["a=http://b".to_owned(), "shadow:a*=http://c@50%".to_owned()];
        let routes = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() }).unwrap();
        let shadows = |model, part| -> Vec<String> {
            let shown = |route: UpstreamRoute| format!("{} {}", route.name, route.upstream.address().shown());
            routes.shadows(model, part).into_iter().map(shown).collect()
        };
        assert_eq!(shadows("A1", 4999), ["shadow:a* c"]);
        assert!(shadows("a", 5000).is_empty() && shadows("b", 0).is_empty());
        assert!(routes.decide("a1", 0, true).is_none() && !routes.may_lead("a1") && routes.may_lead("a"));
        assert_eq!(routes.model_ids().collect::<Vec<_>>(), ["a"]);
    }
}
