//! Each program in `cases/` is refused by the compiler, with the words beside it. After a change, `TRYBUILD=overwrite
//! cargo test -p watershed-ui` writes them anew: read what has changed.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::process::Command;

/// The compiler that the words are of: others have words of their own.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

fn compiler() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let said = Command::new(rustc).arg("--version").output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn the_compiler_names_the_cure() {
    let compiler = compiler();
    if compiler.starts_with(&format!("rustc {RUST_VERSION}.")) {
        trybuild::TestCases::new().compile_fail("cases/*.rs");
    } else {
        println!("not compared with {compiler}: the words are those of Rust {RUST_VERSION}");
    }
}
