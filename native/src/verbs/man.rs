//! Man pages.

use std::path::Path;
use std::process::ExitCode;

use clap_mangen::Man;

use crate::text::io_error;
use crate::{App, Ended};

/// Runs the verb: one page on stdout, or all into a folder.
pub(crate) fn run(app: &App, folder: Option<&Path>) -> Ended {
    let command = app.command();
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
            clap_mangen::generate_to(command, folder).map_err(|error| io_error(folder, &error))?;
        }
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page).map_err(|error| io_error(Path::new("stdout"), &error))?;
            app.terminal.bytes(&page);
        }
    }
    Ok(ExitCode::SUCCESS)
}
