//! A stand-in for object storage: it renames nothing, and may fail to answer although it has done what was asked.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::{
    CheckpointStore, Collected, InstancePart, Manifest, OperatorPart, PartWriter, Section, SectionKind,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not carried out.
    Refused,
    /// It is, and nobody hears of it.
    Unheard,
}

/// Objects behind a network. Requests are numbered from 1.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    objects: MemoryStore,
    line: Arc<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    requests: u64,
    /// From this request on to that one.
    fault: Option<(u64, u64, Fault)>,
}

impl Remote {
    pub(super) fn new() -> Self {
        Self { objects: MemoryStore::new(), line: Arc::default() }
    }

    /// So many requests fail from the `n`-th further one on: the first in this way, those after it are refused.
    fn fail_at(&self, n: u64, requests: u64, fault: Fault) {
        let mut line = self.line.lock().unwrap();
        let first = line.requests + n;
        line.fault = Some((first, first.saturating_add(requests), fault));
    }

    fn mend(&self) {
        self.line.lock().unwrap().fault = None;
    }

    fn request<R>(&self, carry_out: impl FnOnce(&MemoryStore) -> io::Result<R>) -> io::Result<R> {
        let fault = {
            let mut line = self.line.lock().unwrap();
            line.requests += 1;
            let now = line.requests;
            let due = line.fault.filter(|(first, end, _)| (*first..*end).contains(&now));
            due.map(|(first, _, fault)| if now == first { fault } else { Fault::Refused })
        };
        match fault {
            Some(Fault::Refused) => return Err(io::Error::other("the store cannot be reached")),
            Some(Fault::Unheard) => drop(carry_out(&self.objects)),
            None => return carry_out(&self.objects),
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl ObjectStore for Remote {
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        self.request(MemoryStore::lock)
    }
    fn begin(&self, name: &str) -> io::Result<Box<dyn ObjectWriter>> {
        let parts = self.request(|objects| objects.begin(name))?;
        Ok(Box::new(Upload { parts, remote: self.clone() }))
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.request(|objects| objects.replace(name, bytes))
    }
    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        self.request(|objects| objects.get(name))
    }
    fn get_up_to(&self, name: &str, len_max: u64) -> io::Result<Vec<u8>> {
        self.request(|objects| objects.get_up_to(name, len_max))
    }
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.request(|objects| objects.exists(name))
    }
    fn list(&self, prefix: &str) -> io::Result<Listing> {
        self.request(|objects| objects.list(prefix))
    }
    fn unfinished(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.request(|objects| objects.unfinished(prefix))
    }
    fn delete(&self, names: &[String]) -> io::Result<()> {
        self.request(|objects| objects.delete(names))
    }
    fn delete_all(&self, prefix: &str) -> io::Result<()> {
        // It lists them and deletes one after the other, and may stop in between.
        for object in list_below(&(Arc::new(self.clone()) as Objects), prefix)? {
            self.delete(&[object.name])?;
        }
        Ok(())
    }
    fn settle(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }
    fn import(&self, from: &Path, name: &str) -> io::Result<()> {
        put(&(Arc::new(self.clone()) as Objects), name, &fs::read(from)?)
    }
    fn export(&self, name: &str, _to: &Path) -> io::Result<bool> {
        if self.exists(name)? { Ok(false) } else { Err(io::ErrorKind::NotFound.into()) }
    }
    fn location(&self, name: &str) -> PathBuf {
        Path::new("remote://bucket").join(name)
    }
}

/// An upload in parts, which ends with a request to put the whole if there is none of that name.
struct Upload {
    parts: Box<dyn ObjectWriter>,
    remote: Remote,
}

impl ObjectWriter for Upload {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let parts = &mut self.parts;
        self.remote.request(|_| parts.append(bytes))
    }
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.remote.clone().request(|_| self.parts.finish())
    }
    fn discard(self: Box<Self>) {}
}

fn checkpoint(store: &CheckpointStore, id: u64) -> Result<Manifest, StoreError> {
    store.prepare(id)?;
    let mut instances = Vec::new();
    for instance in 0..2 {
        let mut writer = PartWriter::create(store.objects(), &format!("chk-{id}/count-{instance}-r1.part"))?;
        writer.write(&Section {
            kind: SectionKind::InstanceState,
            group: 0,
            entries: 1,
            bytes: vec![1; 10],
        })?;
        let file = Some(writer.finish()?);
        instances.push(InstancePart { file, ..InstancePart::nothing(instance, id) });
    }
    let (name, kind, key_groups) = ("count".into(), "process".into(), 0);
    let operators = vec![OperatorPart { name, kind, key_groups, parallelism: 2, instances }];
    let (lineage, topology, hash_canary) = ("lineage".into(), "count".into(), crate::hash_canary());
    let (checkpoint, run, created_ms, finished) = (id, 1, 0, false);
    Ok(Manifest {
        lineage,
        checkpoint,
        run,
        created_ms,
        duration_ms: None,
        topology,
        finished,
        event_time_reset: false,
        hash_canary,
        operators,
    })
}

fn open(remote: &Remote) -> CheckpointStore {
    CheckpointStore::open(Arc::new(remote.clone())).unwrap()
}

fn readable(store: &CheckpointStore) -> Vec<u64> {
    let found = store.scan().unwrap();
    found
        .into_iter()
        .map(|(id, manifest)| {
            store.verify(&manifest.expect("no manifest is ever torn")).expect("a checkpoint lost a part");
            id
        })
        .collect()
}

#[test]
fn a_checkpoint_is_there_whole_or_not_at_all_at_whichever_request_the_process_dies() {
    let mut seen = BTreeSet::new();
    for (request, fault) in (1..60).flat_map(|n| [(n, Fault::Refused), (n, Fault::Unheard)]) {
        let remote = Remote::new();
        let store = open(&remote);
        store.commit(&checkpoint(&store, 1).unwrap()).unwrap();
        remote.fail_at(request, u64::MAX, fault);
        let second = checkpoint(&store, 2).and_then(|manifest| store.commit(&manifest));
        let collected = store.collect(1, &[], 0);
        drop(store);
        remote.mend();

        let store = open(&remote);
        let found = readable(&store);
        assert!(second.is_err() || found[0] == 2, "{fault:?} at {request}: {found:?}");
        let has_collected = collected.is_ok_and(|collected| collected != Collected::default());
        assert!(!has_collected || found == [2], "{fault:?} at {request}: {found:?}");
        seen.insert((second.is_ok(), has_collected, found));
        // Whoever goes on uses a new id, and what is left behind is collected.
        store.commit(&checkpoint(&store, 3).unwrap()).unwrap();
        store.collect(1, &[], 0).unwrap();
        assert_eq!(store.objects().list("").unwrap().prefixes, ["chk-3/"], "{fault:?} at {request}");
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

#[test]
fn a_commit_that_nobody_hears_of_can_be_made_again_or_taken_back() {
    for (request, fault) in (1..12).flat_map(|n| [(n, Fault::Refused), (n, Fault::Unheard)]) {
        for takes_back in [false, true] {
            let remote = Remote::new();
            let store = open(&remote);
            let manifest = checkpoint(&store, 1).unwrap();
            remote.fail_at(request, 1, fault);
            let first = store.commit(&manifest);
            remote.mend();
            if takes_back {
                store.retract(1).unwrap();
                assert_eq!(readable(&store), [0; 0], "{fault:?} at {request}");
                continue;
            }
            store.commit(&manifest).unwrap();
            assert_eq!(readable(&store), [1], "{fault:?} at {request}, {first:?}");
            let other = Manifest { run: 2, ..manifest };
            assert!(matches!(store.commit(&other), Err(StoreError::CheckpointExists { checkpoint: 1, .. })));
        }
    }
}
