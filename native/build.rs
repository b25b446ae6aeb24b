//! What `lyn --version` says beside the version: the commit, the target, and wgpu's version.

use std::process::Command;

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let target = std::env::var("TARGET").unwrap_or_default();
    let commit = git(&["rev-parse", "--short=9", "HEAD"]).map(|commit| format!(" ({commit})")).unwrap_or_default();
    let wgpu = wgpu_version().map(|wgpu| format!(" · wgpu {wgpu}")).unwrap_or_default();
    println!("cargo::rustc-env=LYN_VERSION={version}{commit}{wgpu} · {target}");
    // The log of HEAD changes with every commit, HEAD itself only with the branch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=../Cargo.lock");
}

/// The answer of git; none outside a repository, or without git.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn wgpu_version() -> Option<String> {
    let lock = std::fs::read_to_string("../Cargo.lock").ok()?;
    let (_, after) = lock.split_once("name = \"wgpu\"\nversion = \"")?;
    Some(after.split_once('"')?.0.to_owned())
}
