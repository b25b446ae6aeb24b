//! `lyn compare`: the built-in model against itself, against fewer bits, sparse against dense.

use super::{folder, lyn, stories};

#[test]
fn a_copy_is_the_same_and_four_bits_are_near() {
    let folder = folder("compare");
    let file = folder.join("stories.gguf");
    let path = file.to_str().unwrap();
    lyn(["quantize", "stories", path, "--type", "q4_0"]).expect_code(0);
    let few = ["-n", "100", "--window", "64", "--json"];
    let copy = stories();
    let same = lyn([&["compare", "stories", copy.to_str().unwrap()], &few[..]].concat()).expect_code(0).json();
    assert_eq!(
        (&same["schema"], &same["tokens"], &same["kl"]["worst"]),
        (&"lyn.compare/1".into(), &100.into(), &0.0.into())
    );
    assert_eq!(same["a"]["perplexity"], same["b"]["perplexity"]);
    assert_eq!((&same["top1_agreement"], &same["first_divergence"]), (&1.0.into(), &serde_json::Value::Null));
    let run = lyn([&["compare", "stories", path, "--max-kl", "0.0001"], &few[..]].concat()).expect_code(8);
    let json = run.json();
    let (mean, worst) = (json["kl"]["mean"].as_f64().unwrap(), json["kl"]["worst"].as_f64().unwrap());
    assert!((1e-3..0.3).contains(&mean) && worst > mean && json["passed"] == false, "{json}");
    assert!(json["top1_agreement"].as_f64().unwrap() > 0.7, "{json}");
}

/// Within index_topk tokens dense attention reads what sparse attention does; beyond, it reads more.
#[test]
fn dense_attention_differs_only_beyond_the_selection() {
    let kl = |window: &str| {
        let run = lyn(["compare", "--dense", "-n", "150", "--window", window, "--json"]).expect_code(0).json();
        (run["kl"]["worst"].as_f64().unwrap(), run["dense_share"].clone())
    };
    let ((within, no_share), (beyond, share)) = (kl("64"), kl("160"));
    assert!(within < 1e-6 && beyond > 1e-4, "{within} {beyond}");
    assert!(no_share.is_null(), "every token sees all");
    // The beginning and 150 tokens, of which 64 are selected.
    assert_eq!((&share["tokens"], share["layers"].as_array().unwrap().len()), (&(151 - 64).into(), 6));
    let (mean, worst) = (share["mean"].as_f64().unwrap(), share["worst"].as_f64().unwrap());
    assert!(0.64 < mean && mean < 1.0 && 0.0 < worst && worst < mean, "{share}");
}

/// A cache of 8 bits beside one of 32, over the text and for facts in it.
#[test]
fn caches_are_compared_over_text_and_facts() {
    let sides = ["compare", "--cache-type", "f32", "--against-cache-type", "fp8", "--json"];
    let json = lyn([&sides[..], &["-n", "60", "--window", "64", "--needles", "100"]].concat()).expect_code(0).json();
    assert_eq!((&json["a"]["cache_type"], &json["b"]["cache_type"]), (&"f32".into(), &"fp8".into()));
    let mean = json["kl"]["mean"].as_f64().unwrap();
    assert!((1e-6..0.1).contains(&mean) && json["kl"]["estimator"] == "vocabulary", "{json}");
    let needles = &json["needles"][0];
    let depths = needles["depths"].as_array().unwrap();
    assert_eq!((&needles["length"], depths.len()), (&100.into(), 5));
    let selected = |depth: usize| depths[depth]["sides"][0]["selected"].as_f64().unwrap();
    assert!((0..5).any(|depth| selected(depth) < 1.0), "of 100 tokens 64 are selected: {json}");
    assert!((0..5).all(|depth| selected(depth) > 0.0) && json["speeds"].is_null(), "{json}");
    assert!(depths[4]["sides"][0]["log_probability"].as_f64().unwrap() < 0.0);
}

/// Of sparse and dense attention it is said where one overtakes the other.
#[test]
fn a_table_has_facts_speeds_and_the_crossover() {
    let run =
        lyn(["compare", "--dense", "-n", "30", "--window", "32", "--needles", "50", "--speed", "16"]).expect_code(0);
    for text in ["needles: five words", "length", "selected", "reading A", "decoding B", "sparse is faster"] {
        assert!(run.out.contains(text), "{text:?} is not in {}", run.out);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    lyn(["compare"]).expect_code(2).says(&["nothing to compare", "--dense"]);
    lyn(["compare", "--dense", "--max-kl", "-1"]).expect_code(2).says(&["--max-kl"]);
    lyn(["compare", "--dense", "--needles", "some"]).expect_code(2).says(&["--needles", "expected auto"]);
    lyn(["compare", "--dense", "-n", "30", "--needles", "20"]).expect_code(2).says(&["needles: a text of 20 tokens"]);
    let there = ["compare", "--upstream", "http://127.0.0.1:9"];
    lyn([&there[..], &["--dense"]].concat()).expect_code(2).says(&["--dense: with --upstream, B runs elsewhere"]);
    lyn(there).expect_code(6).says(&["error[upstream]", "cannot be reached"]);
    lyn(["compare", "--dense", "-f", "nowhere.txt"]).expect_code(6).says(&["nowhere.txt"]);
}

/// Oracle: the verb's own help, which has no --context.
#[test]
fn advice_names_options_that_the_verb_has() {
    for (arguments, option) in [
        (&["compare", "stories", "--dense", "--window", "99999"][..], "--window"),
        (&["compare", "stories", "--dense", "--needles", "99999"], "--needles"),
        (&["bench", "-p", "99999"], "--prompt"),
        (&["bench", "-p", "1", "--depth", "99999"], "--depth"),
    ] {
        let run = lyn(arguments.iter().copied().chain(["--device", "cpu"])).expect_code(2);
        assert!(run.err.contains("the model allows 1 to") && run.err.contains(option), "{}", run.err);
        assert!(!run.err.contains("--context"), "{}", run.err);
    }
}
