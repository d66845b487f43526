//! The thread that listens, beside the control plane: whoever asks, or asks and does not listen, holds up nobody else.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use watershed_state::shown;

use crate::commands::Commands;
use crate::remote::closing::Closed;
use crate::remote::place::Socket;
use crate::remote::seat::Seats;
use crate::remote::session;

/// How long those who are connected have to hear that the job has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait before accepting anew, if that failed: the process may have no more files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long to wait before listening anew in a folder that was made again, if that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// Answers on the socket until the job has ended. What is returned is closed when the socket is gone.
pub(crate) fn serve(socket: Socket, commands: Commands, closed: Closed) -> Option<Receiver<()>> {
    let (done, ended) = sync_channel(1);
    let name = "watershed-socket".to_string();
    let spawned = std::thread::Builder::new().name(name).spawn(move || {
        // Dropped when the thread ends, whichever way.
        let _done = done;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(listen(socket, commands, closed)));
        if let Err(error) = served {
            tracing::warn!(%error, "the job cannot be asked any more; it goes on");
        }
    });
    match spawned {
        Ok(_) => Some(ended),
        Err(error) => {
            tracing::warn!(%error, "there is no thread for the socket, and the job cannot be asked");
            None
        }
    }
}

/// The same socket for the runtime.
fn listener_of(socket: &Socket) -> io::Result<UnixListener> {
    socket.listener.set_nonblocking(true)?;
    UnixListener::from_std(socket.listener.try_clone()?)
}

/// Waits for this moment, or for ever if there is none.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn listen(mut socket: Socket, commands: Commands, mut closed: Closed) -> io::Result<()> {
    let mut listener = listener_of(&socket)?;
    let mut folders = closed.folders.clone();
    let (mut sessions, mut seats) = (JoinSet::new(), Seats::default());
    let mut renew_at = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
            Ok(()) = folders.changed() => {
                renew_at = Some(Instant::now());
                continue;
            }
            () = moment(renew_at) => {
                renew_at = match socket.renew().and_then(|()| listener_of(&socket)) {
                    Ok(renewed) => {
                        listener = renewed;
                        None
                    }
                    Err(error) => {
                        tracing::warn!(
                            path = %shown(socket.path.display()),
                            %error,
                            "the job cannot listen on its socket again yet, and cannot be asked meanwhile"
                        );
                        Some(Instant::now() + RENEW_AGAIN)
                    }
                };
                continue;
            }
            _ = closed.how() => break,
        };
        match accepted {
            Ok((stream, _)) => match seats.take() {
                Some(seat) => {
                    sessions.spawn(session::run(stream, (commands.clone(), closed.clone()), seat));
                }
                None => session::refuse(stream).await,
            },
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
    let waiting = socket.listener.try_clone()?;
    // The file first: from now on nobody finds it.
    drop(socket);
    // Who has connected and was not let in yet is to hear of it, too.
    while let Ok((stream, _)) = waiting.accept() {
        if let Some(seat) = seats.take() {
            stream.set_nonblocking(true)?;
            sessions.spawn(session::run(
                UnixStream::from_std(stream)?,
                (commands.clone(), closed.clone()),
                seat,
            ));
        }
    }
    let _ = tokio::time::timeout(LAST_WORDS, sessions.join_all()).await;
    Ok(())
}
