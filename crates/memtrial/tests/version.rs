//! The executable starts. Being a test of this package, it also makes `cargo test` build the executable, which the
//! end-to-end tests run.

use std::process::Command;

#[test]
fn it_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_memtrial")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        concat!("memtrial ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
