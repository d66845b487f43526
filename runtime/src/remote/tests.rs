//! The socket as its users see it.

mod steering;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use watershed_actors::sources::Generator;

use super::*;
use crate::{Config, Job, Topology};

fn kind(bound: io::Result<Socket>) -> io::ErrorKind {
    bound.unwrap_err().kind()
}

#[test]
fn a_socket_is_for_its_user_alone_and_gone_with_its_process() {
    let folder = TempDir::new().unwrap();
    let path = socket_in(folder.path());
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    let _connected = UnixStream::connect(&path).unwrap();
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_socket_that_a_dead_process_has_left_is_replaced() {
    let folder = TempDir::new().unwrap();
    let path = socket_in(folder.path());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(Client::connect(&path), Err(RemoteError::NobodyListens { .. })));
    let _socket = Socket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_socket_of_a_living_job_and_a_file_that_is_none_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = socket_in(folder.path());
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(kind(Socket::bind(&path)), io::ErrorKind::AddrInUse);
    drop(socket);
    fs::write(&path, "precious").unwrap();
    assert_eq!(kind(Socket::bind(&path)), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_another_process_has_put_there_is_not_removed() {
    let folder = TempDir::new().unwrap();
    let path = socket_in(folder.path());
    let socket = Socket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(socket);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_folder_may_be_nested_deeper_than_the_path_of_a_socket_may_be_long() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("a".repeat(120)).join("b".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let socket = Socket::bind(&socket_in(&deep)).unwrap();
    assert!(socket_in(&deep).exists());
    Client::connect(&socket_in(&deep)).unwrap();
    drop(socket);
    assert!(matches!(Client::connect(&socket_in(&deep)), Err(RemoteError::NoSocket { .. })));
}

/// A job that counts without end, and listens.
fn count(socket: &Path) -> Job {
    let topology = Topology::new("counting");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .rate(20_000.0)
        .key_by(|n| n % 10)
        .reduce("sums", |sum, n| sum + n)
        .for_each(|_| {});
    topology.start(Config::local().parallelism(1).control_socket(socket)).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("asked");
    (folder, path)
}

/// Says lines and hears one for each.
fn talk(socket: &Path, lines: &[&str]) -> Vec<String> {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    let mut answer = |line: &&str| {
        stream.get_mut().write_all(line.as_bytes()).unwrap();
        stream.get_mut().write_all(b"\n").unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        answer.trim_end().to_string()
    };
    lines.iter().map(&mut answer).collect()
}

#[test]
fn what_is_not_understood_is_refused_and_the_next_question_is_answered() {
    let (_folder, path) = place();
    let job = count(&path);
    let answers = talk(
        &path,
        &[
            "hello",
            r#"{"version":99,"ask":{"dance":{}}}"#,
            r#"{"version":2,"ask":"dance"}"#,
            r#"{"version":2,"ask":{"tap":{"operator":"sum"}}}"#,
            r#"{"version":2,"ask":"tree"}"#,
        ],
    );
    assert!(answers[0].starts_with(r#"{"refused":{"not-understood":{"why":"#), "{}", answers[0]);
    assert_eq!(answers[1], r#"{"refused":{"version":{"spoken":2}}}"#);
    assert!(answers[2].contains("unknown variant `dance`"), "{}", answers[2]);
    assert_eq!(
        answers[3],
        r#"{"refused":{"unknown-operator":{"operator":"sum","operators":["numbers","sums"]}}}"#
    );
    assert!(answers[4].starts_with(r#"{"tree":{"job":"counting","#), "{}", answers[4]);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_client_is_told_the_state_of_a_key_or_why_not() {
    let (_folder, path) = place();
    let job = count(&path);
    let mut client = Client::connect(&path).unwrap();
    let found = loop {
        // Until the job is at work, and the first number of this key has come.
        match client.query("sums", "7") {
            Ok(Some(found)) => break found,
            Ok(None) => {}
            Err(error) => assert!(error.to_string().contains("ask again later"), "{error}"),
        }
    };
    assert_eq!(found.key, 7);
    assert!(found.state["Value"].as_u64().unwrap() >= 7, "{found:?}");
    assert_eq!(client.query("sums", "10").unwrap(), None);
    let mut refused = |operator: &str, key: &str| client.query(operator, key).unwrap_err().to_string();
    assert_eq!(refused("sum", "7"), "there is no operator `sum`; there are `numbers`, `sums`");
    assert!(refused("numbers", "7").contains("`numbers` is a source"));
    let key = refused("sums", "be");
    assert!(key.contains("`sums`: its keys are of type `u64`, which the JSON `be` is not"), "{key}");
    let answers = talk(&path, &[r#"{"version":2,"ask":{"query":{"operator":"sums","key":"10"}}}"#]);
    assert_eq!(answers[0], r#"{"state":{"found":null}}"#);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_client_sees_the_tree_and_samples_with_their_keys() {
    let (_folder, path) = place();
    let job = count(&path);
    let mut client = Client::connect(&path).unwrap();
    let first = client.tree().unwrap();
    assert_eq!((first.job.as_str(), first.regions.len()), ("counting", 1));
    assert!(client.tree().unwrap().taken_nanos > first.taken_nanos);
    let samples: Vec<Sample> = client.tap("sums", Some(5)).unwrap().map(Result::unwrap).collect();
    assert_eq!(samples.len(), 5);
    for sample in samples {
        let number: u64 = sample.record.get().parse().unwrap();
        assert_eq!(sample.key.unwrap().get(), (number % 10).to_string());
        assert_eq!((sample.operator.as_str(), sample.instance), ("sums", 0));
    }
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_client_rescales_an_operator_and_who_looks_at_its_records_goes_on_looking() {
    let (_folder, path) = place();
    let job = count(&path);
    let mut samples = Client::connect(&path).unwrap().tap("sums", None).unwrap();
    samples.next().unwrap().unwrap();
    let mut client = Client::connect(&path).unwrap();
    let done = client.rescale("sums", 3).unwrap();
    assert_eq!((done.operator.as_str(), done.from, done.to), ("sums", 1, 3));
    assert!(samples.any(|sample| sample.unwrap().instance == 2));
    let refused = client.rescale("sums", 3).unwrap_err();
    assert!(matches!(refused, RemoteError::Refused(Refusal::NotRescaled { .. })), "{refused}");
    let why = "`sums` cannot be rescaled to 3 instances: it has so many already";
    assert_eq!(refused.to_string(), why);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn two_who_look_at_one_operator_both_see_records_and_with_the_last_one_it_ends() {
    let (_folder, path) = place();
    let job = count(&path);
    let tap = |limit| Client::connect(&path).unwrap().tap("numbers", limit).unwrap();
    let (mut one, mut other) = (tap(None), tap(None));
    let record = |sample: Result<Sample, RemoteError>| sample.unwrap().record.get().to_string();
    // When both have seen something, both see everything that is shown from then on.
    let seen = record(one.next().unwrap());
    let first = record(other.next().unwrap());
    let seen: Vec<String> = [seen].into_iter().chain(one.by_ref().take(20).map(record)).collect();
    let seen_by_other: Vec<String> = [first].into_iter().chain(other.take(20).map(record)).collect();
    assert!(seen.iter().any(|record| seen_by_other.contains(record)), "{seen:?} {seen_by_other:?}");
    drop(one);
    // Who hangs up in the middle is noticed, and another may look.
    assert_eq!(tap(Some(3)).map(Result::unwrap).count(), 3);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn who_watches_hears_how_the_job_has_ended() {
    let (_folder, path) = place();
    let job = count(&path);
    let mut watching = Client::connect(&path).unwrap();
    watching.tree().unwrap();
    let tapping = Client::connect(&path).unwrap().tap("sums", None).unwrap();
    // One that never says anything must not hold the job up.
    let _silent = UnixStream::connect(&path).unwrap();
    job.cancel().unwrap();
    job.wait().unwrap();
    assert_eq!(watching.tree().unwrap_err().to_string(), "the job has ended: cancelled");
    let last = tapping.last().unwrap();
    assert_eq!(last.unwrap_err().to_string(), "the job has ended: cancelled");
    assert!(matches!(Client::connect(&path), Err(RemoteError::NoSocket { .. })));
}

#[test]
fn a_job_that_cannot_listen_where_it_was_told_to_does_not_start() {
    let (folder, _) = place();
    let topology = Topology::new("unheard");
    topology.source("numbers", Generator::bounded(1, |n| n)).for_each(|_: u64| {});
    let started = topology.start(Config::local().control_socket(folder.path().join("no/such/folder")));
    let error = started.unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Config);
    assert!(error.to_string().starts_with("cannot listen on the control socket"), "{error}");
}

#[test]
fn too_many_at_once_are_sent_away_and_there_is_room_again_when_some_have_gone() {
    let (_folder, path) = place();
    let job = count(&path);
    let mut connected: Vec<Client> = (0..32).map(|_| Client::connect(&path).unwrap()).collect();
    for client in &mut connected {
        client.tree().unwrap();
    }
    let refused = Client::connect(&path).unwrap().tree();
    assert!(matches!(refused, Err(RemoteError::Refused(Refusal::Busy))), "{refused:?}");
    drop(connected);
    while let Err(error) = Client::connect(&path).unwrap().tree() {
        // Until it is noticed that they have gone.
        assert!(matches!(error, RemoteError::Refused(Refusal::Busy)), "{error}");
    }
    job.cancel().unwrap();
    job.wait().unwrap();
}
