//! The door: who may come in, under which names, and for how long. Oracle: the limits that docs/server.md and the doc
//! comments name, and a clock that the test moves.

use std::net::IpAddr;

use axum::http::{HeaderName, HeaderValue, Method, Uri};
use tokio::time::advance;

use super::*;
use crate::server::admission::Admission;
use crate::server::guard::{KeyId, MAX_HEADER_BYTES, MAX_HEADERS, preflight};
use crate::server::{closing_unread, normalize, refusal, request_id};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(pair).collect()
}

/// Attempts with a wrong key: the status of each, and for how long the address is to wait.
fn attempt(guard: &Guard, address: IpAddr) -> (u16, String) {
    let refused = guard.check_key(&headers(&[("x-api-key", "wrong")]), Some(address)).unwrap_err();
    (refused.status().as_u16(), refused.message().to_owned())
}

fn statuses(guard: &Guard, address: IpAddr, count: usize) -> Vec<u16> {
    (0..count).map(|_| attempt(guard, address).0).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_wrong_keys_a_minute_and_the_minute_moves_on() {
    let guard = Guard::new(rules(&[KEY]));
    let address = IpAddr::from([10, 0, 0, 1]);
    // One at the beginning, nine half a minute later.
    assert_eq!(statuses(&guard, address, 1), [401]);
    advance(Duration::from_secs(30)).await;
    assert_eq!(statuses(&guard, address, 9), [401; 9]);
    let wait = |seconds: u64| (429, format!("too many wrong keys from this address; try again in {seconds} s"));
    assert_eq!(attempt(&guard, address), wait(31));
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(attempt(&guard, address), wait(1));
    // What is refused so does not count: the first is a minute old now, and one more may come.
    advance(Duration::from_millis(1)).await;
    assert_eq!(statuses(&guard, address, 2), [401, 429]);
    assert_eq!(attempt(&guard, address), wait(31));
    advance(Duration::from_secs(30)).await;
    assert_eq!(statuses(&guard, address, 10), [vec![401; 9], vec![429]].concat());
    assert!(guard.check_key(&headers(&[("x-api-key", KEY)]), Some(address)).is_ok(), "a right key waits for nobody");
    advance(Duration::from_secs(60)).await;
    assert_eq!(statuses(&guard, address, 11), [vec![401; 10], vec![429]].concat());
    // Nobody is counted where it is not known who asks.
    let unknown = || guard.check_key(&headers(&[("x-api-key", "wrong")]), None).unwrap_err().status().as_u16();
    assert_eq!((0..20).map(|_| unknown()).collect::<Vec<_>>(), [401; 20]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_ten_thousand_addresses_are_remembered_and_forgotten() {
    let guard = Guard::new(rules(&[KEY]));
    let other = |number: u16| IpAddr::from([10, 1, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
    let (first, late, later) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3]));
    assert_eq!(statuses(&guard, first, 1), [401]);
    advance(Duration::from_secs(50)).await;
    assert_eq!(statuses(&guard, first, 8), [401; 8]);
    for number in 1..10_000 {
        assert_eq!(statuses(&guard, other(number), 1), [401]);
    }
    advance(Duration::from_secs(11)).await;
    // All ten thousand have a failure within the last minute: no other address is counted, and none of these is lost.
    assert_eq!(statuses(&guard, late, 12), [401; 12]);
    assert_eq!(statuses(&guard, other(1), 10), [vec![401; 9], vec![429]].concat());
    assert_eq!(statuses(&guard, first, 3), [401, 401, 429]);
    // A minute later only those of this moment are.
    advance(Duration::from_secs(50)).await;
    assert_eq!(statuses(&guard, late, 11), [vec![401; 10], vec![429]].concat());
    assert_eq!(statuses(&guard, later, 11), [vec![401; 10], vec![429]].concat());
    assert_eq!(statuses(&guard, first, 9), [vec![401; 8], vec![429]].concat());
}

#[test]
fn a_key_is_taken_from_the_first_header_that_has_one() {
    let guard = Guard::new(rules(&["one", "two", "three"]));
    for (pairs, found) in [
        (&[("authorization", "Bearer one"), ("x-api-key", "two"), ("api-key", "three")][..], Some(0)),
        (&[("authorization", "Bearer "), ("x-api-key", "two"), ("api-key", "three")], Some(1)),
        (&[("authorization", "Basic one"), ("x-api-key", " two ")], Some(1)),
        (&[("x-api-key", ""), ("api-key", "three")], Some(2)),
        (&[("authorization", "BEARER \t three ")], Some(2)),
        (&[("authorization", "Bearer one two")], None),
        (&[("authorization", "Bearerone")], None),
        (&[("authorization", "one")], None),
        (&[("x-api-key", "ONE")], None),
    ] {
        let key = guard.check_key(&headers(pairs), None).ok().flatten();
        assert_eq!(key, found.map(KeyId), "{pairs:?}");
    }
    for (key, shown) in [
        ("12345678901", "****"),
        ("123456789012", "****9012"),
        ("ééééééééééééé", "****éééé"),
        ("12345678901\u{7f}", "****"),
    ] {
        // A control character cannot be in a header.
        if let Ok(value) = HeaderValue::from_bytes(key.as_bytes()) {
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", value);
            let refused = guard.check_key(&headers, None).unwrap_err();
            assert_eq!(refused.message(), format!("Authentication Fails, Your api key: {shown} is invalid"));
        }
    }
    assert_eq!(guard.keys(), 3);
    assert_eq!(guard.scope(Some(KeyId(1))), digest(b"two"));
    assert_eq!((guard.scope(Some(KeyId(3))), guard.scope(None)), (vec![], vec![]));
    assert_eq!(Guard::new(rules(&[])).check_key(&HeaderMap::new(), None).unwrap(), None);
}

#[test]
fn a_target_and_its_headers_have_limits() {
    let guard = Guard::new(rules(&[]));
    let check = |uri: &str, headers: &HeaderMap| {
        guard.check_place(&uri.parse::<Uri>().unwrap(), headers).err().map(|refused| refused.status().as_u16())
    };
    let host = headers(&[("host", "localhost")]);
    for (bytes, status) in [(8192, None), (8193, Some(414))] {
        assert_eq!(check(&format!("/{}", "x".repeat(bytes - 1)), &host), status, "{bytes} bytes");
        assert_eq!(check(&format!("/?{}", "x".repeat(bytes - 2)), &host), status, "{bytes} bytes with a query");
    }
    for (count, status) in [(MAX_HEADERS, None), (MAX_HEADERS + 1, Some(431))] {
        let mut many = host.clone();
        for _ in 1..count {
            many.append("x-many", HeaderValue::from_static("1"));
        }
        assert_eq!((many.len(), check("/", &many)), (count, status));
    }
    // Names, values, and four bytes around each.
    let taken = "host".len() + "localhost".len() + 4 + "x-long".len() + 4;
    for (bytes, status) in [(MAX_HEADER_BYTES, None), (MAX_HEADER_BYTES + 1, Some(431))] {
        let mut long = host.clone();
        long.insert("x-long", HeaderValue::from_str(&"x".repeat(bytes - taken)).unwrap());
        assert_eq!(check("/", &long), status, "{bytes} bytes of headers");
    }
}

#[test]
fn a_host_is_named_once_and_a_proxy_s_target_names_it_too() {
    let rules = || GuardRules { hosts: vec!["Box.Example".to_owned()], ..rules(&[]) };
    let (local, public) = (Guard::new(rules()), Guard::new(GuardRules { public: true, ..rules() }));
    for (uri, hosts, passes, passes_public) in [
        ("/", &["localhost."][..], true, true),
        ("/", &["BOX.example.:80"], true, true),
        ("/", &["[::ffff:127.0.0.1]:80"], true, true),
        ("/", &["[::2]"], false, true),
        ("/", &["192.168.0.1:80"], false, true),
        ("/", &["localhost", "localhost"], false, false),
        ("/", &[], false, false),
        ("/", &["é"], false, false),
        ("http://localhost/x", &[], true, true),
        ("http://localhost/x", &["evil.example"], true, true),
        ("http://evil.example/x", &[], false, false),
        ("http://evil.example/x", &["localhost"], false, false),
        ("http://localhost/x", &["localhost", "localhost"], false, false),
    ] {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let checked = |guard: &Guard| guard.check_place(&uri.parse::<Uri>().unwrap(), &headers).err();
        for (guard, passes) in [(&local, passes), (&public, passes_public)] {
            let refused = checked(guard);
            assert_eq!(refused.is_none(), passes, "{uri} {hosts:?}");
            assert!(refused.is_none_or(|refused| refused.status() == StatusCode::FORBIDDEN));
        }
    }
}

#[test]
fn a_page_asks_from_its_own_origin_or_a_listed_one() {
    let guard = |origins: &[&str]| {
        Guard::new(GuardRules { origins: origins.iter().map(|&origin| origin.to_owned()).collect(), ..rules(&[]) })
    };
    for (guard, origins, allowed) in [
        (guard(&[]), &["http://LOCALHOST:80"][..], Some(None)),
        (guard(&[]), &["https://localhost:80"], Some(None)),
        (guard(&[]), &["http://localhost"], None),
        (guard(&[]), &["ftp://localhost:80"], None),
        (guard(&[]), &["localhost:80"], None),
        (guard(&[]), &["http://localhost:80", "http://localhost:80"], None),
        (guard(&["https://a.example/"]), &["HTTPS://A.example"], Some(Some("HTTPS://A.example"))),
        (guard(&["https://a.example"]), &["https://a.example", "https://a.example"], None),
        (guard(&["https://a.example"]), &["http://a.example"], None),
        (guard(&["*"]), &["https://any.example"], Some(Some("https://any.example"))),
        (guard(&["*"]), &["http://localhost:80"], Some(None)),
        (guard(&["*"]), &[], Some(None)),
    ] {
        let mut headers = headers(&[("host", "localhost:80")]);
        for origin in origins {
            headers.append("origin", HeaderValue::from_static(origin));
        }
        let found = guard.check_place(&Uri::from_static("/"), &headers).ok();
        let found = found.map(|other| other.map(|other| other.to_str().unwrap().to_owned()));
        assert_eq!(found, allowed.map(|other| other.map(str::to_owned)), "{origins:?}");
    }
    let asked = preflight(&headers(&[("access-control-request-headers", "x-a, x-b")]));
    assert_eq!(asked["access-control-allow-headers"], "x-a, x-b");
    assert_eq!(asked["access-control-allow-methods"], "GET, POST, OPTIONS");
    assert_eq!(asked["access-control-max-age"], "86400");
    assert!(!preflight(&HeaderMap::new()).contains_key("access-control-allow-headers"));
    let mut answer = headers(&[("vary", "accept")]);
    crate::server::guard::allow(&mut answer, HeaderValue::from_static("https://a.example"));
    assert_eq!(answer["access-control-allow-origin"], "https://a.example");
    assert_eq!(answer.get_all("vary").iter().collect::<Vec<_>>(), ["accept", "origin"]);
    let exposed = answer["access-control-expose-headers"].to_str().unwrap();
    for name in ["x-request-id", "retry-after", "retry-after-ms", "x-seed", "x-lyn-ignored-fields", "request-id"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
    }
}

#[test]
fn what_headers_say_of_a_body_is_checked_before_it_is_read() {
    let guard = Guard::new(GuardRules { max_body: 10, ..rules(&[]) });
    assert_eq!(guard.max_body(), 10);
    let page = ("origin", "http://localhost");
    for (method, pairs, status) in [
        (Method::POST, &[("content-length", "10")][..], None),
        (Method::POST, &[("content-length", "11")], Some(413)),
        (Method::GET, &[("content-length", "11")], Some(413)),
        (Method::POST, &[("content-length", "eleven")], None),
        (Method::POST, &[("content-encoding", "identity")], None),
        (Method::POST, &[("content-encoding", "br")], Some(415)),
        (Method::GET, &[("content-encoding", "br")], None),
        (Method::POST, &[page, ("content-type", " application/json ;x")], None),
        (Method::POST, &[page, ("content-type", "application/jsonp")], Some(415)),
        (Method::POST, &[page, ("content-type", "text/plain; application/json")], Some(415)),
        (Method::GET, &[page], None),
        (Method::DELETE, &[page], None),
    ] {
        let refused = guard.check_body(&method, &headers(pairs)).err();
        assert_eq!(refused.map(|refused| refused.status().as_u16()), status, "{method} {pairs:?}");
    }
}

#[test]
fn paths_lose_slashes_and_nothing_else() {
    for (given, meant) in [
        ("/", "/"),
        ("//", "/"),
        ("///?x=1", "/?x=1"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("//v1//models//?a=//b/", "/v1/models?a=//b/"),
        ("/v1/models?a=//b/", "/v1/models?a=//b/"),
        ("/%2f/", "/%2f"),
        ("http://localhost:80//v1/", "http://localhost:80/v1"),
        ("http://localhost//", "http://localhost/"),
        ("*", "*"),
    ] {
        let mut uri: Uri = given.parse().unwrap();
        normalize(&mut uri);
        assert_eq!(uri.to_string(), meant, "{given}");
    }
}

#[test]
fn a_client_s_own_id_is_kept_where_it_can_be_printed() {
    let longest = "x".repeat(128);
    for (id, kept) in [
        ("!", true),
        ("~", true),
        (longest.as_str(), true),
        (&"x".repeat(129), false),
        ("", false),
        ("a b", false),
        ("é", false),
    ] {
        let mut request = request("GET", "/", &[], "");
        request.headers_mut().insert("x-request-id", HeaderValue::from_bytes(id.as_bytes()).unwrap());
        let found = request_id(&request);
        assert_eq!(found.as_bytes() == id.as_bytes(), kept, "{id:?}");
        assert!(kept || uuid::Uuid::parse_str(found.to_str().unwrap()).is_ok(), "{found:?}");
    }
}

#[test]
fn a_connection_ends_where_a_body_would_not_be_read() {
    let closes = |method: &str, length: Option<&str>| {
        let mut pairs = vec![];
        pairs.extend(length.map(|length| ("content-length", length)));
        let refused = closing_unread(refusal::Refusal::bad("x"), &request(method, "/", &pairs, ""));
        axum::response::IntoResponse::into_response(refused).headers().contains_key("connection")
    };
    assert!(!closes("GET", None) && !closes("GET", Some("0")) && closes("GET", Some("1")));
    assert!(closes("POST", None) && closes("POST", Some("0")) && closes("POST", Some("1")));
}

/// Oracle: sums over the tickets that are held, by hand.
#[test]
fn places_are_counted_in_all_and_by_key() {
    let (one, two) = (Some(KeyId(1)), Some(KeyId(2)));
    let door = Admission::new(6, Some(3));
    let enter = |key, answers| door.enter(key, answers).map_err(|refused| refused.message().to_owned());
    let held = [enter(one, 1).unwrap(), enter(one, 2).unwrap()];
    let own = |count| format!("this key has {count} answers running or waiting; try again later");
    assert_eq!(enter(one, 1).err(), Some(own(3)));
    let [first, second] = held;
    drop(second);
    assert_eq!((door.answers(), enter(one, 3).err()), (1, Some(own(1))));
    let again = enter(one, 2).unwrap();
    drop(first);
    assert_eq!((door.answers(), enter(one, 2).err()), (2, Some(own(2))));
    // A share is of keys; whoever has none has no share, and the door is for all.
    let others = [enter(None, 3).unwrap(), enter(two, 1).unwrap()];
    assert!(door.is_full() && door.answers() == 6);
    let full = |count| format!("the queue is full: {count} answers are running or waiting; try again later");
    assert_eq!(enter(two, 1).err(), Some(full(6)));
    assert_eq!(enter(None, 1).err(), Some(full(6)));
    assert_eq!(enter(None, 7).err().unwrap(), "7 answers requested; this server allows at most 6");
    drop(others);
    assert_eq!((door.answers(), door.is_full()), (2, false));
    drop(again);
    assert!(enter(None, 6).is_ok() && enter(one, 3).is_ok() && door.answers() == 0);
    // Without several keys there are no shares.
    let open = Admission::new(2, None);
    let both = open.enter(one, 2).unwrap();
    assert_eq!(open.enter(one, 1).err().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(both);
    assert!(!open.is_full());
}

#[tokio::test]
async fn a_server_has_places_for_what_runs_and_what_waits_and_shares_only_among_several_keys() {
    let settings = || ServerSettings { parallel: 2, max_queue: 3, max_queue_per_key: 1, ..settings() };
    let key = Some(KeyId(0));
    for (keys, most) in [(&[][..], 5), (&["one"], 5), (&["one", "two"], 3)] {
        let server = server(settings(), rules(keys), None).await;
        for door in [&server.admission, &server.passing] {
            let held: Vec<_> = (0..9).map_while(|_| door.enter(key, 1).ok()).collect();
            assert_eq!(held.len(), most, "{keys:?}");
            let all: Vec<_> = (0..9).map_while(|_| door.enter(None, 1).ok()).collect();
            assert_eq!((all.len(), door.is_full()), (5 - most, true), "{keys:?}");
        }
    }
}

#[tokio::test]
async fn a_place_is_taken_for_each_answer_of_each_prompt() {
    let settings = ServerSettings { parallel: 1, max_queue: 2, ..settings() };
    let app = app(&server(settings, rules(&[]), None).await);
    let text = |prompt: Value, n: Value| json!({ "model": "stories", "prompt": prompt, "n": n, "max_tokens": 1 });
    for (path, body, answers) in [
        (CHAT_PATH, asked(json!({ "n": 4, "temperature": 1 })), 4),
        ("/v1/completions", text(json!("a"), json!(4)), 4),
        ("/v1/completions", text(json!(["a", "b"]), json!(2)), 4),
        ("/v1/completions", text(json!(["a", "b", "c", "d"]), Value::Null), 4),
        ("/v1/completions", text(json!([[5], [6]]), json!(2)), 4),
        ("/v1/completions", text(json!([5, 6, 7, 8]), json!(4)), 4),
    ] {
        let says = format!("{answers} answers requested; this server allows at most 3");
        assert_eq!(post(&app, path, &body).await.refused(400), says, "{body}");
    }
    for (body, answers) in [
        (text(json!([5, 6, 7, 8]), json!(3)), 3),
        (text(json!("a"), Value::Null), 1),
        (text(json!([[5], [6], [7]]), json!(1)), 3),
    ] {
        let answer = post(&app, "/v1/completions", &body).await.ok();
        assert_eq!(answer["choices"].as_array().unwrap().len(), answers, "{body}");
    }
}
