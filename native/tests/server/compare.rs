//! `lyn compare --upstream` against `lyn serve`. Oracle: a model against itself, here and there.

use std::process::Command;

use serde_json::Value;

use super::Server;

fn compare(server: &Server, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyn"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LYN_") {
            command.env_remove(name);
        }
    }
    command.env("NODEVICE_SELECT", "1").env("XDG_CONFIG_HOME", "/nonexistent");
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    let url = format!("http://{}", server.address);
    command.args(["compare", "--upstream", &url, "--json", "-n", "60", "--window", "40"]).args(more);
    let output = command.output().expect("lyn starts");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_model_elsewhere_is_compared_by_what_it_tells() {
    let server = Server::ready(&[], &[("LYN_API_KEY", "sk-compare")]);
    let (code, _, err) = compare(&server, &[]);
    assert!(code == Some(6) && err.contains("answered 401"), "{code:?} {err}");
    drop(server);
    let server = Server::ready(&[], &[]);
    let (code, same, err) = compare(&server, &["--max-kl", "1e-5", "--needles", "60"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!((&same["kl"]["estimator"], &same["tokens"]), (&"lower_bound".into(), &60.into()));
    assert_eq!((&same["top1_agreement"], &same["unknown_tokens"]), (&1.0.into(), &0.into()), "{same}");
    assert!(same["kl"]["worst"].as_f64().unwrap() < 1e-5, "{same}");
    let perplexity = |side: &str| same[side]["perplexity"].as_f64().unwrap();
    assert!((perplexity("a") / perplexity("b") - 1.0).abs() < 1e-4, "{same}");
    let needles = same["needles"][0]["depths"].as_array().unwrap();
    assert_eq!(needles.len(), 5);
    for depth in needles {
        let [a, b] = [&depth["sides"][0], &depth["sides"][1]];
        assert_eq!((&a["found"], &a["tokens"]), (&b["found"], &b["tokens"]), "{depth}");
        let log = |side: &Value| side["log_probability"].as_f64().unwrap();
        assert!((log(a) - log(b)).abs() < 1e-4, "{depth}");
        assert!(a["selected"] == 1.0 && b["selected"].is_null(), "60 tokens are all selected: {depth}");
    }
    let (code, other, err) = compare(&server, &["--cache-type", "fp8", "--max-kl", "1e-9"]);
    assert_eq!(code, Some(8), "{err}");
    assert!(other["kl"]["mean"].as_f64().unwrap() > 1e-6 && other["passed"] == false, "{other}");
    let (code, _, err) = compare(&server, &["stories", "no-such-model"]);
    assert!(code == Some(6) && err.contains("error[upstream]") && err.contains("no-such-model"), "{err}");
}
