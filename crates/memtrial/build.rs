//! Builds the agent, which the executable carries inside itself.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let agent = here.join("../agent/Cargo.toml");
    for source in [
        "../agent",
        "../wire",
        "../load",
        "../symbols/src/unwind",
        "../symbols/src/lib.rs",
        "../../Cargo.toml",
    ] {
        println!("cargo:rerun-if-changed={}", here.join(source).display());
    }
    // A folder of its own: the outer cargo holds the lock of the usual one.
    let target = out.join("agent");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--profile", "agent", "--locked", "--manifest-path"]).arg(&agent);
    cargo.arg("--target-dir").arg(&target);
    // What the outer build was told (a linter in front of the compiler, coverage) is not meant for the agent.
    for variable in ["RUSTC_WORKSPACE_WRAPPER", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cannot run cargo for the agent");
    assert!(status.success(), "the agent does not build");
    let library = target.join("agent/libmemtrial_agent.so");
    println!("cargo:rustc-env=MEMTRIAL_AGENT_LIBRARY={}", library.display());
}
