//! docs/cli.md: the help of every verb, as Markdown.

use std::process::ExitCode;

use crate::{App, Ended};

pub(crate) fn run(app: &App) -> Ended {
    let mut command = app.command().term_width(110);
    command.build();
    let mut text = "# The command line\n\nGenerated from the flag definitions by `lyn docs > docs/cli.md`. A long option can also be set by the environment \
         variable shown after it. Precedence: flag, environment, settings file, default. `LYN_TYPE` is the type of `lyn quantize` alone, and `LYN_FORCE` \
         loads a model without replacing files; the same holds for `type` and `force` at the top of the settings file, and `[plan]`, `[bench]` and `[quantize]` there set \
         a verb's own.\n"
        .to_owned();
    let mut all = vec![command.clone()];
    all.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help").cloned());
    for command in &mut all {
        let name = if command.get_name() == "lyn" { "lyn".to_owned() } else { format!("lyn {}", command.get_name()) };
        let help: String =
            command.render_help().to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
        text += &format!("\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    }
    app.terminal.bytes(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
