//! The memtrial on trial, and the agent inside it: built as the tests themselves are, unless they are named.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Names the executable to be tested instead of the one that the workspace builds.
const EXECUTABLE_VARIABLE: &str = "MEMTRIAL";
/// Names the agent's library that goes with it.
const AGENT_VARIABLE: &str = "MEMTRIAL_AGENT";

/// What is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The program.
    pub executable: PathBuf,
    /// The library that it carries inside itself.
    pub agent: PathBuf,
}

/// The executable and the agent. The first call in a process builds them where they are out of date; cargo itself
/// sees to it that processes which do so at the same time wait for each other.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| match (named(EXECUTABLE_VARIABLE), named(AGENT_VARIABLE)) {
        (Some(executable), Some(agent)) => Built { executable, agent },
        (executable, agent) => {
            let built = build();
            Built { executable: executable.unwrap_or(built.executable), agent: agent.unwrap_or(built.agent) }
        }
    })
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(variable)?);
    Some(path.canonicalize().unwrap_or_else(|error| panic!("{variable}={}: {error}", path.display())))
}

fn build() -> Built {
    let (target, profile) = target_and_profile(&env::current_exe().expect("/proc is mounted"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--package", "memtrial", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--profile", &profile, "--target-dir"]).arg(&target);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo can be run");
    assert!(output.status.success(), "{cargo:?} fails: what it said is above");
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Built {
        executable: messages.iter().find_map(executable_of).expect("cargo names the executable it has built"),
        agent: messages
            .iter()
            .find_map(agent_of)
            .expect("cargo names the agent that the build script has built"),
    }
}

/// The target folder and the profile that a test in `TARGET/PROFILE/deps/` was built with.
fn target_and_profile(test: &Path) -> (PathBuf, String) {
    let profile = test.ancestors().nth(2).expect("a test lies in TARGET/PROFILE/deps");
    let target = profile.parent().expect("a test lies in TARGET/PROFILE/deps");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
    // The one profile whose folder is not called as itself.
    let name = if name == "debug" { "dev" } else { name };
    (target.to_owned(), name.to_owned())
}

fn executable_of(message: &Value) -> Option<PathBuf> {
    let of_memtrial = message["target"]["name"] == "memtrial" && message["reason"] == "compiler-artifact";
    message["executable"].as_str().filter(|_| of_memtrial).map(PathBuf::from)
}

fn agent_of(message: &Value) -> Option<PathBuf> {
    let variables = message["env"].as_array().filter(|_| message["reason"] == "build-script-executed")?;
    let agent = variables.iter().find(|pair| pair[0] == "MEMTRIAL_AGENT_LIBRARY")?;
    agent[1].as_str().map(PathBuf::from)
}
