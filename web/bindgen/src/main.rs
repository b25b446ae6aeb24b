//! `lyn-web-bindgen IN.wasm FOLDER`: writes `FOLDER/lyn.js`, `FOLDER/lyn_bg.wasm` and their types.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(folder)) = (arguments.next(), arguments.next()) else {
        return fail("usage: lyn-web-bindgen IN.wasm FOLDER");
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name("lyn").typescript(true).omit_default_module_path(true);
    let made = bindgen.web(true).and_then(|bindgen| bindgen.generate(folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("lyn-web-bindgen: {error:#}")),
    }
}

#[expect(clippy::print_stderr, reason = "a build tool's only way to say why")]
fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}
