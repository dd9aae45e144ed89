//! Where runs of the target are made: scratch files, streams, isolation and limits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memtrial_target::isolation::Isolation;
use memtrial_target::launch::{Launch, LaunchError, Program};
use memtrial_target::memory::{Setup, SharedMemory};
use memtrial_target::processes;
use memtrial_target::scratch::Scratch;
use memtrial_target::watch::{RunId, Watch};
use memtrial_wire::fault::Fault;
use memtrial_wire::layout::mode;

use crate::census::AGENT_FILE;

/// Most bytes of an output that are compared; more than this a program that ends by itself hardly writes.
pub const MOST_OUTPUT: u64 = 1 << 30;

/// What does not change from run to run.
#[derive(Debug)]
pub struct Lab {
    scratch: Scratch,
    agent: PathBuf,
    stdin: PathBuf,
    program: Program,
    follow: Vec<String>,
    limits: Limits,
    private: Vec<PathBuf>,
    hidden: Option<PathBuf>,
    runs: u64,
}

/// What an injection may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes it may write to one file.
    pub write: u64,
    /// Most bytes of private memory it may hold.
    pub data: u64,
}

/// One run under way, or just ended: its files live as long as this.
#[derive(Debug)]
pub struct Active {
    /// Its name in the watch.
    pub id: RunId,
    /// The memory that its agent shares.
    pub memory: SharedMemory,
    folder: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
    isolation: Option<Isolation>,
}

/// What kind of run one is.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// One of [`mode`].
    pub mode: u32,
    /// The fault.
    pub fault: Fault,
    /// Site and number of the allocation to fail.
    pub anchor: (u64, u64),
    /// Whether watched system calls are reported.
    pub filtered: bool,
    /// Whether fault signals are looked at.
    pub traced: bool,
    /// The time limit, if the run has one of its own.
    pub limit: Option<Duration>,
}

impl Kind {
    /// A run without a fault.
    #[must_use]
    pub fn census(limit: Duration) -> Kind {
        Kind {
            mode: mode::CENSUS,
            fault: Fault::Once,
            anchor: (0, 0),
            filtered: false,
            traced: true,
            limit: Some(limit),
        }
    }
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A scratch file could not be made.
    #[error("scratch folder: {0}")]
    Scratch(#[from] io::Error),
    /// The target did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl Lab {
    /// Sets up the lab: `agent` is written out, and stdin is kept, so that every run reads the same.
    ///
    /// # Errors
    /// Those of making files.
    pub fn new(
        scratch: Scratch,
        agent: &[u8],
        stdin: &mut dyn Read,
        program: Program,
        follow: &[String],
    ) -> io::Result<Lab> {
        let library = scratch.path().join(AGENT_FILE);
        fs::write(&library, agent)?;
        let kept = scratch.path().join("stdin");
        io::copy(stdin, &mut File::create(&kept)?)?;
        let limits = Limits { write: u64::MAX, data: u64::MAX };
        Ok(Lab {
            scratch,
            agent: library,
            stdin: kept,
            program,
            follow: follow.to_vec(),
            limits,
            private: Vec::new(),
            hidden: None,
            runs: 0,
        })
    }

    /// The scratch folder.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The program on trial.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The file with the target's stdin.
    #[must_use]
    pub fn stdin(&self) -> &Path {
        &self.stdin
    }

    /// The agent's library.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// What injections may use up from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The folders that each run has to itself from now on.
    pub fn set_private(&mut self, folders: Vec<PathBuf>) {
        self.private = folders;
    }

    /// The folders that each run has to itself.
    #[must_use]
    pub fn private(&self) -> &[PathBuf] {
        &self.private
    }

    /// Makes a folder look empty to every run: results grow there. Done where mounting costs the target nothing,
    /// for root and in runs with private folders.
    pub fn hide(&mut self, folder: &Path) {
        self.hidden = Some(folder.to_owned());
    }

    /// Gives up private and hidden folders: the machine does not allow them.
    pub fn share_all(&mut self) {
        self.private.clear();
        self.hidden = None;
    }

    fn isolation(&self, store: &Path) -> io::Result<Option<Isolation>> {
        let hidden = self.hidden.as_deref().filter(|folder| folder.is_dir());
        if self.private.is_empty() && (hidden.is_none() || !processes::is_root()) {
            return Ok(None);
        }
        Isolation::new(&self.private, hidden, store).map(Some)
    }

    /// The memory for a run of this kind, in the file `path`.
    ///
    /// # Errors
    /// Those of making it.
    pub fn memory(&self, path: &Path, kind: &Kind) -> io::Result<SharedMemory> {
        let setup = Setup {
            mode: kind.mode,
            fault: kind.fault,
            anchor: kind.anchor,
            follow: &self.follow,
            write_limit: self.limits.write,
            data_limit: self.limits.data,
        };
        SharedMemory::create(path, &setup)
    }

    /// Starts a run. `prepare` completes its memory before the target sees it.
    ///
    /// # Errors
    /// When files can't be made or the target does not start.
    pub fn start(
        &mut self,
        watch: &mut Watch,
        kind: &Kind,
        prepare: impl FnOnce(&mut SharedMemory, &Path) -> io::Result<()>,
    ) -> Result<Active, LabError> {
        self.runs += 1;
        let folder = self.scratch.folder(&format!("run{}", self.runs))?;
        let mut memory = self.memory(&folder.join("memory"), kind)?;
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let (out, err) = (File::create(&stdout)?, File::create(&stderr)?);
        memory.set_outputs([file_id(&out)?, file_id(&err)?]);
        prepare(&mut memory, &folder)?;
        let isolation = self.isolation(&folder)?;
        let launch = Launch {
            program: &self.program,
            stdin: &File::open(&self.stdin)?,
            stdout: &out,
            stderr: &err,
            agent: Some((&self.agent, &memory)),
            isolation: isolation.as_ref(),
            filtered: kind.filtered,
            traced: kind.traced,
        };
        let id = match watch.start(&launch, kind.limit) {
            Ok(id) => id,
            Err(error) => {
                memtrial_target::scratch::remove(&folder);
                return Err(error.into());
            }
        };
        Ok(Active { id, memory, folder, stdout, stderr, isolation })
    }

    /// Starts the user's check command where the run `after` was: it sees the same private folders.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_check(
        &self,
        watch: &mut Watch,
        command: &str,
        after: &Active,
        limit: Duration,
    ) -> Result<RunId, LabError> {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: ["sh", "-c", command].map(Into::into).to_vec(),
            environment: self.program.environment.clone(),
            folder: self.program.folder.clone(),
        };
        let said = File::create(after.check_output())?;
        let launch = Launch {
            program: &program,
            stdin: &File::open("/dev/null")?,
            stdout: &said,
            stderr: &said,
            agent: None,
            isolation: after.isolation.as_ref(),
            filtered: false,
            traced: false,
        };
        Ok(watch.start(&launch, Some(limit))?)
    }
}

impl Active {
    /// All of stdout so far.
    ///
    /// # Errors
    /// Those of reading.
    pub fn stdout(&self) -> io::Result<Vec<u8>> {
        read_output(&self.stdout)
    }

    /// All of stderr so far.
    ///
    /// # Errors
    /// Those of reading.
    pub fn stderr(&self) -> io::Result<Vec<u8>> {
        read_output(&self.stderr)
    }

    /// The longest of both outputs, in bytes.
    #[must_use]
    pub fn output_length(&self) -> u64 {
        let length = |path| fs::metadata(path).map_or(0, |facts| facts.len());
        length(&self.stdout).max(length(&self.stderr))
    }

    /// The files written in private folders, with what is in them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let written = self.isolation.as_ref().map(Isolation::written).unwrap_or_default();
        written.into_iter().filter_map(|(name, kept)| Some((name, read_output(&kept).ok()?))).collect()
    }

    /// Where the check command's words go.
    #[must_use]
    pub fn check_output(&self) -> PathBuf {
        self.folder.join("check")
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        memtrial_target::scratch::remove(&self.folder);
    }
}

/// Reads a file that a target has written: no more of it than is compared.
///
/// # Errors
/// Those of reading.
pub fn read_output(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file_id(file: &File) -> io::Result<[u64; 2]> {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map(|facts| [facts.dev(), facts.ino()])
}
