//! Several processes of one run: read from a hosts file, or started here.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use gustfront::flow::Cluster;

use super::{BadUsage, Exit};

/// How soon to look again whether a process has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// The processes that a hosts file names; empty lines and what follows `#` mean nothing.
pub(crate) fn cluster(file: &str, process: u16, processes: u16) -> Result<Cluster, BadUsage> {
    let text =
        std::fs::read_to_string(file).map_err(|error| BadUsage(format!("--hosts {file} cannot be read: {error}")))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let hosts: Vec<String> = lines.filter(|line| !line.is_empty()).map(String::from).collect();
    let has_port = |host: &&String| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if let Some(host) = hosts.iter().find(|host| !has_port(host)) {
        return Err(BadUsage(format!("--hosts {file}: `{host}` names no port; expected host:port, one a line")));
    }
    let twice = hosts.iter().enumerate().find(|(at, host)| hosts.iter().take(*at).any(|other| other == *host));
    if let Some((_, host)) = twice {
        let text = format!("--hosts {file} names `{host}` twice; expected an address of its own, host:port, a process");
        return Err(BadUsage(text));
    }
    if hosts.len() != usize::from(processes) || process >= processes {
        let text = format!(
            "--hosts {file} names {} processes, --processes {processes} and --process {process}; \
             expected as many lines as processes, and a process from 0 below that",
            hosts.len()
        );
        return Err(BadUsage(text));
    }
    Ok(Cluster { process: usize::from(process), hosts })
}

/// Starts every process of the run on this machine, hands signals on to them and waits for all; the worst exit counts.
pub(crate) fn start_all(processes: u16) -> anyhow::Result<Exit> {
    let hosts = hosts_file(processes)?;
    let program = std::env::current_exe().context("this program cannot be found")?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("signals cannot be caught")?;
    let mut children = Vec::new();
    for process in 0..processes {
        let child = start(&program, process, hosts.path());
        match child {
            Ok(child) => children.push(child),
            Err(error) => {
                children.iter_mut().for_each(end);
                return Err(error);
            }
        }
    }
    Ok(wait(&mut children, &stop))
}

/// The same command line, as one of the processes. Reports and metrics are the first one's.
fn start(program: &std::path::Path, process: u16, hosts: &std::path::Path) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments(process == 0));
    command.args(["--process", &process.to_string(), "--hosts"]).arg(hosts);
    // A terminal's Ctrl-C reaches this process alone, which hands it on once.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    stop_with_parent(&mut command);
    command.spawn().with_context(|| format!("process {process} cannot be started"))
}

/// Lets a process stop after what is under way once this one is gone, even where it was killed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn stop_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let parent = i32::try_from(std::process::id()).unwrap_or_default();
    let ask = move || {
        // SAFETY: both calls take and give plain numbers.
        let (asked, found) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM), libc::getppid()) };
        if asked == 0 && found == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec, `ask` makes two system calls and takes no memory and no lock.
    unsafe { command.pre_exec(ask) };
}

/// Elsewhere than on Linux with the GNU C library, processes run on.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn stop_with_parent(_: &mut Command) {}

/// This command line; without what only one process can have.
fn arguments(is_first: bool) -> Vec<std::ffi::OsString> {
    let mut kept = Vec::new();
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        let text = argument.to_string_lossy().into_owned();
        let alone =
            ["--report", "--metrics"].iter().find(|flag| text == **flag || text.starts_with(&format!("{flag}=")));
        match alone {
            Some(flag) if !is_first => {
                if text == **flag {
                    given.next();
                }
            }
            _ => kept.push(argument),
        }
    }
    if !is_first {
        kept.extend(["--metrics", "off"].map(Into::into));
    }
    kept
}

/// A file of free ports of this machine; another program may take one before its process does, which is then told.
fn hosts_file(processes: u16) -> anyhow::Result<HostsFile> {
    let bound: Result<Vec<TcpListener>, _> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let addresses: Result<Vec<_>, _> = bound.context("no free port")?.iter().map(TcpListener::local_addr).collect();
    let name = format!("gustfront-hosts-{}", std::process::id());
    let file = HostsFile(std::env::temp_dir().join(name));
    let mut made =
        std::fs::File::create(file.path()).with_context(|| format!("{} cannot be written", file.path().display()))?;
    addresses.context("no free port")?.iter().try_for_each(|address| writeln!(made, "{address}"))?;
    Ok(file)
}

/// Removed when the processes have ended.
struct HostsFile(std::path::PathBuf);

impl HostsFile {
    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for HostsFile {
    fn drop(&mut self) {
        // A temporary file that is left behind does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits for all; a stop is handed on, and again a second time.
fn wait(children: &mut [Child], stop: &AtomicBool) -> Exit {
    let mut worst = Exit::Done;
    let mut running: Vec<&mut Child> = children.iter_mut().collect();
    while !running.is_empty() {
        if stop.swap(false, Ordering::Relaxed) {
            running.iter().for_each(|child| terminate(child));
        }
        running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                worst = worse(worst, status.code());
                false
            }
            Err(_) => {
                worst = Exit::Failed;
                false
            }
        });
        thread::sleep(PAUSE);
    }
    worst
}

fn worse(so_far: Exit, code: Option<i32>) -> Exit {
    let now = match code {
        Some(0) => Exit::Done,
        Some(1) => Exit::Rejects,
        Some(64) => Exit::Usage,
        _ => Exit::Failed,
    };
    let weight = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::Rejects => 1,
        Exit::Failed => 2,
        Exit::Usage => 3,
    };
    if weight(now) > weight(so_far) { now } else { so_far }
}

/// Asks a process to stop after what is under way.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn terminate(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        // SAFETY: kill takes two numbers; the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

/// A terminal's Ctrl-C reaches every process by itself.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn terminate(_: &Child) {}

fn end(child: &mut Child) {
    // A process that has ended already cannot be killed, and that is fine.
    let _ = child.kill();
    let _ = child.wait();
}
