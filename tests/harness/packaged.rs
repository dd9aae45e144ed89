//! Packaged daemons on the loopback interface, each in a folder of its own, with nothing asked of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{Daemon, free_port};
use super::memtrial::Memtrial;
use super::programs::installed;
use super::workshop::{Bench, run};

/// A daemon, and what a client does with it.
pub struct Packaged {
    /// Its folder.
    pub bench: Bench,
    /// Its port on the loopback interface.
    pub port: u16,
    /// The command line that starts it.
    pub serve: String,
    /// What succeeds when it is ready.
    pub ready: String,
    /// What a client does in a round; it fails when the answer is wrong.
    pub act: String,
}

/// Whether tests run as root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: no arguments, and it can't fail.
    unsafe { libc::geteuid() == 0 }
}

/// What stands before a command that does not run as root.
#[must_use]
pub fn unprivileged() -> &'static str {
    if is_root() { "setpriv --reuid nobody --regid nogroup --clear-groups " } else { "" }
}

/// A folder that other users can reach, too.
///
/// # Panics
/// When there is no place for temporary files.
#[must_use]
pub fn open_bench() -> Bench {
    let bench = Bench::new();
    for folder in [bench.beside("."), bench.folder()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    bench
}

impl Packaged {
    /// The daemon, started and ready.
    ///
    /// # Panics
    /// When it does not become so.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon::start(&self.bench.folder(), &self.serve).ready(&self.ready)
    }

    /// `memtrial leak` with the client's action and these options, results apart.
    #[must_use]
    pub fn trial(&self, options: &str) -> Memtrial {
        let memtrial = Memtrial::new(&self.bench.folder(), "leak -q --json --output");
        let memtrial = memtrial.arguments([self.bench.beside("results")]);
        memtrial.arguments(options.split_whitespace()).arguments(["--do", &self.act])
    }

    /// The same on a daemon that memtrial starts.
    #[must_use]
    pub fn serving(&self, options: &str) -> Memtrial {
        self.trial(options).arguments(["--serve", &self.serve, "--ready", &self.ready])
    }
}

/// nginx under a name that nobody else's has: a main process, and two workers.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn nginx(name: &str) -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    std::os::unix::fs::symlink(installed("nginx"), bench.folder().join(name)).expect("a new folder");
    // Its workers would not reach the folder as somebody else.
    let user = if is_root() { "user root root;" } else { "" };
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("{part}_temp_path {part};"))
        .concat();
    bench.write(
        "nginx.conf",
        format!(
            "daemon off; worker_processes 2; pid nginx.pid; {user} events {{ worker_connections 64; }}
            http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; root .; }} }}\n"
        ),
    );
    bench.write("page", "a page\n");
    let act = format!("test \"$(curl -sf http://127.0.0.1:{port}/page)\" = 'a page'");
    let serve = format!("./{name} -p . -e error.log -c nginx.conf");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// Redis, on jemalloc: keys come, are read, and go.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn redis() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    let serve = format!(
        "{} --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir .",
        installed("redis-server").display()
    );
    let script = "redis.call('rpush', KEYS[1], 'a', 'b') local n = redis.call('llen', KEYS[1]) \
                  redis.call('del', KEYS[1]) return n";
    let act = format!("test \"$(redis-cli -p {port} eval \"{script}\" 1 list)\" = 2");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// memcached: four threads, and slabs of its own.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn memcached() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    let user = if is_root() { "-u root" } else { "" };
    let serve = format!("{} -l 127.0.0.1 -p {port} -U 0 -m 64 -t 4 {user}", installed("memcached").display());
    let talk = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"set k 0 0 5\\r\\nhello\\r\\nget k\\r\\nquit\\r\\n\" >&3; \
         grep -q ^hello <&3"
    );
    let act = format!("bash -c '{talk}'");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// unbound: a name server with four threads that allocate by glibc's malloc.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn unbound() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    bench.write(
        "unbound.conf",
        format!(
            "server:
  interface: 127.0.0.1@{port}
  do-ip6: no
  num-threads: 4
  chroot: \"\"
  username: \"\"
  directory: \".\"
  pidfile: \"unbound.pid\"
  use-syslog: no
  logfile: \"\"
  do-daemonize: no
  module-config: \"iterator\"
  local-zone: \"test.\" static
  local-data: \"answer.test. 60 IN A 192.0.2.7\"
remote-control:
  control-enable: no
"
        ),
    );
    let serve = format!("{} -d -c unbound.conf", installed("unbound").display());
    let act = ask_for_address(port);
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// PowerDNS's recursor, written in C++: threads that answer, with one that deals questions out to them.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn recursor() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    let records = "@ 60 IN SOA ns root 1 60 60 60 60\n@ 60 IN NS ns\nanswer 60 IN A 192.0.2.7\n";
    bench.write("zone", format!("$ORIGIN test.\n{records}"));
    bench.write(
        "recursor.conf",
        format!(
            "local-address=127.0.0.1\nlocal-port={port}\nthreads=4\nauth-zones=test=zone\nsocket-dir=.\ndaemon=no\n\
             write-pid=no\ndnssec=off\nsecurity-poll-suffix=\nquiet=yes\n"
        ),
    );
    let serve = format!("{} --config-dir=.", installed("pdns_recursor").display());
    let act = ask_for_address(port);
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// Asks a name server for the address of answer.test (RFC 1035, 4.1), and looks at the end of the answer to it.
fn ask_for_address(port: u16) -> String {
    let question = r"\022\064\001\000\000\001\000\000\000\000\000\000\006answer\004test\000\000\001\000\001";
    by_datagram(port, &format!("printf \"{question}\" >&3"), "grep -q \"192   0   2   7$\"")
}

/// chronyd that serves time and leaves the clock alone.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn chronyd() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    let folder = bench.folder();
    bench.write(
        "chrony.conf",
        format!(
            "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\nlocal stratum 8\ncmdport 0\n\
             bindcmdaddress /\npidfile {}/chronyd.pid\n",
            folder.display()
        ),
    );
    let user = run(Command::new("id").arg("-un"));
    let serve = format!("{} -x -d -U -f chrony.conf -u {}", installed("chronyd").display(), user.trim());
    // A client's request in version 4 (RFC 5905, 7.3), and a server's answer of stratum 8.
    let request = "{ printf \"\\043\"; head -c 47 /dev/zero; } | dd bs=48 iflag=fullblock >&3 2>/dev/null";
    let act = by_datagram(port, request, "grep -q \"^ *36   8 \"");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// Sends a datagram by a shell command and looks for something in the answer, as decimal numbers.
fn by_datagram(port: u16, send: &str, look: &str) -> String {
    let receive = "timeout 20 dd bs=512 count=1 <&3 2>/dev/null | od -An -v -w512 -tu1";
    format!("bash -c 'exec 3<>/dev/udp/127.0.0.1/{port}; {send}; {receive} | {look}'")
}

/// The server for files that comes with Python.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn python() -> Packaged {
    let (bench, port) = (Bench::new(), free_port());
    bench.write("page", "a page\n");
    let serve = format!("{} -m http.server {port} --bind 127.0.0.1", installed("python3").display());
    let act = format!("test \"$(curl -sf http://127.0.0.1:{port}/page)\" = 'a page'");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// PostgreSQL with a cluster of its own, as a user without rights: a main process, and one for each client.
///
/// # Panics
/// When it is not installed, or makes no cluster.
#[must_use]
pub fn postgres() -> Packaged {
    let (bench, port, programs) = (open_bench(), free_port(), postgres_programs());
    let program = |name: &str| programs.join(name).display().to_string();
    let unprivileged = unprivileged();
    let initdb = program("initdb");
    let line = format!("{unprivileged}{initdb} -D data -U tester -A trust --no-sync --no-locale");
    run(Command::new("/bin/sh").args(["-c", &line]).current_dir(bench.folder()));
    let server = program("postgres");
    let serve = format!("{unprivileged}{server} -D data -p {port} -k '' -h 127.0.0.1 -F");
    let query =
        "create temp table t(a int); insert into t select generate_series(1,100); select sum(a) from t";
    let psql = format!("{} -h 127.0.0.1 -p {port} -U tester -d postgres -XAtqc", program("psql"));
    let act = format!("test \"$({psql} '{query}')\" = 5050");
    Packaged { bench, port, serve, ready: act.clone(), act }
}

/// One of the programs of PostgreSQL's server.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn postgres_program(program: &str) -> PathBuf {
    postgres_programs().join(program)
}

fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir(Path::new("/usr/lib/postgresql")).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let found = folders.filter(|folder| folder.join("initdb").exists()).max();
    found.expect("PostgreSQL is not installed: ./test installs all that the tests need")
}
