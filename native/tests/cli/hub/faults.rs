//! A network that fails: what has come is kept, nothing comes twice, and nothing wrong is ever taken for right.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::server::Fault;
use super::*;

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let file = weights();
    let place = Place::new("cut", std::slice::from_ref(&file));
    place.hub.fails("/resolve/", Fault::Cut(100_000));
    place.hub.fails("/resolve/", Fault::Cut(50_000));
    let run = place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
    assert_eq!(run.out.trim(), place.snapshot().join(&file.path).to_str().unwrap());
    let ranges: Vec<_> = place.hub.heard("/resolve/").iter().map(|it| it.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=150000-".to_owned())]);
    assert_eq!(place.hub.heard("/resolve/")[1].header("if-range"), Some(&*format!("\"{}\"", file.hash())));
    assert_eq!(place.hub.sent(), 300_000);
    // All is there: nothing but the list is asked for.
    place.run(&["pull", NAME]).expect_code(0).says(&["already there"]);
    assert_eq!((place.hub.heard("/resolve/").len(), place.hub.sent()), (3, 300_000));
}

/// `kill -9`, and then the same command.
#[test]
fn a_killed_download_goes_on() {
    let file = weights();
    let place = Place::new("kill", std::slice::from_ref(&file));
    place.hub.fails("/resolve/", Fault::Stall(120_000));
    let mut child = place.command(["pull", NAME]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let has_come = || place.incomplete(&file).metadata().map_or(0, |found| found.len());
    let began = Instant::now();
    while has_come() < 120_000 && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(has_come(), 120_000);
    assert!(!place.blob(&file).exists() && !place.repository().join("refs").exists());
    // A model that is only partly there is not there.
    place.run(&["show", NAME]).expect_code(3).says(&["not in the cache", "lyn pull org/tiny"]);
    let list = place.run(&["list"]).expect_code(0).out;
    assert!(list.contains("incomplete") && list.contains("117.2 KiB"), "{list}");
    place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
    assert_eq!(place.hub.sent(), 300_000, "what had come is not sent again");
}

#[test]
fn a_file_that_changes_is_not_mixed() {
    let file = weights();
    let place = Place::new("changed", std::slice::from_ref(&file));
    let mut older = file.bytes.clone();
    older[..1000].reverse();
    place.hub.fails("/resolve/", Fault::OtherCut(older, "older", 200_000));
    place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
    let heard = place.hub.heard("/resolve/");
    assert_eq!(
        (heard.len(), heard[1].header("if-range")),
        (2, Some("\"older\"")),
        "the rest of the same, or all of another"
    );
    assert_eq!(place.hub.sent(), 500_000);
}

#[test]
fn what_is_there_and_does_not_belong_is_thrown_away() {
    let file = weights();
    let place = Place::new("foreign", std::slice::from_ref(&file));
    fs::create_dir_all(place.repository().join("blobs")).unwrap();
    fs::write(place.incomplete(&file), noise(100_001).split_off(1)).unwrap();
    place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
    // Longer than the file, and a blob that was cut.
    fs::remove_file(place.blob(&file)).unwrap();
    fs::write(place.incomplete(&file), noise(400_000)).unwrap();
    fs::write(place.blob(&file), "cut").unwrap();
    place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
}

#[test]
fn other_bytes_than_were_listed_are_refused() {
    let file = weights();
    let place = Place::new("other", std::slice::from_ref(&file));
    let other = noise(300_001).split_off(1);
    place.hub.fails("/resolve/", Fault::Other(other, "x"));
    place.run(&["pull", NAME]).expect_code(3).says(&["error[bad_checkpoint]", "E-HASH: tiny-Q8_0.gguf", &file.hash()]);
    assert!(
        !place.blob(&file).exists() && !place.incomplete(&file).exists() && !place.repository().join("refs").exists()
    );
    for (length, says) in
        [(299_999, "expected 300000 bytes, the server sends 299999"), (1 << 40, "the server sends 1099511627776")]
    {
        place.hub.fails("/resolve/", Fault::Length(length));
        place.run(&["pull", NAME]).expect_code(6).says(&["error[network]", says]);
    }
    place.hub.fails("/resolve/", Fault::Endless);
    place.run(&["pull", NAME]).expect_code(6).says(&["expected 300000 bytes, the server sends more"]);
    assert!(!place.blob(&file).exists());
    // None of it spoils what comes then.
    place.run(&["pull", NAME]).expect_code(0);
    place.expect(&file);
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let file = weights();
    let place = Place::new("patience", std::slice::from_ref(&file));
    place.hub.fails("/tree/", Fault::Status(503, "x-a", "b"));
    place.hub.fails("/resolve/", Fault::Status(429, "retry-after", "1"));
    let began = Instant::now();
    place.run(&["pull", NAME]).expect_code(0);
    assert!(began.elapsed() >= Duration::from_secs(1));
    place.expect(&file);
    place.hub.fails("/tree/", Fault::Status(429, "retry-after", "3600"));
    let began = Instant::now();
    place.run(&["pull", NAME]).expect_code(6).says(&["error[network]", "too many requests", "in 3600 s", "HF_TOKEN"]);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn refusals_say_what_to_do() {
    let place = Place::new("refusals", &[weights()]);
    for (status, header, value, code, exit, says) in [
        (401, "x-error-code", "RepoNotFound", "unauthorized", 6, "is not public, or"),
        (401, "x-error-code", "GatedRepo", "unauthorized", 6, "accept its terms at http://127.0.0.1"),
        (403, "x-error-message", "Access is restricted", "unauthorized", 6, "(403): Access is restricted"),
        (404, "x-error-code", "RevisionNotFound", "model_not_found", 3, "no such revision"),
    ] {
        place.hub.fails("/revision/", Fault::Status(status, header, value));
        place.hub.fails("/tree/", Fault::Status(status, header, value));
        place.run(&["pull", NAME]).expect_code(exit).says(&[&format!("error[{code}]"), says]);
        // Where the first request failed, the second was not made.
        place.hub.forget_faults();
    }
    place.hub.fails("/resolve/", Fault::Status(403, "x-error-code", "GatedRepo"));
    place.run(&["pull", NAME]).expect_code(6).says(&["\"tiny-Q8_0.gguf\" of org/tiny may not be read (403)"]);
    place.run(&["pull", "org/other"]).expect_code(3).says(&["error[model_not_found]", "no such model (404)"]);
    let mut gone = place.command(["pull", NAME]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = ended(gone.env("HF_ENDPOINT", format!("http://{port}"))).expect_code(6);
    run.says(&["error[network]", "cannot be reached"]);
    let mut offline = place.command(["pull", NAME]);
    ended(offline.env("HF_HUB_OFFLINE", "1")).expect_code(6).says(&["HF_HUB_OFFLINE is set"]);
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let file = weights();
    let place = Place::new("token", std::slice::from_ref(&file));
    let store = Hub::new(std::slice::from_ref(&file));
    place.hub.store_at(&store);
    store.fails("/store/", Fault::Cut(1000));
    let mut pull = place.command(["pull", NAME]);
    let run = ended(pull.env("HF_TOKEN", " hf_secret\n")).expect_code(0);
    place.expect(&file);
    assert!(!run.err.contains("hf_secret"));
    let home = place.hub.heard("");
    assert!(home.len() >= 4 && home.iter().all(|heard| heard.header("authorization") == Some("Bearer hf_secret")));
    let away = store.heard("");
    assert_eq!(away.len(), 2);
    assert!(away.iter().all(|heard| heard.header("authorization").is_none()), "{away:?}");
    assert_eq!(away[1].header("range"), Some("bytes=1000-"));
    // A redirect in a circle ends.
    place.hub.host(&[Hosted::large("b-Q8_0.gguf", b"b")]);
    place.hub.store_at(&place.hub);
    place.run(&["pull", NAME]).expect_code(6).says(&["redirects more than"]);
    for location in ["file:///etc/passwd", "//elsewhere/x"] {
        place.hub.fails("/resolve/", Fault::Status(302, "location", location));
        place.run(&["pull", NAME]).expect_code(6).says(&["which is not followed"]);
    }
}

#[test]
fn two_at_once_download_once() {
    let file = weights();
    let place = Place::new("twice", std::slice::from_ref(&file));
    place.hub.fails("/resolve/", Fault::Slow(Duration::from_millis(800)));
    let start = || place.command(["pull", NAME]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut children = [start(), start()];
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    place.expect(&file);
    assert_eq!((place.hub.sent(), place.hub.heard("/resolve/").len()), (300_000, 1));
}

#[test]
fn the_disk_is_looked_at_first() {
    let file = Hosted { listed_size: Some(1 << 49), ..weights() };
    let place = Place::new("disk", std::slice::from_ref(&file));
    let run = place.run(&["pull", "org/tiny:Q8_0"]).expect_code(6);
    run.says(&["error[io]", "the download needs 524288.0 GiB", "HF_HUB_CACHE"]);
    assert!(place.hub.heard("/resolve/").is_empty());
    assert!(!place.incomplete(&file).exists());
}
