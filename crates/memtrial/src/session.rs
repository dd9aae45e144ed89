//! What all trials do alike before they begin: where results go, what is started, and a place for scratch files.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use memtrial_report::store;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::keeper::Started;
use memtrial_target::launch::Program;
use memtrial_target::preflight::{self, Fit, Unfit};
use memtrial_target::scratch::{self, Scratch};
use memtrial_target::{keeper, processes};
use memtrial_trials::census::AGENT_FILE;

use crate::agent::AGENT;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// The output folder, as an absolute path.
pub fn output_folder(output: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    let folder = output.cloned().unwrap_or_else(|| store::DEFAULT_FOLDER.into());
    std::path::absolute(&folder)
        .map_err(|error| Failure::new(ExitStatus::Usage, format!("{}: {error}", folder.display())))
}

/// The folder that this process runs in.
pub fn current_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir()
        .map_err(|error| Failure::new(ExitStatus::Usage, format!("the current folder: {error}")))
}

/// The command line as it was given, the name of this program in its short form.
pub fn command_line() -> Vec<String> {
    let rest = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("memtrial".to_owned()).chain(rest).collect()
}

/// What is known of the program that a command names.
pub fn examine(command: &[String], environment: &[(String, String)]) -> Result<Fit, Unfit> {
    let name = command.first().map(OsStr::new).unwrap_or_default();
    let search = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| OsStr::new(path));
    preflight::examine(name, search)
}

/// The program in this file, as a command, an environment and a folder say that it is to be started.
pub fn program(
    path: PathBuf,
    command: &[String],
    environment: &[(String, String)],
    folder: &Path,
) -> Program {
    Program {
        path,
        arguments: command.iter().map(OsString::from).collect(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        folder: folder.to_owned(),
    }
}

/// Does the work in a worker process that a keeper cleans up after; the scratch folder at the given path is the work's to
/// make. `started` says what becomes of the processes that the work starts. Should the worker be killed, `clean_up` is run
/// on the scratch folder.
pub fn kept<T>(
    started: Started,
    clean_up: fn(&Path),
    work: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path =
        keeper::enter(started, clean_up).map_err(|error| barred("cannot set up a scratch folder", &error))?;
    let result = work(&path);
    if started == Started::Ended {
        processes::end_all();
    }
    scratch::remove(&path);
    result
}

/// A scratch folder with the agent's library in it, and the user's wish to stop, which from now on ends nothing by itself.
pub fn workshop(path: &Path) -> Result<(Scratch, PathBuf, Interrupt), Failure> {
    let (scratch, agent) = scratch_with_agent(path)?;
    let interrupt = Interrupt::new().map_err(|error| barred("cannot watch for signals", &error))?;
    Ok((scratch, agent, interrupt))
}

/// A scratch folder with the agent's library in it.
pub fn scratch_with_agent(path: &Path) -> Result<(Scratch, PathBuf), Failure> {
    let scratch =
        Scratch::create(path).map_err(|error| barred(&format!("cannot make {}", path.display()), &error))?;
    let agent = scratch.path().join(AGENT_FILE);
    std::fs::write(&agent, AGENT).map_err(|error| barred("cannot fill the scratch folder", &error))?;
    Ok((scratch, agent))
}

/// Something that this machine does not allow or lacks.
pub fn barred(what: &str, error: &io::Error) -> Failure {
    Failure::new(ExitStatus::Barred, format!("{what}: {error}"))
}
