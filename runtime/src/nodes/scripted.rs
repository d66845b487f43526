//! Sinks as a simulated process has them: they fail when the script says so, and what they show is noted.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use watershed_actors::{
    OutputClaim, Owner, Prepare, Sink, SinkContext, SinkWriter, TwoPhaseSink, TwoPhaseWriter, UserResult,
};
use watershed_state::{Fs, encode};

use crate::faults::{Faults, Guarantee, Opened, SinkCall};

/// A sink of the user's, inside a simulation.
pub(crate) struct Scripted<S> {
    sink: Arc<S>,
    script: Arc<dyn Faults>,
}

impl<S> Scripted<S> {
    pub(crate) fn new(sink: &Arc<S>, script: &Arc<dyn Faults>) -> Arc<Self> {
        Arc::new(Self { sink: Arc::clone(sink), script: Arc::clone(script) })
    }
}

/// A record as a text to compare, or as its bytes where it has no JSON.
fn text<T: Serialize>(record: &T) -> String {
    serde_json::to_string(record).unwrap_or_else(|_| format!("{:?}", bytes(record)))
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be encoded fails by itself, in the snapshot.
    let _ = encode(value, &mut bytes);
    bytes
}

impl<S: TwoPhaseSink> TwoPhaseSink for Scripted<S> {
    type In = S::In;
    type Writer = ScriptedTwoPhaseWriter<S::Writer>;
    type Committable = S::Committable;

    fn check(&self, fs: &Fs) -> UserResult {
        self.sink.check(fs)
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        self.sink.claim(owner, fs)
    }

    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer> {
        let sink = Arc::clone(&context.instance.operator);
        self.script.sink(&sink, Guarantee::ExactlyOnce);
        self.script.sink_call(SinkCall::Open)?;
        let opened = Opened { sink: sink.to_string(), instance: context.instance.index, run: context.run };
        self.script.sink_opens(opened.clone());
        let writer = self.sink.open(context)?;
        Ok(ScriptedTwoPhaseWriter { writer, opened, script: Arc::clone(&self.script), records: Vec::new() })
    }

    fn commit(&self, committable: &S::Committable, context: &SinkContext) -> UserResult {
        let (sink, id) = (&context.instance.operator, bytes(committable));
        self.script.sink_commits(sink, &id);
        self.script.sink_call(SinkCall::Commit)?;
        self.sink.commit(committable, context)?;
        self.script.sink_committed(sink, &id);
        self.script.sink_call(SinkCall::AfterCommit)
    }

    fn discard_dangling(
        &self,
        keep: &[S::Committable],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        self.script.sink_call(SinkCall::Discard)?;
        self.sink.discard_dangling(keep, runs.clone(), instance, context)?;
        self.script.sink_discarded(&context.instance.operator, &runs, instance);
        Ok(())
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        self.sink.committed_through(lineage, fs)
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>> {
        self.sink.lineages(operator, fs)
    }
}

pub(crate) struct ScriptedTwoPhaseWriter<W> {
    writer: W,
    opened: Opened,
    script: Arc<dyn Faults>,
    /// Written since the last barrier.
    records: Vec<String>,
}

impl<W: TwoPhaseWriter<In: Serialize, Committable: Serialize + 'static>> TwoPhaseWriter
    for ScriptedTwoPhaseWriter<W>
{
    type In = W::In;
    type Committable = W::Committable;

    fn write(&mut self, record: W::In) -> UserResult {
        self.script.sink_call(SinkCall::Write)?;
        let text = text(&record);
        self.writer.write(record)?;
        self.records.push(text);
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<W::Committable>>> {
        self.script.sink_call(SinkCall::Prepare)?;
        let Some(prepare) = self.writer.prepare(checkpoint)? else { return Ok(None) };
        let (script, opened) = (Arc::clone(&self.script), self.opened.clone());
        let records = std::mem::take(&mut self.records);
        Ok(Some(Box::new(move || {
            script.sink_call(SinkCall::FinishPreparing)?;
            let committable = prepare()?;
            script.sink_prepared(&opened, bytes(&committable), checkpoint, records);
            Ok(committable)
        })))
    }
}

impl<S: Sink> Sink for Scripted<S> {
    type In = S::In;
    type Writer = ScriptedWriter<S::Writer>;

    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer> {
        let sink = Arc::clone(&context.instance.operator);
        self.script.sink(&sink, Guarantee::AtLeastOnce);
        self.script.sink_call(SinkCall::Open)?;
        let writer = self.sink.open(context)?;
        Ok(ScriptedWriter { writer, sink, script: Arc::clone(&self.script), records: Vec::new() })
    }
}

pub(crate) struct ScriptedWriter<W> {
    writer: W,
    sink: Arc<str>,
    script: Arc<dyn Faults>,
    /// Written since the last flush.
    records: Vec<String>,
}

impl<W: SinkWriter<In: Serialize>> SinkWriter for ScriptedWriter<W> {
    type In = W::In;

    fn write(&mut self, record: W::In) -> UserResult {
        self.script.sink_call(SinkCall::Write)?;
        let text = text(&record);
        self.writer.write(record)?;
        self.records.push(text);
        Ok(())
    }

    fn flush(&mut self) -> UserResult {
        self.script.sink_call(SinkCall::Flush)?;
        self.writer.flush()?;
        self.script.sink_shows(&self.sink, std::mem::take(&mut self.records));
        Ok(())
    }
}
