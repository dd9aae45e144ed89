//! An sshd on the loopback interface, with keys and a configuration of its own on both sides.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::daemon::{Daemon, children, free_port, tree};
use super::memtrial::Memtrial;
use super::processes::signal;
use super::programs::installed;
use super::workshop::{Bench, run};

/// What a client calls the machine.
pub const HOST: &str = "target";

/// A machine that can be reached by ssh: this one.
pub struct SecureShell {
    bench: Bench,
    daemon: Daemon,
}

impl SecureShell {
    /// Starts it.
    ///
    /// # Panics
    /// When sshd is not installed, or does not start.
    #[must_use]
    pub fn start() -> SecureShell {
        let (bench, port) = (Bench::new(), free_port());
        for key in ["host", "user", "stranger"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", key])
                .current_dir(bench.folder()));
        }
        // Without it sshd refuses to start as root; the package's service makes it as well.
        let _ = fs::create_dir("/run/sshd");
        let folder = bench.folder();
        let folder = folder.display();
        bench.write(
            "sshd_config",
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n\
                 AuthorizedKeysFile {folder}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
                 MaxStartups 100\nMaxSessions 100\n"
            ),
        );
        let user = run(Command::new("id").arg("-un"));
        let user = user.trim();
        for (file, key) in [("ssh_config", "user"), ("refused_config", "stranger")] {
            bench.write(
                file,
                format!(
                    "Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  \
                     IdentityFile {folder}/{key}\n  IdentitiesOnly yes\n  \
                     UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking accept-new\n  \
                     BatchMode yes\n"
                ),
            );
        }
        let line = format!("{} -D -e -f {folder}/sshd_config", installed("sshd").display());
        let client = format!("ssh -F {folder}/ssh_config {HOST} true");
        let daemon = Daemon::start(&bench.folder(), &line).ready(&client);
        SecureShell { bench, daemon }
    }

    /// What memtrial uses for `ssh`.
    #[must_use]
    pub fn client(&self) -> String {
        format!("ssh -F {}", self.path("ssh_config").display())
    }

    /// The same with a key that the machine does not know.
    #[must_use]
    pub fn refused_client(&self) -> String {
        format!("ssh -F {}", self.path("refused_config").display())
    }

    /// memtrial, with the target on this machine.
    #[must_use]
    pub fn over(&self, memtrial: Memtrial) -> Memtrial {
        memtrial.arguments(["--ssh", HOST]).variable("MEMTRIAL_SSH", self.client())
    }

    /// Cuts all connections; returns how many there were. The machine can be reached again at once.
    #[must_use]
    pub fn cut(&self) -> usize {
        let connections = children(self.daemon.pid());
        for connection in &connections {
            // What runs in a session notices by itself that nobody listens any more.
            let processes = tree(*connection).into_iter().filter(|pid| is_sshd(*pid));
            for pid in processes.collect::<Vec<_>>() {
                signal(pid, libc::SIGKILL);
            }
        }
        connections.len()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        children(self.daemon.pid()).len()
    }

    /// Cuts all connections, and lets nobody in any more.
    pub fn close_and_cut(&mut self) {
        self.daemon.end();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }
}

fn is_sshd(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sshd")
}
