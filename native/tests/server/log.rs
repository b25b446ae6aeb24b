//! Prompts and answers in the log. Oracle: docs/server.md: never without `--log-prompts`.

use serde_json::{Value, json};

use super::{Server, chat, post, status_and_body, wait_until};

#[test]
fn prompts_and_answers_are_logged_on_request_and_never_else() {
    for arguments in [&["--device", "cpu", "--log-prompts"][..], &["--device", "cpu"]] {
        let is_asked_for = arguments.len() > 2;
        let server = Server::ready(arguments, &[]);
        let question = "Tell me of the zeppelin";
        let messages = json!([{ "role": "user", "content": question }]);
        let (status, body) = server.post("", &chat(json!({ "max_tokens": 5, "messages": messages })));
        let answer: Value = serde_json::from_str(&body).unwrap();
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(status == 200 && !text.trim().is_empty(), "{body}");
        let text_request = json!({ "model": "stories", "prompt": "Of a dirigible", "max_tokens": 1 }).to_string();
        let post = post("", &text_request).replace("/v1/chat/completions", "/v1/completions");
        let (_, body) = status_and_body(&server.raw(post.as_bytes()));
        assert!(body.contains("text_completion"), "{body}");
        let log = || server.log.lock().unwrap().clone();
        wait_until(|| log().matches("answered").count() >= 2, log);
        for words in [question, "Of a dirigible", text.trim()] {
            assert_eq!(log().contains(words), is_asked_for, "{words:?} with {arguments:?}: {}", log());
        }
    }
}
