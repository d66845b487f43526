//! What a client can have a job do, and what it is told of its checkpoints; and clients that hold up others, or are
//! held up.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::{AttemptOutcome, Drain, millis};

/// A job that counts without end, with checkpoints in a folder.
fn counting(folder: &TempDir) -> Job {
    let topology = Topology::new("counting");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .rate(1_000.0)
        .key_by(|n| n % 10)
        .reduce("sums", |sum, n| sum + n)
        .for_each(|_| {});
    let config = Config::local().parallelism(1).checkpoints(folder.path().join("checkpoints"));
    topology.start(config.checkpoint_interval(millis(10))).unwrap()
}

fn client(folder: &TempDir) -> Client {
    Client::connect(&socket_in(&folder.path().join("checkpoints"))).unwrap()
}

#[test]
fn a_client_makes_a_savepoint_and_ends_the_job_with_another() {
    let folder = TempDir::new().unwrap();
    let job = counting(&folder);
    let uri = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let made = client(&folder).savepoint(&uri("one")).unwrap();
    assert!(folder.path().join("one/manifest").exists() && made.bytes > 0, "{made:?}");
    let refused = client(&folder).savepoint(&uri("one")).unwrap_err();
    assert!(matches!(refused, RemoteError::Refused(Refusal::NoSavepoint { .. })), "{refused}");
    let (last, ended) = client(&folder).stop(Some(&uri("two")), Drain::No).unwrap();
    assert_eq!(ended, "stopped");
    assert!(last.unwrap().checkpoint > made.checkpoint && folder.path().join("two/manifest").exists());
    assert_eq!(job.wait().unwrap().end, crate::End::Stopped);
}

#[test]
fn a_client_stops_drains_and_cancels_a_job_and_hears_how_it_has_ended() {
    let folder = TempDir::new().unwrap();
    let job = counting(&folder);
    assert_eq!(client(&folder).stop(None, Drain::No).unwrap(), (None, "stopped".to_string()));
    assert_eq!(job.wait().unwrap().end, crate::End::Stopped);
    let job = counting(&folder);
    assert_eq!(client(&folder).stop(None, Drain::Yes).unwrap(), (None, "stopped".to_string()));
    let drained = job.wait().unwrap();
    assert_eq!(
        drained.tree.instance("sums", 0).unwrap().watermark,
        Some(i64::MAX),
        "all that waits has come"
    );
    let job = counting(&folder);
    assert_eq!(client(&folder).cancel().unwrap(), "cancelled");
    assert_eq!(job.wait().unwrap().end, crate::End::Cancelled);
}

/// Asks until the history is as it should be.
fn history_once(
    folder: &TempDir,
    fits: impl Fn(&crate::CheckpointHistory) -> bool,
) -> crate::CheckpointHistory {
    let mut client = client(folder);
    loop {
        let history = client.checkpoints().unwrap();
        if fits(&history) {
            return history;
        }
    }
}

#[test]
fn checkpoints_are_remembered_with_what_became_of_them() {
    let folder = TempDir::new().unwrap();
    let job = counting(&folder);
    let history = history_once(&folder, |history| history.completed >= 3);
    let first = &history.attempts[0];
    assert!(matches!(first.outcome, AttemptOutcome::Complete { bytes, .. } if bytes > 0), "{first:?}");
    assert_eq!((first.id, first.purpose.as_str()), (Some(1), "periodic"));
    assert!(history.attempts.len() as u64 >= history.completed);
    assert!(job.checkpoints().unwrap().completed >= history.completed);
    job.cancel().unwrap();
    job.wait().unwrap();
}

/// A job with an operator that waits until it is let go.
fn gated(folder: &TempDir) -> (Job, Sender<()>) {
    let (go, gate): (Sender<()>, Receiver<()>) = channel();
    let gate = Mutex::new(gate);
    let topology = Topology::new("gated");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .rate(1_000.0)
        .key_by(|n| n % 10)
        .reduce("sums", |sum, n| sum + n)
        .for_each(move |_| {
            let _ = gate.lock().unwrap().recv();
        });
    let config = Config::local().parallelism(1).checkpoints(folder.path().join("checkpoints"));
    let config =
        config.checkpoint_interval(millis(10)).checkpoint_timeout(millis(1_500)).hang_timeout(Duration::ZERO);
    (topology.start(config).unwrap(), go)
}

#[test]
fn a_checkpoint_that_does_not_complete_says_who_holds_it_up_and_why_it_was_given_up() {
    let folder = TempDir::new().unwrap();
    let (job, go) = gated(&folder);
    let waits = |history: &crate::CheckpointHistory| match history.attempts.last().map(|last| &last.outcome) {
        Some(AttemptOutcome::Making { waits_for }) => Some(waits_for.join("; ")),
        _ => None,
    };
    let stuck = |history: &crate::CheckpointHistory| {
        waits(history).is_some_and(|why| why.contains("in one step for"))
    };
    let history = history_once(&folder, stuck);
    let why = waits(&history).unwrap();
    assert!(why.contains("sums[0]: "), "{why}");
    let failed = |history: &crate::CheckpointHistory| history.failed > 0;
    let history = history_once(&folder, failed);
    let reasons: Vec<&str> = history
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.outcome {
            AttemptOutcome::Failed { reason } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert!(reasons[0].starts_with("it took too long; still missing: "), "{reasons:?}");
    drop(go);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn those_who_say_nothing_lock_nobody_out() {
    let folder = TempDir::new().unwrap();
    let job = counting(&folder);
    let socket = socket_in(&folder.path().join("checkpoints"));
    let _silent: Vec<UnixStream> = (0..32).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for _ in 0..5 {
        client(&folder).tree().unwrap();
    }
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_job_that_says_nothing_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut client = Client::connect(&socket).unwrap().with_timeout(millis(50)).unwrap();
    let silent = client.tree().unwrap_err();
    assert!(matches!(silent, RemoteError::Silent { .. }), "{silent}");
    assert!(silent.to_string().starts_with("the job has said nothing for 50ms"), "{silent}");
}

#[test]
fn an_answer_without_end_is_not_taken_in() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let talking = std::thread::spawn(move || {
        let (mut asker, _) = listener.accept().unwrap();
        let chunk = vec![b'x'; 1 << 20];
        // Until it has had enough.
        while asker.write_all(&chunk).is_ok() {}
    });
    let mut client = Client::connect(&socket).unwrap();
    assert!(matches!(client.tree(), Err(RemoteError::TooLong)));
    drop(client);
    talking.join().unwrap();
}

#[test]
fn a_connection_that_was_closed_as_it_was_idle_is_made_again() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answering = std::thread::spawn(move || {
        for answer in [&b"{\"refused\":\"idle\"}\n"[..], b"\"working\"\n{\"state\":{\"found\":null}}\n"] {
            let (mut asker, _) = listener.accept().unwrap();
            asker.write_all(answer).unwrap();
            let mut line = String::new();
            BufReader::new(asker).read_line(&mut line).unwrap();
        }
    });
    let mut client = Client::connect(&socket).unwrap();
    assert_eq!(client.query("sums", "1").unwrap(), None);
    answering.join().unwrap();
}
