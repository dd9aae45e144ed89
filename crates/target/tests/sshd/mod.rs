//! An ssh server on loopback with keys of its own, which the tests log in to as the user they run as.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use memtrial_target::interrupt::Interrupt;
use memtrial_target::observe::{Here, Identity, ObserveError, Place, There};
use memtrial_target::processes;

const SSHD: &str = "/usr/sbin/sshd";

/// The name of the server in the client's configuration.
pub const HOST: &str = "loopback";

/// A server, and a client's configuration for it.
pub struct Sshd {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

/// Never asks to stop.
pub fn quiet() -> Interrupt {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // The other end stays open for as long as the tests run.
    std::mem::forget(writer);
    Interrupt::on_input(reader.into())
}

impl Sshd {
    /// `None`, with a word why, where there is no server, or where it does not let this user in.
    pub fn start() -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: there is no {SSHD}");
            return None;
        }
        if processes::is_root() {
            // Debian's service makes it when it is started.
            fs::create_dir_all("/run/sshd").expect("root may");
        }
        let folder = tempfile::Builder::new().prefix("sshd").tempdir().expect("a folder");
        // The temporary folder of sessions.
        fs::create_dir(folder.path().join("tmp")).expect("a folder");
        for key in ["host_key", "other_host_key", "user_key", "other_user_key"] {
            make_key(&folder.path().join(key));
        }
        fs::copy(folder.path().join("user_key.pub"), folder.path().join("authorized")).expect("copied");
        let (server, port) = serve(folder.path());
        let sshd = Sshd { folder, server, port };
        sshd.write_client_configuration("config", "user_key", "host_key", port);
        match sshd.connect("config", None) {
            Ok(_) => Some(sshd),
            Err(error) if !processes::is_root() => {
                eprintln!("skipped: the server does not let this user in: {error}");
                None
            }
            Err(error) => panic!("root is not let in: {error}"),
        }
    }

    /// Connects by the client's configuration of this name.
    pub fn connect(&self, configuration: &str, copied: Option<&Path>) -> Result<There, ObserveError> {
        self.connect_with(configuration, copied, &quiet())
    }

    /// The same; what is done can be interrupted.
    pub fn connect_with(
        &self,
        configuration: &str,
        copied: Option<&Path>,
        interrupt: &Interrupt,
    ) -> Result<There, ObserveError> {
        let file = self.folder.path().join(configuration).display().to_string();
        There::connect_by(vec!["ssh".to_owned(), "-F".to_owned(), file], HOST, copied, interrupt)
    }

    /// Writes a client's configuration that expects this host key and logs in with this user's key.
    pub fn write_client_configuration(&self, name: &str, user_key: &str, host_key: &str, port: u16) {
        let folder = self.folder.path();
        let key = fs::read_to_string(folder.join(host_key).with_extension("pub")).expect("a key");
        let known = folder.join(format!("{name}.known"));
        fs::write(&known, format!("[127.0.0.1]:{port} {key}")).expect("written");
        let text = format!(
            "Host {HOST}\nHostName 127.0.0.1\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\n\
             IdentityAgent none\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n",
            folder.join(user_key).display(),
            known.display(),
        );
        fs::write(folder.join(name), text).expect("written");
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All processes of sessions, this machine's own view.
    pub fn sessions(&self) -> Vec<Identity> {
        let server = self.server.id().cast_signed();
        let tree = Here::new(quiet()).tree(server).unwrap_or_default();
        tree.into_iter().filter(|identity| identity.pid != server).collect()
    }

    /// Breaks all connections; returns what ran in the sessions.
    pub fn break_connections(&self) -> Vec<Identity> {
        let (servers, others): (Vec<_>, Vec<_>) =
            self.sessions().into_iter().partition(|identity| identity.name.starts_with("sshd"));
        assert!(!servers.is_empty(), "there is a session");
        for identity in servers {
            processes::kill(identity.pid);
        }
        others
    }

    /// Stops listening, and listens again.
    pub fn restart(&mut self) {
        self.server.kill().expect("it is ours");
        self.server.wait().expect("it is ours");
        self.server = serve_on(self.folder.path(), self.port).expect("the port is free again");
    }

    /// Waits until the temporary folder of the sessions is empty.
    pub fn wait_until_nothing_is_left(&self) {
        let left = || fs::read_dir(self.folder.path().join("tmp")).expect("a folder").count();
        while left() > 0 {
            pause();
        }
    }

    /// What is in the temporary folder of the sessions.
    pub fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("tmp")).expect("a folder");
        entries.flatten().map(|entry| entry.path()).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = self.sessions();
        let _ = self.server.kill();
        let _ = self.server.wait();
        for identity in sessions {
            processes::kill(identity.pid);
        }
    }
}

/// Waits a moment: between two looks at something that happens elsewhere.
pub fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Waits until a process has ended.
pub fn wait_until_gone(process: &Identity) {
    while Here::new(quiet()).reading(process).is_ok() {
        pause();
    }
}

fn make_key(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path);
    assert!(command.status().expect("ssh-keygen is there").success(), "a key is made");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// A server on any free port. It is none of those from which the kernel takes one for whoever connects (from 32768 on by
/// default: ip(7)): a client could have it when the server is restarted.
fn serve(folder: &Path) -> (Child, u16) {
    const FIRST: u16 = 30_000;
    const NUMBER: u32 = 2_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let first = std::process::id().wrapping_mul(29);
    loop {
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % NUMBER;
        let port = FIRST + u16::try_from(place).expect("it is less");
        // Somebody else may have it.
        if let Some(server) = serve_on(folder, port) {
            return (server, port);
        }
    }
}

/// A server on this port, once it listens; `None` if it can't.
fn serve_on(folder: &Path, port: u16) -> Option<Child> {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nMaxStartups 100\nPrintMotd no\nSetEnv TMPDIR={}\n",
        path("host_key"),
        path("authorized"),
        path("tmp"),
    );
    fs::write(folder.join("sshd_config"), text).expect("written");
    let log = fs::File::create(folder.join("log")).expect("a file");
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f", &path("sshd_config")]);
    let mut server =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
    loop {
        if server.try_wait().expect("it is ours").is_some() {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(log.contains("in use"), "the server ends: {log}");
            return None;
        }
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => return Some(server),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
        pause();
    }
}
