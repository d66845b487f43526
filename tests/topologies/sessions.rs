//! Sessions: state that comes and goes, with timers that are set, moved and deleted; and beside them a look at the
//! watermark, which must never go back.

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
}

/// A session that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Closed {
    user: u64,
    session: Session,
}

const GAP: i64 = 400;

struct Sessions;

impl Process for Sessions {
    type Key = u64;
    type In = Click;
    type Out = Closed;
    type State = Session;

    fn on_record(&self, click: Click, session: &mut Session, context: &mut Context<'_, Self>) -> UserResult {
        if session.clicks > 0 {
            context.delete_timer_at(session.end);
            if click.at > session.end {
                // Its timer has only not come yet.
                context.emit(Closed { user: click.user, session: std::mem::take(session) });
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
        if timer.at != session.end || session.clicks == 0 {
            return Err("a timer fired that belongs to no session".into());
        }
        let user = *context.key();
        context.emit(Closed { user, session: std::mem::take(session) });
        context.clear();
        Ok(())
    }
}

/// Says so when the watermark goes back.
struct Watch;

/// The highest watermark so far, and clicks.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watched {
    watermark: i64,
    clicks: u64,
}

impl Default for Watched {
    fn default() -> Self {
        Self { watermark: i64::MIN, clicks: 0 }
    }
}

impl Process for Watch {
    type Key = u64;
    type In = Click;
    type Out = (u64, bool);
    type State = Watched;

    fn on_record(&self, _: Click, watched: &mut Watched, context: &mut Context<'_, Self>) -> UserResult {
        let goes_back = context.watermark() < watched.watermark;
        watched.watermark = context.watermark();
        watched.clicks += 1;
        context.emit((watched.clicks, goes_back));
        Ok(())
    }
}

/// Users come and go at their own pace.
fn click(n: u64) -> Click {
    Click { user: n * n % 83, at: n as i64 * 10 }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("sessions");
    let clicks = topology
        .source("clicks", Generator::bounded(200, click))
        .parallelism(1)
        .event_time(|click| click.at, Lateness::none());
    clicks
        .key_by(|click| click.user)
        .actor("sessions", Sessions)
        .sink_exactly_once("files", Files::jsonl("/out/sessions"));
    clicks
        .key_by(|click| click.user % 3)
        .actor("watch", Watch)
        .sink_exactly_once("watched", Files::jsonl("/out/watched"));
    topology
}
