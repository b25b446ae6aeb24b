//! What is said of models. Oracle: the settings, and the plan that `/props` shows.

use super::*;

#[tokio::test]
async fn a_model_is_listed_with_its_owner_and_its_length() {
    let mut settings = settings();
    settings.models.aliases.push(Alias { name: "house/mine".to_owned(), thinking: false });
    let server = server(settings, rules(&[]), None).await;
    let app = app(&server);
    let plan = get(&app, "/props").await.ok()["lyn"]["plan"].clone();
    let list = get(&app, "/v1/models").await.ok();
    assert_eq!(list["object"], "list");
    for (id, owner) in [("stories", "lyn"), ("house/mine", "lyn"), ("deepseek-chat", "deepseek")] {
        let listed = list["data"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap();
        let own = get(&app, &format!("/v1/models/{id}")).await.ok();
        assert_eq!(*listed, own);
        expect(
            listed,
            json!({
                "object": "model", "owned_by": owner, "root": "stories", "created": server.started,
                "max_model_len": 1024, "context_length": 1024,
            }),
        );
        expect(
            &listed["meta"],
            json!({
                "n_ctx": 1024, "n_ctx_train": plan["max_position_embeddings"], "n_params": plan["parameters"],
                "size": plan["weights_bytes"],
            }),
        );
        assert!(listed["meta"]["n_vocab"].as_u64() > Some(1000), "{listed}");
    }
    let version = [("anthropic-version", "2023-06-01")];
    let theirs = send(&app, request("GET", "/v1/models", &version, "")).await.ok();
    let first = &theirs["data"][0];
    assert!(first["type"] == "model" && first.get("owned_by").is_none(), "{theirs}");
    let one = send(&app, request("GET", "/v1/models/stories", &version, "")).await.ok();
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("stories")));
    let health = get(&app, "/ready").await.ok();
    assert_eq!(health, json!({ "status": "ready" }));
}
