//! The page's files and what is where there is none. Oracle: the methods, paths and headers, by hand.

use super::*;

#[tokio::test]
async fn a_page_is_read_and_nothing_else_and_its_document_is_not_kept() {
    let folder = std::env::temp_dir().join(format!("lyn-read-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index.html"), "<head></head>").unwrap();
    std::fs::write(folder.join("main.js"), "let one = 1").unwrap();
    let app = app(&server(settings(), rules(&[]), Page::open(&folder)).await);
    for (method, path, status, text) in [
        ("GET", "/", 200, "<head><meta name=\"lyn-server\" content=\".\" /></head>"),
        ("GET", "/main.js", 200, "let one = 1"),
        ("HEAD", "/main.js", 200, ""),
        ("POST", "/", 404, "no such endpoint"),
        ("DELETE", "/main.js", 404, "no such endpoint"),
        ("GET", "/other.js", 404, "no such endpoint"),
    ] {
        let answer = send(&app, request(method, path, &[], "")).await;
        assert!(answer.status == status && answer.text.contains(text), "{method} {path}: {}", answer.text);
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("referrer-policy"), (status == 200).then_some("no-referrer"), "{method} {path}");
        assert_eq!(header("content-security-policy").is_some(), status == 200, "{method} {path}");
        assert_eq!(header("cache-control"), (path == "/" && status == 200).then_some("no-cache"), "{method} {path}");
    }
    std::fs::remove_file(folder.join("index.html")).unwrap();
    get(&app, "/").await.refused(404);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn without_a_page_the_root_says_how_to_build_it() {
    let app = app(&open_server().await);
    for (method, path, status) in [("GET", "/", 200), ("HEAD", "/", 200), ("POST", "/", 404), ("GET", "/x", 404)] {
        let answer = send(&app, request(method, path, &[], "")).await;
        assert_eq!(answer.status, status, "{method} {path}");
        if status == 200 {
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
            assert!(method == "HEAD" || answer.text.contains("run web/build"), "{}", answer.text);
        }
    }
}
