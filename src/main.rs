//! The `meridian` command; see [`meridian::cli`].

fn main() -> std::process::ExitCode {
    meridian::cli::run(std::env::args_os())
}
