//! One connection: requests in, answers out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::time::timeout;
use watershed_actors::{Found, QueryKey, Sample, Tap, chain_of};
use watershed_state::{CodecError, decode};

use crate::control::Commands;
use crate::error::Error;
use crate::master::{Command, Reply, WantedRescale};
use crate::query::late;
use crate::remote::AnyValue;
use crate::remote::protocol::{Answer, Ask, KeyState, Refusal, Request};
use crate::remote::server::Closed;

/// A request at most.
const REQUEST_BYTES: u64 = 64 * 1024;

/// How long the control plane may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long whoever asked may take to make room for an answer.
const LISTEN: Duration = Duration::from_secs(10);

/// One who is connected.
struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    commands: Commands,
    closed: Closed,
}

/// Why there is no answer.
enum Unanswered {
    Refused(Refusal),
    /// The job has ended.
    Ended,
}

/// Answers until either side has had enough.
pub(super) async fn run(stream: UnixStream, commands: Commands, closed: Closed) {
    let (reader, writer) = stream.into_split();
    let session = Session { reader: BufReader::new(reader), writer, commands, closed };
    // Who hangs up in the middle has had enough.
    let _ = session.run().await;
}

/// Sends one away of whom there are too many.
pub(super) async fn refuse(stream: UnixStream) {
    let (_, mut writer) = stream.into_split();
    let _ = say(&mut writer, &Answer::Refused(Refusal::Busy)).await;
}

impl Session {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = read_line(&mut self.reader) => line?,
                how = self.closed.how() => return self.say(Answer::Ended(how)).await,
            };
            let Some(line) = line else { return Ok(()) };
            let answered = match Request::parse(&line) {
                Ok(request) => self.answer(request.ask).await?,
                Err(refusal) => Err(Unanswered::Refused(refusal)),
            };
            match answered {
                Ok(()) => {}
                Err(Unanswered::Refused(refusal)) => self.say(Answer::Refused(refusal)).await?,
                Err(Unanswered::Ended) => {
                    let how = self.closed.how().await;
                    return self.say(Answer::Ended(how)).await;
                }
            }
        }
    }

    async fn answer(&mut self, ask: Ask) -> io::Result<Result<(), Unanswered>> {
        match ask {
            Ask::Tree => match self.ask(Command::Tree).await {
                Ok(tree) => self.say(Answer::Tree(Box::new(tree))).await.map(Ok),
                Err(unanswered) => Ok(Err(unanswered)),
            },
            Ask::ReplayDeadLetters => match self.ask(Command::ReplayDeadLetters).await {
                Ok(unknown_operators) => self.say(Answer::Replaying { unknown_operators }).await.map(Ok),
                Err(unanswered) => Ok(Err(unanswered)),
            },
            Ask::Query { operator, key } => match self.query(operator, key).await {
                Ok(found) => self.say(Answer::State { found }).await.map(Ok),
                Err(unanswered) => Ok(Err(unanswered)),
            },
            Ask::Rescale { operator, parallelism } => {
                let wanted = |reply| Command::Rescale(WantedRescale { operator, parallelism, reply });
                match self.ask_patiently(wanted).await {
                    Ok(Ok(rescaled)) => self.say(Answer::Rescaled(rescaled)).await.map(Ok),
                    Ok(Err(error)) => {
                        Ok(Err(Unanswered::Refused(Refusal::NotRescaled { why: error.to_string() })))
                    }
                    Err(unanswered) => Ok(Err(unanswered)),
                }
            }
            Ask::Tap { operator, limit } => {
                let name = operator.clone();
                match self.ask(|reply| Command::Tap(name, reply)).await {
                    Ok(Ok(tap)) => self.tap(&tap, limit).await,
                    Ok(Err(operators)) => {
                        Ok(Err(Unanswered::Refused(Refusal::UnknownOperator { operator, operators })))
                    }
                    Err(unanswered) => Ok(Err(unanswered)),
                }
            }
        }
    }

    /// Asks for the state of a key.
    async fn query(&self, operator: String, key: String) -> Result<Option<KeyState>, Unanswered> {
        let name = operator.clone();
        let asked =
            self.ask(|reply| Command::Query { operator: name, key: QueryKey::Json(key), reply }).await;
        let refused = |why: &Error| Unanswered::Refused(Refusal::NoState { why: why.to_string() });
        let found = match asked {
            Ok(answered) => answered.map_err(|error| refused(&error))?,
            // The control plane passes the question on at once.
            Err(Unanswered::Refused(Refusal::NoAnswer)) => return Err(refused(&late(&operator))),
            Err(unanswered) => return Err(unanswered),
        };
        found.map(|found| shown(&found).map_err(|error| refused(&error))).transpose()
    }

    /// Asks the control plane for something that takes as long as it takes.
    async fn ask_patiently<T: Send + 'static>(
        &mut self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let reply: Reply<T> = Box::new(move |answer| drop(sender.send(answer)));
        if self.commands.send(command(reply)).is_err() {
            let gone = !self.commands.is_connected();
            return Err(if gone { Unanswered::Ended } else { Unanswered::Refused(Refusal::Busy) });
        }
        // A control plane that is gone has dropped the reply.
        receiver.await.map_err(|_| Unanswered::Ended)
    }

    /// Asks the control plane.
    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have gone.
        let reply: Reply<T> = Box::new(move |answer| drop(sender.send(answer)));
        if self.commands.send(command(reply)).is_err() && !self.commands.is_connected() {
            return Err(Unanswered::Ended);
        }
        match timeout(ANSWER, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if !self.commands.is_connected() => Err(Unanswered::Ended),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Refused(Refusal::NoAnswer)),
        }
    }

    /// Passes samples on.
    async fn tap(&mut self, tap: &Arc<Tap>, limit: Option<u64>) -> io::Result<Result<(), Unanswered>> {
        let mut tapper = tap.open();
        let mut left = limit.unwrap_or(u64::MAX);
        while left > 0 {
            let sample = tokio::select! {
                sample = tapper.next() => sample,
                // Another request ends it, as does hanging up.
                _ = self.reader.fill_buf() => break,
                _ = self.closed.how() => return Ok(Err(Unanswered::Ended)),
            };
            self.say(Answer::Sample(Box::new(Sample::clone(&sample)))).await?;
            left -= 1;
        }
        drop(tapper);
        self.say(Answer::Done).await.map(Ok)
    }

    async fn say(&mut self, answer: Answer) -> io::Result<()> {
        say(&mut self.writer, &answer).await
    }
}

/// A state as JSON.
fn shown(found: &Found) -> Result<KeyState, Error> {
    let json = |bytes: &[u8]| decode::<AnyValue>(&mut &*bytes).map(|AnyValue(value)| value);
    let read = || Ok::<_, CodecError>(KeyState { key: json(&found.key)?, state: json(&found.state)? });
    read().map_err(|error| Error::state(format!("the state cannot be shown: {}", chain_of(&error))))
}

async fn say(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(LISTEN, writer.write_all(&line)).await?
}

/// The next line; `None` at the end.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(REQUEST_BYTES).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        // Cut off, or much too long.
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}
