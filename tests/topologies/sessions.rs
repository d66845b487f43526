//! Sessions: state that comes and goes, with timers that are set, moved and deleted, and a watermark that must never go
//! back.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Click {
    user: u64,
    at: i64,
}

/// What a user did without a long pause.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Session {
    begin: i64,
    /// When it is over, if nothing more comes.
    end: i64,
    clicks: u64,
    /// The highest watermark that was seen in it.
    watermark: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Seen {
    Session { user: u64, begin: i64, end: i64, clicks: u64 },
    Backwards { user: u64, from: i64, to: i64 },
}

const GAP: i64 = 400;

struct Sessions;

impl Sessions {
    fn close(user: u64, session: &Session) -> Seen {
        Seen::Session { user, begin: session.begin, end: session.end, clicks: session.clicks }
    }

    fn look_at_watermark(session: &mut Session, context: &mut Context<'_, Self>) {
        let (user, now) = (*context.key(), context.watermark());
        let before = session.watermark.replace(now);
        if let Some(from) = before.filter(|before| now < *before) {
            context.emit(Seen::Backwards { user, from, to: now });
        }
    }
}

impl Process for Sessions {
    type Key = u64;
    type In = Click;
    type Out = Seen;
    type State = Session;

    fn on_record(&self, click: Click, session: &mut Session, context: &mut Context<'_, Self>) -> UserResult {
        Self::look_at_watermark(session, context);
        if session.clicks > 0 {
            context.delete_timer_at(session.end);
            if click.at > session.end {
                // Its timer has only not come yet.
                context.emit(Self::close(click.user, session));
                *session = Session { watermark: session.watermark, ..Session::default() };
            }
        }
        if session.clicks == 0 {
            session.begin = click.at;
        }
        session.clicks += 1;
        session.end = click.at + GAP;
        context.timer_at(session.end);
        Ok(())
    }

    fn on_timer(&self, timer: Timer, session: &mut Session, context: &mut Context<'_, Self>) -> UserResult {
        Self::look_at_watermark(session, context);
        if timer.at != session.end || session.clicks == 0 {
            return Err("a timer fired that belongs to no session".into());
        }
        let closed = Self::close(*context.key(), session);
        context.emit(closed);
        context.clear();
        Ok(())
    }
}

/// Users come and go at their own pace.
fn click(n: u64) -> Click {
    Click { user: n * n % 53, at: n as i64 * 25 }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("sessions");
    topology
        .source("clicks", Generator::bounded(120, click))
        .parallelism(1)
        .event_time(|click| click.at, Lateness::none())
        .key_by(|click| click.user)
        .actor("sessions", Sessions)
        .sink_exactly_once("files", Files::jsonl("/out/sessions"));
    topology
}
