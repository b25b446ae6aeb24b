//! Keys, addresses, routes, and what an engine's refusal leads to. Oracle: tables by hand, after what docs/server.md and
//! the help of the flags promise.

use std::time::SystemTime;

use super::*;
use crate::http::wait::retry_after;
use crate::upstream::error::{FailedAttempt, may_pass, refusal};
use crate::upstream::route::{PARTS, RouteOptions, Routes};

fn key(lines: &str, address: &str) -> Option<String> {
    let key = ApiKeys::of_text(lines).of(&Address::parse(address).unwrap())?;
    Some(key.header().unwrap().to_str().unwrap().to_owned())
}

#[test]
fn a_line_is_a_key_or_a_host_and_its_key() {
    for (lines, address, found) in [
        ("k", "http://a", Some("Bearer k")),
        ("\n  \n k \n\n", "http://a", Some("Bearer k")),
        ("# k\n#k2\n", "http://a", None),
        ("# a comment of many words\na k", "http://a", Some("Bearer k")),
        ("A k", "http://a:80", Some("Bearer k")),
        ("a k", "http://A", Some("Bearer k")),
        ("b k", "http://a", None),
        ("b k\nother", "http://a", Some("Bearer other")),
        // The line with the port is nearer, wherever it stands.
        ("a one\na:80 two", "http://a:80", Some("Bearer two")),
        ("a one\na:80 two", "http://a:81", Some("Bearer one")),
        ("a one\na two", "http://a", Some("Bearer one")),
    ] {
        assert_eq!(key(lines, address).as_deref(), found, "{lines:?} for {address}");
    }
    assert!(ApiKeys::of_text("k").has_any() && !ApiKeys::of_text("a k").has_any());
}

/// A file of keys for as long as a test reads it.
fn with_keys<T>(name: &str, lines: &str, test: impl FnOnce(&std::path::Path) -> T) -> T {
    let path = std::env::temp_dir().join(format!("lyn-doors-{}-{name}", std::process::id()));
    std::fs::write(&path, lines).unwrap();
    let done = test(&path);
    std::fs::remove_file(&path).unwrap();
    done
}

#[test]
fn a_line_that_is_neither_is_refused_with_its_number() {
    for (number, lines) in [(1, "a b c"), (2, "k\nk2"), (4, "a k\n\n# x\none two three four"), (3, "\nk\nk")] {
        let error = with_keys("lines", lines, |path| ApiKeys::read(Some(path))).unwrap_err();
        let says = format!("line {number}: expected one key, or a host and its key on each line");
        assert!(error.code() == Code::BadRequest && error.message().ends_with(&says), "{error}");
    }
}

#[test]
fn a_key_without_a_host_goes_to_one_host_at_most() {
    let routes = |rules: &[&str], lines: &str| {
        let rules: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
        with_keys(&format!("routes-{}", rules.len() + lines.len()), lines, |path| {
            let options = RouteOptions { routes: &rules, key_file: Some(path), ..RouteOptions::default() };
            Routes::new(&options).err()
        })
    };
    let two = ["a=http://one", "b=http://two"];
    let error = routes(&two, "k").unwrap();
    assert_eq!(
        (error.code(), error.message()),
        (Code::BadRequest, "the key of the upstream would go to several hosts")
    );
    assert!(error.help()[0].contains("lines of a host and its key"), "{error}");
    assert!(routes(&two, "one k\ntwo k2\n").is_none());
    assert!(routes(&two, "").is_none());
    assert!(routes(&["a=http://one", "b=http://one/v2", "c=local"], "k").is_none(), "one host has one key");
    assert!(routes(&["a=http://one:1", "b=http://one:2"], "k").is_some(), "another port is another server");
}

#[test]
fn shares_are_hundredths_of_a_percent() {
    let share = |percent: &str| {
        let rules = [format!("shadow:a=http://h@{percent}%")];
        let routes = Routes::new(&RouteOptions { routes: &rules, ..RouteOptions::default() }).ok()?;
        Some((0..PARTS).filter(|&part| !routes.shadows("a", part).is_empty()).count())
    };
    for (percent, parts) in [
        ("0", Some(0)),
        ("0.01", Some(1)),
        ("0.1", Some(10)),
        ("1", Some(100)),
        ("01.5", Some(150)),
        ("33.33", Some(3333)),
        ("99.99", Some(9999)),
        ("100", Some(10_000)),
        ("100.00", Some(10_000)),
        ("100.01", None),
        ("101", None),
        ("999", None),
        ("0100", None),
        ("1.234", None),
        (".5", None),
        ("1.x", None),
        ("x.1", None),
        ("-1", None),
        ("+1", None),
        ("1 ", None),
        ("", None),
    ] {
        assert_eq!(share(percent), parts, "{percent}%");
    }
    assert_eq!(share("5."), Some(500));
}

#[test]
fn rules_lead_where_they_say() {
    let lead = |options: &RouteOptions<'_>, models: &[&str]| -> Vec<bool> {
        let routes = Routes::new(options).unwrap();
        models.iter().map(|model| routes.may_lead(model)).collect()
    };
    let rules = ["near=local", "Far*=http://h", "exact=http://h"].map(str::to_owned);
    let some = RouteOptions { routes: &rules, ..RouteOptions::default() };
    let models = ["near", "far", " FARTHER ", "fa", "exact", "exactly", ""];
    assert_eq!(lead(&some, &models), [false, true, true, false, true, false, false]);
    for options in [
        RouteOptions { upstream: Some("http://h"), ..some.clone() },
        RouteOptions { fallback: Some("http://h"), ..some.clone() },
    ] {
        assert_eq!(lead(&options, &models), [true; 7]);
    }
    assert_eq!(lead(&RouteOptions { fallback: Some("http://h"), ..RouteOptions::default() }, &["x"]), [true]);
    assert!(Routes::new(&RouteOptions::default()).unwrap().is_empty());
    // Ids that rules name in full, once, and none that stays here.
    let rules = ["b=http://h@10%", "b=http://i@10%", "a=http://h", "near=local", "open*=http://h"].map(str::to_owned);
    let routes = Routes::new(&RouteOptions { routes: &rules, ..RouteOptions::default() }).unwrap();
    assert_eq!(routes.model_ids().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((routes.is_empty(), routes.upstreams().len()), (false, 2));
    let named = routes.decide("open-1", 0, true).unwrap();
    assert_eq!((named.name.as_str(), named.upstream.address().shown()), ("open*", "h"));
    let everything =
        Routes::new(&RouteOptions { upstream: Some("http://u"), fallback: Some("http://f"), ..some.clone() });
    let everything = everything.unwrap();
    let name =
        |model, full| everything.decide(model, 0, full).map(|it| (it.name, it.upstream.address().shown().to_owned()));
    let (upstream, fallback) = (("upstream".to_owned(), "u".to_owned()), ("fallback".to_owned(), "f".to_owned()));
    assert_eq!((name("x", false), name("x", true)), (Some(upstream.clone()), Some(upstream)));
    assert_eq!((name("near", false), name("near", true)), (None, Some(fallback)));
}

#[test]
fn what_may_pass_is_tried_again_and_each_refusal_says_what_to_do() {
    let passing: Vec<u16> = (100..600).filter(|&status| may_pass(status)).collect();
    assert_eq!(passing, [408, 429, 500, 502, 503, 504]);
    let (key, address) = ("check the key: LYN_UPSTREAM_KEY or --upstream-key-file", "check the address, and --model");
    for (status, help) in [
        (300, "set the upstream to the address it redirects to"),
        (307, "set the upstream to the address it redirects to"),
        (399, "set the upstream to the address it redirects to"),
        (400, address),
        (401, key),
        (402, "the account has no balance left"),
        (403, key),
        (404, address),
        (405, address),
        (413, "shorten the conversation"),
        (422, address),
        (429, "wait, or request a higher limit from the provider"),
        (500, "try again later; see its log"),
        (503, "try again later; see its log"),
        (599, "try again later; see its log"),
        // Nothing is known of these: what an engine's failure says in general.
        (299, "check the address, and that the engine is running"),
        (406, "check the address, and that the engine is running"),
        (418, "check the address, and that the engine is running"),
    ] {
        let error = refusal("h", status, "text/plain", "no");
        assert_eq!((error.code(), error.message()), (Code::Upstream, format!("h answered {status}: no").as_str()));
        assert_eq!(error.details()["status"], status);
        assert!(error.help().iter().any(|line| line.starts_with(help)), "{status}: {:?}", error.help());
    }
}

#[test]
fn an_error_in_a_stream_may_pass_by_its_status() {
    let failed =
        |status: Value| FailedAttempt::of_stream(Error::new(Code::Upstream, "x").with_detail("status", status));
    for (status, retry) in [
        (json!(503), true),
        (json!(429), true),
        (json!(400), false),
        (json!(501), false),
        (json!("503"), false),
        (json!(65_536 + 503), false),
        (Value::Null, false),
    ] {
        let failure = failed(status.clone());
        assert_eq!((failure.retry, failure.after), (retry, None), "{status}");
    }
    let silent = FailedAttempt::of_stream(Error::new(Code::Upstream, "x"));
    assert!(!silent.retry);
    let error = || Error::new(Code::Upstream, "x");
    assert!(FailedAttempt::passing(error()).retry && !FailedAttempt::last(error()).retry);
}

#[test]
fn pages_are_told_by_their_titles() {
    for (kind, body, says) in [
        ("", "<html><TITLE> Busy </TITLE>", "an HTML page, Busy"),
        ("", "<html><title></title>", "an HTML page"),
        ("", "<html><title>Busy", "an HTML page"),
        ("", "<html>Busy</title>", "an HTML page"),
        ("text/html", "Busy", "an HTML page"),
        ("text/plain", "Busy < idle", "Busy < idle"),
        ("application/json", "\"Busy\"", "\"Busy\""),
        ("application/json", "{}", "{}"),
    ] {
        assert_eq!(refusal("h", 500, kind, body).message(), format!("h answered 500: {says}"), "{body}");
    }
}

#[test]
fn a_date_that_has_passed_asks_for_no_wait() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
    for (milliseconds, seconds, wait) in [
        (None, Some(" 3 "), Some(3000)),
        (Some(" 250 "), None, Some(250)),
        (Some("x"), Some("2"), Some(2000)),
        (None, Some("Wed, 21 Oct 2015 07:27:50 GMT"), Some(0)),
        (None, Some("Wed, 21 Oct 2015 07:27:51 GMT"), Some(1000)),
        (None, Some("0"), Some(0)),
        (Some("-1"), None, None),
        (Some("inf"), Some("NaN"), None),
    ] {
        assert_eq!(
            retry_after(milliseconds, seconds, now),
            wait.map(Duration::from_millis),
            "{milliseconds:?} {seconds:?}"
        );
    }
}

#[test]
fn addresses_are_taken_apart() {
    for (text, host, shown, port, bare, loopback, plain) in [
        ("https://API.example", "API.example", "API.example", None, true, false, false),
        ("http://h:81/", "h", "h:81", Some(81), true, false, true),
        ("http://h/v1/", "h", "h", None, false, false, true),
        ("localhost", "localhost", "localhost", None, true, true, false),
        ("LocalHost:5/v1", "LocalHost", "LocalHost:5", Some(5), false, true, false),
        ("127.9.9.9:80", "127.9.9.9", "127.9.9.9:80", Some(80), true, true, false),
        ("http://[::1]:80", "[::1]", "[::1]:80", Some(80), true, true, false),
        ("https://127.0.0.1", "127.0.0.1", "127.0.0.1", None, true, true, false),
        ("http://128.0.0.1", "128.0.0.1", "128.0.0.1", None, true, false, true),
        ("http://h/chat/completions", "h", "h", None, true, false, true),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!((address.host(), address.shown(), address.port()), (host, shown, port), "{text}");
        assert_eq!((address.is_bare(), address.is_loopback(), address.is_plain()), (bare, loopback, plain), "{text}");
        assert_eq!(address.is_tls(), text.starts_with("https"), "{text}");
    }
    for (text, says) in [
        ("h", "expected http:// or https:// at the start"),
        ("http://me@h", "it contains credentials"),
        ("http://h/a@b", ""),
        ("http://h?x=1", "it has a query (?)"),
        ("ftp://h", "expected http or https, found \"ftp\""),
        ("http://a b", "\"http://a b\" is not a URL"),
    ] {
        let refused = Address::parse(text).err().map(|error| error.message().to_owned()).unwrap_or_default();
        assert!(refused.contains(says) && refused.is_empty() == says.is_empty(), "{text}: {refused}");
    }
    for (path, beta) in
        [("", "/beta"), ("/v1", "/beta"), ("/x/v1", "/x/beta"), ("/x", "/x/beta"), ("/beta/v1", "/beta")]
    {
        let address = Address::parse(&format!("http://h{path}")).unwrap().beta();
        assert_eq!(address.join("/y").unwrap().path(), format!("{beta}/y"), "{path}");
    }
}

#[test]
fn people_are_told_where_their_words_go() {
    for (url, says) in [
        ("http://127.0.0.1:8000", None),
        ("http://localhost", None),
        ("http://10.0.0.7:8000", Some("prompts leave this machine: they go to 10.0.0.7:8000, unencrypted")),
    ] {
        assert_eq!(upstream(url, None, None).privacy().as_deref(), says, "{url}");
    }
}
