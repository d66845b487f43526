use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;

use super::*;
use crate::batch::Batch;
use crate::sources::testing::{context, drain, poll};

/// A reader and the server's end of its connection.
fn connected(with: impl FnOnce(SocketLines) -> SocketLines) -> (SocketLinesReader, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = with(SocketLines::connect(server.local_addr().unwrap().to_string()));
    let split = source.splits().unwrap().remove(0);
    let reader = source.open(&split, None, &context()).unwrap();
    let (peer, _) = server.accept().unwrap();
    (reader, peer)
}

/// What a reader says at the end, when the server has sent this and closed the connection.
fn after(sent: &[u8], with: impl FnOnce(SocketLines) -> SocketLines) -> UserResult<Vec<String>> {
    let (mut reader, mut peer) = connected(with);
    peer.write_all(sent).unwrap();
    drop(peer);
    drain(&mut reader, 2)
}

#[test]
fn lines_come_until_the_peer_closes() {
    assert_eq!(after(b"a\r\n\nb\nlast", |source| source).unwrap(), ["a", "", "b", "last"]);
    assert_eq!(after(b"", |source| source).unwrap(), Vec::<String>::new());
}

#[test]
fn a_line_is_given_out_before_the_next_one_is_sent() {
    let (mut reader, mut peer) = connected(|source| source);
    for line in ["one", "two", "three"] {
        writeln!(peer, "{line}").unwrap();
        let (lines, polled) = poll(&mut reader, 10).unwrap();
        assert_eq!((lines, polled), (vec![line.to_owned()], Polled::Pending(None)));
    }
    assert_eq!(reader.position(), 3);
}

#[test]
fn a_line_in_pieces_is_put_together() {
    let (mut reader, mut peer) = connected(|source| source);
    peer.write_all(b"first\nsec").unwrap();
    assert_eq!(poll(&mut reader, 10).unwrap().0, ["first"]);
    peer.write_all(b"ond\n").unwrap();
    assert_eq!(poll(&mut reader, 10).unwrap().0, ["second"]);
}

#[test]
fn nothing_is_lost_when_the_server_is_faster_than_the_reader() {
    let (mut reader, mut peer) = connected(|source| source);
    let server = std::thread::spawn(move || {
        for number in 0..400_000 {
            writeln!(peer, "{number}").unwrap();
        }
    });
    let lines = drain(&mut reader, 1000).unwrap();
    server.join().unwrap();
    assert!(lines.iter().map(|line| line.parse::<usize>().unwrap()).eq(0..400_000));
    assert_eq!(reader.position(), 400_000);
}

#[test]
fn a_dropped_reader_closes_the_connection() {
    let (reader, mut peer) = connected(|source| source);
    drop(reader);
    // The thread held the other end: this returns only because it let go of it.
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_dropped_reader_closes_the_connection_also_when_its_queue_is_full() {
    let (mut reader, peer) = connected(|source| source);
    let mut sending = peer.try_clone().unwrap();
    let server = std::thread::spawn(move || while sending.write_all(&[b'\n'; 10_000]).is_ok() {});
    assert!(!poll(&mut reader, 10).unwrap().0.is_empty());
    drop(reader);
    server.join().unwrap();
}

#[test]
fn a_line_that_is_too_long_is_rejected_with_its_beginning_and_those_behind_it_come() {
    let allowed = |source: SocketLines| source.longest_line(5);
    assert_eq!(after(b"12345\n12345", allowed).unwrap(), ["12345", "12345"]);
    for sent in [&b"1\n123456\n"[..], b"1\n123456"] {
        let error = after(sent, allowed).unwrap_err().to_string();
        assert!(error.contains("a line of 6 bytes, at byte 2 "), "{error}");
    }
    let long = "x".repeat(300_000);
    let (mut reader, mut peer) = connected(allowed);
    let server = std::thread::spawn(move || write!(peer, "1\n{long}\n2\n\n{long}").unwrap());
    let (lines, bad) = everything(&mut reader);
    server.join().unwrap();
    assert_eq!(lines, ["1", "2", ""]);
    let (heads, errors): (Vec<usize>, Vec<String>) =
        bad.into_iter().map(|(head, error)| (head.len(), error)).unzip();
    assert_eq!(heads, [1 << 10; 2]);
    assert!(errors[0].contains("a line of 300000 bytes, at byte 2 "), "{errors:?}");
    assert!(errors[1].contains("a line of 300000 bytes, at byte 300006 "), "{errors:?}");
    assert_eq!(reader.position(), 5);
}

/// All lines until the connection ends, and what was rejected.
fn everything(reader: &mut SocketLinesReader) -> (Vec<String>, Vec<(Vec<u8>, String)>) {
    let (mut batch, mut bad) = (Batch::default(), Vec::new());
    loop {
        let mut records = Records::new(&mut batch);
        let polled = reader.poll(&mut records, 2).unwrap();
        bad.extend(records.into_rejected().into_iter().map(|bad| (bad.bytes, bad.error.to_string())));
        match polled {
            Polled::End | Polled::Finished => return (batch.values, bad),
            Polled::Pending(_) => std::thread::park(),
            Polled::Ready => {}
        }
    }
}

#[test]
fn invalid_utf8_fails_or_is_counted() {
    let error = after(b"a\n\xff\nb\n", |source| source).unwrap_err().to_string();
    assert!(error.contains("not UTF-8, at byte 2 "), "{error}");
    let mut skipped = Arc::default();
    let lines = after(b"a\n\xff\nb\n\xff", |source| {
        skipped = source.skipped_lines();
        source.invalid_utf8(InvalidUtf8::SkipAndCount)
    });
    assert_eq!(lines.unwrap(), ["a", "b"]);
    assert_eq!(skipped.load(Ordering::Relaxed), 2);
}

#[test]
fn a_line_that_is_no_text_is_rejected_with_its_bytes_and_the_lines_behind_it_come() {
    let (mut reader, mut peer) = connected(|source| source);
    peer.write_all(b"a\nx\xff\nb\n\xfe").unwrap();
    drop(peer);
    let (mut batch, mut bad) = (Batch::default(), Vec::new());
    loop {
        let mut records = Records::new(&mut batch);
        let polled = reader.poll(&mut records, 2).unwrap();
        bad.extend(records.into_rejected().into_iter().map(|bad| (bad.bytes, bad.after)));
        match polled {
            Polled::End | Polled::Finished => break,
            Polled::Pending(_) => std::thread::park(),
            Polled::Ready => {}
        }
    }
    assert_eq!(batch.values, ["a", "b"]);
    assert_eq!(bad, [(b"x\xff".to_vec(), 1), (b"\xfe".to_vec(), 2)]);
    assert_eq!(reader.position(), 4);
}

/// What a reader says of a server that is not there.
fn without_a_server(with: impl FnOnce(SocketLines) -> SocketLines) -> UserResult<(Vec<String>, Polled)> {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    drop(server);
    let source = with(SocketLines::connect(&address));
    let split = source.splits().unwrap().remove(0);
    poll(&mut source.open(&split, None, &context()).unwrap(), 10)
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    assert_eq!(without_a_server(|source| source).unwrap(), (vec![], Polled::End));
}

#[test]
fn a_server_that_is_not_there_is_an_error_where_its_end_would_be_that_of_the_input() {
    let error = without_a_server(SocketLines::until_closed).unwrap_err().to_string();
    assert!(error.contains("cannot connect to 127.0.0.1:"), "{error}");
}

/// Closes a connection without a word of goodbye, so that the other side gets a reset.
fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(peer);
}

#[test]
fn a_connection_that_breaks_ends_the_reader_and_not_the_job() {
    let (mut reader, mut peer) = connected(|source| source);
    peer.write_all(b"a\nb").unwrap();
    assert_eq!(poll(&mut reader, 10).unwrap().0, ["a"]);
    reset(peer);
    assert_eq!(poll(&mut reader, 10).unwrap(), (vec![], Polled::End), "half a line is no record");
    let (mut reader, mut peer) = connected(SocketLines::until_closed);
    peer.write_all(b"a\n").unwrap();
    assert_eq!(poll(&mut reader, 10).unwrap().0, ["a"]);
    reset(peer);
    assert!(poll(&mut reader, 10).unwrap_err().to_string().contains("broke"));
}

#[test]
fn it_is_bounded_only_if_the_end_of_the_connection_is_that_of_the_input() {
    assert!(!SocketLines::connect("localhost:1").is_bounded());
    assert!(SocketLines::connect("localhost:1").until_closed().is_bounded());
}

#[test]
fn a_connection_is_kept_alive() {
    let (mut reader, mut peer) = connected(|source| source);
    writeln!(peer, "a").unwrap();
    assert_eq!(poll(&mut reader, 10).unwrap().0, ["a"]);
    assert!(reader.connection.keeps_alive());
}

#[test]
fn an_address_without_a_port_is_an_error_before_the_start() {
    let error = SocketLines::connect("localhost").splits().unwrap_err().to_string();
    assert!(error.contains("host:port"), "{error}");
}

#[test]
fn positions_count_on_over_connections() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = SocketLines::connect(server.local_addr().unwrap().to_string());
    let split = source.splits().unwrap().remove(0);
    let mut reader = source.open(&split, Some(7), &context()).unwrap();
    server.accept().unwrap().0.write_all(b"a\nb\n").unwrap();
    assert_eq!(drain(&mut reader, 10).unwrap(), ["a", "b"]);
    assert_eq!(reader.position(), 9);
}
