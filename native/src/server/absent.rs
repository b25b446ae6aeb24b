//! What is said where there is nothing.

use axum::http::{StatusCode, Uri};

use super::refusal::Refusal;

/// What other servers have and this one has not, by the end of a path: and what there is instead.
const ABSENT: &[(&str, &str)] = &[
    ("/embeddings", "embeddings, which this model does not make; ask a server of an embedding model"),
    ("/embedding", "embeddings, which this model does not make; ask a server of an embedding model"),
    ("/rerank", "scores of documents, which this model does not make; ask a server of a reranking model"),
    ("/reranking", "scores of documents, which this model does not make; ask a server of a reranking model"),
    ("/score", "scores of pairs of texts; log probabilities of a text come from /v1/completions, by echo and logprobs"),
    ("/moderations", "moderation, which this model does not do"),
    ("/audio/speech", "speech, and this model writes text; ask a server of a speech model"),
    ("/audio/transcriptions", "speech, and this model reads text; ask a server of a speech model"),
    ("/audio/translations", "speech, and this model reads text; ask a server of a speech model"),
    ("/images/generations", "pictures, and this model writes text; ask a server of an image model"),
    ("/images/edits", "pictures, and this model writes text; ask a server of an image model"),
    ("/images/variations", "pictures, and this model writes text; ask a server of an image model"),
    ("/files", "files, which this server does not keep; send their text in a message"),
    ("/batches", "batches, which this server does not keep; send requests beside each other, they share steps"),
    ("/assistants", "assistants, which this server does not keep; use /v1/chat/completions"),
    ("/threads", "threads, which this server does not keep; use /v1/chat/completions"),
    ("/vector_stores", "vector stores, which this server does not have"),
    ("/fine_tuning/jobs", "training, and this server runs models"),
    ("/edits", "edits, an older form; use /v1/chat/completions"),
    ("/realtime", "realtime sessions; use /v1/chat/completions with stream"),
];

/// 404. Of paths that other servers have it says what they are for.
pub(crate) fn not_found(uri: &Uri) -> Refusal {
    let path = uri.path();
    let bare = path.strip_prefix("/v1").unwrap_or(path);
    let message = match ABSENT.iter().find(|(end, _)| bare == *end) {
        Some((_, what)) => format!("{} is for {what}", lyn::error::quote(path)),
        None => format!("no such endpoint: {}", lyn::error::quote(path)),
    };
    Refusal::invalid(StatusCode::NOT_FOUND, "not_found", message)
}
