//! Jobs that are steered from a shell, and found there without being named.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{AttemptOutcome, CheckpointHistory, Job};
use watershed_runtime::remote::socket_in;

/// A place for jobs, and for the tool, which finds no others.
struct Shell {
    folder: TempDir,
}

impl Shell {
    fn new() -> Self {
        let shell = Self { folder: TempDir::new().unwrap() };
        for name in ["runtime", "runtime/watershed", "tmp", "elsewhere"] {
            fs::DirBuilder::new().mode(0o700).create(shell.path(name)).unwrap();
        }
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, name: &str) -> Job {
        let topology = Topology::new(name);
        topology
            .source("words", Generator::unbounded(|n| format!("word{}", n % 50)))
            .rate(1_000.0)
            .key_by(String::clone)
            .reduce("count", Ord::max)
            .for_each(|_| {});
        let config = Config::local().parallelism(1).checkpoints(self.path(name));
        topology.start(config.checkpoint_interval(millis(20))).unwrap()
    }

    /// Lists a job, as it would be for the tool if it had the same environment.
    fn list(&self, name: &str) {
        symlink(socket_in(&self.path(name)), self.path("runtime/watershed").join(name)).unwrap();
    }

    fn run_in(&self, folder: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watershed"));
        command.args(arguments).stdin(Stdio::null()).current_dir(self.path(folder));
        command.env("XDG_RUNTIME_DIR", self.path("runtime")).env("TMPDIR", self.path("tmp"));
        command.output().unwrap()
    }

    fn printed(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.run_in(folder, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.run_in(folder, arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        complaint(&output)
    }
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_job_is_given_savepoints_and_stopped_with_one() {
    let shell = Shell::new();
    let job = shell.start("job");
    let dir = shell.path("job");
    let dir = dir.to_str().unwrap();
    let line = shell.printed("elsewhere", &["savepoint", dir, "one"]);
    let place = shell.path("elsewhere/one");
    assert!(line.starts_with(&format!("savepoint {} of checkpoint ", place.display())), "{line}");
    assert!(place.join("manifest").exists(), "a relative path is that of the shell");
    let refused = shell.refused("elsewhere", &["savepoint", dir, "one"]);
    assert!(refused.contains("one"), "{refused}");
    let refused = shell.refused("elsewhere", &["savepoint", dir, "s3://bucket/one"]);
    assert!(refused.contains("this build knows `file://` and `memory://`"), "{refused}");
    let text = shell.printed("elsewhere", &["stop", dir, "--savepoint", "two", "--drain"]);
    assert!(text.ends_with("\nthe job has ended: stopped\n"), "{text}");
    assert!(shell.path("elsewhere/two/manifest").exists());
    assert_eq!(job.wait().unwrap().end, End::Stopped);
    let gone = shell.refused("elsewhere", &["stop", dir]);
    assert!(gone.contains("no job is running there"), "{gone}");
}

#[test]
fn a_job_is_stopped_and_cancelled() {
    let shell = Shell::new();
    let job = shell.start("job");
    assert_eq!(shell.printed("job", &["stop"]), "the job has ended: stopped\n");
    assert_eq!(job.wait().unwrap().end, End::Stopped);
    let job = shell.start("job");
    assert_eq!(shell.printed("job", &["cancel"]), "the job has ended: cancelled\n");
    assert_eq!(job.wait().unwrap().end, End::Cancelled);
}

#[test]
fn the_last_checkpoints_are_shown_with_what_became_of_them() {
    let shell = Shell::new();
    let job = shell.start("job");
    while job.checkpoints().unwrap().completed < 2 {}
    let text = shell.printed("job", &["checkpoints"]);
    let first = text.lines().last().unwrap();
    assert!(
        first.starts_with("1 ") && first.contains("  periodic   took ") && first.contains("complete"),
        "{text}"
    );
    let history: CheckpointHistory =
        serde_json::from_str(&shell.printed("job", &["checkpoints", "--json"])).unwrap();
    assert!(matches!(history.attempts[0].outcome, AttemptOutcome::Complete { .. }));
    assert_eq!(shell.printed("job", &["checkpoints", "--failed"]), "");
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn the_only_running_job_need_not_be_named() {
    let shell = Shell::new();
    let none = shell.refused("elsewhere", &["tree", "--json"]);
    assert!(none.contains("no running job of this user is found"), "{none}");
    let job = shell.start("job");
    shell.list("job");
    drop(UnixListener::bind(shell.path("tmp/dead.sock")).unwrap());
    symlink(shell.path("tmp/dead.sock"), shell.path("runtime/watershed/dead")).unwrap();
    assert!(shell.printed("elsewhere", &["tree", "--json"]).contains("\"job\":\"job\""));
    assert!(
        shell.printed("elsewhere", &["rescale", "count", "2"]).starts_with("count: from 1 to 2 instances")
    );
    let output = shell.run_in("elsewhere", &["query", "count", "word7"]);
    assert!(output.status.success() || complaint(&output).contains("ask again later"), "{output:?}");
    assert!(complaint(&output).contains("the only running job listens on "));
    while job.checkpoints().unwrap().completed < 1 {}
    assert!(shell.printed("elsewhere", &["snapshots", "list"]).contains("complete") || job.tree().is_ok());
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn files_of_others_that_are_called_as_ours_hide_no_running_job() {
    let shell = Shell::new();
    let job = shell.start("job");
    shell.list("job");
    while job.checkpoints().unwrap().completed < 1 {}
    for name in ["job", "manifest", "dead-letters"] {
        fs::write(shell.path("elsewhere").join(name), "of something else").unwrap();
    }
    fs::create_dir(shell.path("elsewhere/chk-mate")).unwrap();
    assert!(shell.printed("elsewhere", &["tree", "--json"]).contains("\"job\":\"job\""));
    let listed = shell.run_in("elsewhere", &["snapshots", "list"]);
    assert!(complaint(&listed).contains("the only running job has its checkpoints in "), "{listed:?}");
    // A folder of checkpoints counts first, whether its job runs or not.
    fs::remove_file(shell.path("elsewhere/job")).unwrap();
    fs::copy(shell.path("job/job"), shell.path("elsewhere/job")).unwrap();
    let refused = shell.refused("elsewhere", &["tree"]);
    assert!(refused.contains("no job is running there"), "{refused}");
    fs::remove_file(shell.path("elsewhere/job")).unwrap();
    fs::create_dir(shell.path("elsewhere/chk-7")).unwrap();
    let refused = shell.refused("elsewhere", &["tree"]);
    assert!(refused.contains("no job is running there"), "{refused}");
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn one_of_several_running_jobs_has_to_be_named() {
    let shell = Shell::new();
    let jobs = [shell.start("one"), shell.start("other")];
    shell.list("one");
    shell.list("other");
    let refused = shell.refused("elsewhere", &["cancel"]);
    assert!(
        refused.contains("several jobs are running") && refused.contains("one/control.sock"),
        "{refused}"
    );
    assert!(refused.contains("other/control.sock"), "{refused}");
    assert!(
        shell.printed("one", &["tree", "--json"]).contains("\"job\":\"one\""),
        "the current folder counts first"
    );
    for job in jobs {
        job.cancel().unwrap();
        job.wait().unwrap();
    }
}

#[test]
fn a_job_that_listens_is_listed_as_long_as_it_runs() {
    let shell = Shell::new();
    let job = shell.start("job");
    let socket = socket_in(&fs::canonicalize(shell.path("job")).unwrap());
    let is_listed = || watershed_runtime::remote::running_jobs().contains(&socket);
    assert!(is_listed());
    job.cancel().unwrap();
    job.wait().unwrap();
    assert!(!is_listed());
}

#[test]
fn a_job_that_does_not_answer_is_not_waited_for_without_end() {
    let shell = Shell::new();
    let socket = shell.path("tmp/silent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let socket: &Path = &socket;
    let refused = shell.refused("elsewhere", &["tree", socket.to_str().unwrap(), "--timeout-ms", "50"]);
    assert!(refused.contains("the job has said nothing for 50ms"), "{refused}");
    let both = shell.refused("elsewhere", &["tree", "x", "--socket", socket.to_str().unwrap()]);
    assert!(both.contains("not both"), "{both}");
}
