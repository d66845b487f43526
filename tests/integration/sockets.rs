//! Inputs that have no end, and whose other side hangs up.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{End, SimulatedDisk};
use watershed_state::bug::{self, Bug};

use crate::fixture::{finish, lines_in, seeded, simulated};
use crate::topologies::feed;

/// A topology that reads lines from a server, and the lines.
fn lines_of(
    server: &TcpListener,
    with: impl FnOnce(SocketLines) -> SocketLines,
) -> (Topology, Receiver<String>) {
    let (line, lines) = sync_channel(100);
    let topology = Topology::new("lines");
    let source = with(SocketLines::connect(server.local_addr().unwrap().to_string()));
    topology.source("socket", source).for_each(move |text| line.try_send(text).unwrap());
    (topology, lines)
}

fn accept(server: &TcpListener) -> TcpStream {
    server.accept().unwrap().0
}

fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn a_socket_that_closes_is_connected_again_in_this_process_and_in_the_next() {
    let (folder, server) = (TempDir::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (topology, lines) = lines_of(&server, |source| source);
    let config = || Config::local().checkpoints(folder.path()).without_control_socket();
    let job = topology.start(config()).unwrap();
    for text in ["one", "two", "three"] {
        let mut connection = accept(&server);
        writeln!(connection, "{text}").unwrap();
        drop(connection);
        assert_eq!(next(&lines), text);
    }
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);
    let job = topology.start(config()).unwrap();
    writeln!(accept(&server), "four").unwrap();
    while next(&lines) != "four" {}
    job.cancel().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Cancelled);
}

#[test]
fn a_connection_that_breaks_is_made_again_without_a_rollback() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (topology, lines) = lines_of(&server, |source| source);
    let job = topology.start(Config::local().restart(Restart::never())).unwrap();
    for text in ["one", "two"] {
        let mut connection = accept(&server);
        writeln!(connection, "{text}").unwrap();
        assert_eq!(next(&lines), text);
        socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let mut connection = accept(&server);
    writeln!(connection, "three").unwrap();
    assert_eq!(next(&lines), "three");
    job.cancel().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Cancelled);
}

#[test]
fn a_socket_that_is_read_until_it_closes_is_a_bounded_input() {
    let (folder, server) = (TempDir::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (topology, lines) = lines_of(&server, SocketLines::until_closed);
    let config = || Config::local().checkpoints(folder.path());
    let job = topology.start(config()).unwrap();
    writeln!(accept(&server), "one").unwrap();
    assert_eq!(job.wait().unwrap().end, End::Finished);
    assert_eq!(next(&lines), "one");
    assert_eq!(topology.run(config()).unwrap().end, End::AlreadyFinished);
}

#[test]
fn a_job_that_was_taken_for_finished_as_its_input_had_hung_up_goes_on() {
    let (topology, disk) = (feed::topology(), SimulatedDisk::new(5));
    {
        let _as_it_was = bug::seed(Bug::UnboundedSplitFinished);
        let simulation = seeded(5).on_disk(&disk);
        assert_eq!(topology.run(simulated(simulation)).unwrap().end, End::Finished);
    }
    let all = (feed::SPLITS * feed::RECORDS) as usize;
    assert!(lines_in(&disk, "/out/feed").len() < all);
    assert_eq!(finish(&topology, 5, &disk).end, End::Finished);
    assert_eq!(lines_in(&disk, "/out/feed").len(), all);
}
