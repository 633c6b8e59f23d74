//! `onedrive-cli`: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    onedrive_mount::cli::run_cli()
}
