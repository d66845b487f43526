//! One connection: requests in, answers out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use watershed_actors::{Found, QueryKey, Sample, Tap, chain_of};
use watershed_state::{CodecError, decode};

use crate::answer::late;
use crate::commands::Commands;
use crate::error::Error;
use crate::event::{Command, Reply, Then, Wanted, WantedRescale};
use crate::remote::AnyValue;
use crate::remote::closing::Closed;
use crate::remote::protocol::{Answer, Ask, KeyState, Refusal, Request};
use crate::remote::seat::Seat;

/// A request at most.
const REQUEST_BYTES: u64 = 64 * 1024;

/// How long the control plane may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long whoever asked may take to make room for an answer.
const LISTEN: Duration = Duration::from_secs(10);

/// How often one who waits for something that takes long hears that the job is at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How long somebody may be connected and ask nothing.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// With one who has not asked anything yet.
    first: Duration,
    /// Between two questions.
    between: Duration,
}

const PATIENCE: Patience = Patience { first: Duration::from_secs(10), between: Duration::from_mins(1) };

/// One who is connected.
struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    commands: Commands,
    closed: Closed,
    seat: Arc<Seat>,
}

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line(Vec<u8>),
    /// The other side has hung up.
    HungUp,
    /// Nothing came for too long, or the place is needed.
    Idle,
    /// The job has ended.
    Ended(String),
}

/// Why there is no answer.
enum Unanswered {
    Refused(Refusal),
    /// The job has ended.
    Ended,
}

/// Answers until either side has had enough.
pub(super) async fn run(stream: UnixStream, (commands, closed): (Commands, Closed), seat: Arc<Seat>) {
    let (reader, writer) = stream.into_split();
    let session = Session { reader: BufReader::new(reader), writer, commands, closed, seat };
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
            let line = match next(&mut self.reader, &mut self.closed, &self.seat, PATIENCE).await? {
                Next::Line(line) => line,
                Next::HungUp => return Ok(()),
                Next::Idle => return self.say(Answer::Refused(Refusal::Idle)).await,
                Next::Ended(how) => return self.say(Answer::Ended(how)).await,
            };
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
                let refused = |why| Refusal::NotRescaled { why };
                self.have_done(wanted, refused, Answer::Rescaled).await
            }
            Ask::Checkpoints => match self.ask(Command::Checkpoints).await {
                Ok(history) => self.say(Answer::Checkpoints(Box::new(history))).await.map(Ok),
                Err(unanswered) => Ok(Err(unanswered)),
            },
            Ask::Savepoint { uri } => self.savepoint(uri, Then::GoOn).await,
            Ask::Stop { savepoint: Some(uri), drain } => {
                let then = if drain { Then::Drain } else { Then::Stop };
                match self.savepoint(uri, then).await? {
                    Ok(()) => self.wait_for_end().await.map(Ok),
                    refused => Ok(refused),
                }
            }
            Ask::Stop { savepoint: None, drain } => {
                self.end(if drain { Command::Drain } else { Command::Stop }).await
            }
            Ask::Cancel => self.end(Command::Cancel).await,
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

    async fn savepoint(&mut self, uri: String, then: Then) -> io::Result<Result<(), Unanswered>> {
        let wanted = |reply| Command::Savepoint(Wanted { uri, then, reply });
        self.have_done(wanted, |why| Refusal::NoSavepoint { why }, Answer::Savepoint).await
    }

    /// Has the control plane end the job, and waits for that.
    async fn end(&mut self, command: Command) -> io::Result<Result<(), Unanswered>> {
        if self.commands.send(command).is_err() {
            return Ok(Err(self.unsent()));
        }
        self.say(Answer::Stopping).await?;
        self.wait_for_end().await.map(Ok)
    }

    /// Gives signs of life until the job has ended.
    async fn wait_for_end(&mut self) -> io::Result<()> {
        while timeout(SIGN_OF_LIFE, self.closed.how()).await.is_err() {
            self.say(Answer::Working).await?;
        }
        Ok(())
    }

    /// Asks the control plane for something that takes as long as it takes, and says what came of it.
    async fn have_done<T: Send + 'static>(
        &mut self,
        command: impl FnOnce(Reply<crate::Result<T>>) -> Command,
        refusal: impl FnOnce(String) -> Refusal,
        answer: impl FnOnce(T) -> Answer,
    ) -> io::Result<Result<(), Unanswered>> {
        let (sender, mut receiver) = oneshot::channel();
        let reply: Reply<crate::Result<T>> = Box::new(move |done| drop(sender.send(done)));
        if self.commands.send(command(reply)).is_err() {
            return Ok(Err(self.unsent()));
        }
        let done = loop {
            match timeout(SIGN_OF_LIFE, &mut receiver).await {
                Ok(done) => break done,
                Err(_) => self.say(Answer::Working).await?,
            }
        };
        match done {
            Ok(Ok(done)) => self.say(answer(done)).await.map(Ok),
            Ok(Err(error)) => Ok(Err(Unanswered::Refused(refusal(error.to_string())))),
            // A control plane that is gone has dropped the reply.
            Err(_) => Ok(Err(Unanswered::Ended)),
        }
    }

    /// Why a command could not be sent.
    fn unsent(&self) -> Unanswered {
        if self.commands.is_connected() { Unanswered::Refused(Refusal::Busy) } else { Unanswered::Ended }
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
                () = sleep(SIGN_OF_LIFE) => {
                    self.say(Answer::Working).await?;
                    continue;
                }
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

/// Waits for what comes next.
async fn next(
    reader: &mut BufReader<OwnedReadHalf>,
    closed: &mut Closed,
    seat: &Seat,
    patience: Patience,
) -> io::Result<Next> {
    let patience = if seat.has_spoken() { patience.between } else { patience.first };
    tokio::select! {
        line = read_line(reader) => {
            seat.speaks();
            Ok(line?.map_or(Next::HungUp, Next::Line))
        }
        how = closed.how() => Ok(Next::Ended(how)),
        () = seat.is_needed() => Ok(Next::Idle),
        () = sleep(patience) => Ok(Next::Idle),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::closing::Closing;

    const SHORT: Patience = Patience { first: Duration::from_millis(1), between: Duration::from_millis(1) };
    const LONG: Patience = Patience { first: Duration::from_mins(10), between: Duration::from_mins(10) };

    /// What comes next from somebody who says this, with so much patience, and whose place is needed or not.
    fn comes(says: &str, patience: Patience, is_needed: bool) -> Next {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (_theirs_read, mut theirs) = theirs.into_split();
            let (reader, _writer) = ours.into_split();
            let (_closing, mut closed) = Closing::new();
            theirs.write_all(says.as_bytes()).await.unwrap();
            let seat = Seat::default();
            if is_needed {
                seat.gives_way();
            }
            next(&mut BufReader::new(reader), &mut closed, &seat, patience).await.unwrap()
        })
    }

    #[test]
    fn who_is_connected_and_asks_nothing_is_sent_away_after_a_while_or_when_the_place_is_needed() {
        assert_eq!(comes("", SHORT, false), Next::Idle);
        assert_eq!(comes("half a line", SHORT, false), Next::Idle);
        assert_eq!(comes("", LONG, true), Next::Idle);
        assert_eq!(comes("a line\nand more", LONG, false), Next::Line(b"a line\n".to_vec()));
    }
}
