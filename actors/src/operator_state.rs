//! Operator state: what a reader or writer remembers that is not tied to a key.

#[cfg(test)]
mod tests;

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_state::bug::{self, Bug};
use watershed_state::{
    CodecError, Data, DealtElement, Receiver, Redistribution, Sampler, SavedState, SectionKind, deal, decode,
    encode_for_keeps,
};

use crate::error::UserResult;
use crate::instance::Instance;
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;

/// A list of elements that an instance remembers, saved with each checkpoint as it is when the barrier passes.
///
/// It is had by name, when a reader or writer is opened
/// ([`SourceContext::list_state`](crate::SourceContext::list_state),
/// [`SinkContext::list_state`](crate::SinkContext::list_state)), and holds then what was saved. Clones are the same
/// list. It belongs to the calls of that reader or writer: what another thread changes may come before or after the
/// barrier.
pub struct OperatorState<T> {
    elements: Arc<Mutex<Vec<T>>>,
}

impl<T> OperatorState<T> {
    /// Works on the elements. The list must not be used again from within.
    pub fn with<R>(&self, work: impl FnOnce(&mut Vec<T>) -> R) -> R {
        work(&mut lock(&self.elements))
    }

    /// A copy of all elements, in order.
    pub fn get(&self) -> Vec<T>
    where
        T: Clone,
    {
        lock(&self.elements).clone()
    }

    /// Puts these elements in the place of all there were.
    pub fn update(&self, elements: Vec<T>) {
        *lock(&self.elements) = elements;
    }

    /// Adds an element at the end.
    pub fn push(&self, element: T) {
        lock(&self.elements).push(element);
    }
}

impl<T> Clone for OperatorState<T> {
    fn clone(&self) -> Self {
        Self { elements: Arc::clone(&self.elements) }
    }
}

impl<T> fmt::Debug for OperatorState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorState").finish_non_exhaustive()
    }
}

/// The operator states of one instance, by name. What a context has by default begins with nothing, for tests of one's
/// own readers and writers.
#[derive(Clone)]
pub struct OperatorStates {
    /// `None` where nobody may ask.
    registry: Option<Arc<Mutex<Registry>>>,
}

#[derive(Default)]
struct Registry {
    operator: String,
    /// Those that were asked for.
    opened: BTreeMap<String, (Redistribution, Box<dyn Opened>)>,
    /// What was restored and nobody has asked for.
    kept: BTreeMap<(String, Redistribution), Vec<DealtElement>>,
}

/// A state whose type is forgotten.
trait Opened: Send {
    fn as_any(&self) -> &dyn Any;
    fn type_name(&self) -> &'static str;
    /// Adds the elements to `out`, and returns how many there are. Some are read back.
    fn encode(&self, out: &mut Vec<u8>) -> Result<u32, CodecError>;
}

impl<T: Data> Opened for OperatorState<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<u32, CodecError> {
        let elements = lock(&self.elements);
        let mut sampler = Sampler::default();
        elements.iter().try_for_each(|element| encode_for_keeps(element, out, &mut sampler))?;
        Ok(elements.len() as u32)
    }
}

/// Why an operator state cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorStateError {
    #[error(
        "operator state is for readers and writers: ask for it when one is opened, not when something is committed or discarded"
    )]
    OnlyWhenOpened,
    #[error(
        "operator state `{name}` of `{operator}` is asked for as a {asked} of `{asked_type}` but in use as a {used} of \
         `{used_type}`: one name is for one list"
    )]
    InUse {
        operator: String,
        name: String,
        asked: Redistribution,
        asked_type: &'static str,
        used: Redistribution,
        used_type: &'static str,
    },
    #[error(
        "operator state `{name}` of `{operator}` was saved as a {saved} and is asked for as a {asked}: ask for it as it was \
         saved, or give the new one another name"
    )]
    OtherRedistribution { operator: String, name: String, saved: Redistribution, asked: Redistribution },
    #[error("element {element} of operator state `{name}` of `{operator}` cannot be restored")]
    Undecoded { operator: String, name: String, element: usize, source: Box<CodecError> },
}

impl Default for OperatorStates {
    fn default() -> Self {
        Self { registry: Some(Arc::default()) }
    }
}

impl fmt::Debug for OperatorStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorStates").finish_non_exhaustive()
    }
}

impl OperatorStates {
    /// Those that nobody may ask for.
    pub(crate) fn closed() -> Self {
        Self { registry: None }
    }

    /// Takes over an instance's share of a snapshot. After a change of parallelism only the first `receiving` instances
    /// are dealt elements.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(crate) fn restore(
        restored: &Restored,
        instance: &Instance,
        receiving: usize,
    ) -> Result<Self, CodecError> {
        let mut saved: Vec<Vec<SavedState>> = vec![Vec::new(); restored.instances.len()];
        for (writer, section) in restored.sections(SectionKind::OperatorState) {
            saved[writer].push(SavedState::read(section)?);
        }
        let to = Receiver { index: instance.index, parallelism: instance.parallelism, receiving };
        let dealt = deal(&saved, to).into_iter();
        let registry = Registry {
            operator: instance.operator.to_string(),
            opened: BTreeMap::new(),
            kept: dealt.map(|state| ((state.name, state.redistribution), state.elements)).collect(),
        };
        Ok(Self { registry: Some(Arc::new(Mutex::new(registry))) })
    }

    /// The state of this name.
    pub(crate) fn open<T: Data>(
        &self,
        name: &str,
        redistribution: Redistribution,
    ) -> UserResult<OperatorState<T>> {
        let registry = self.registry.as_ref().ok_or(OperatorStateError::OnlyWhenOpened)?;
        Ok(lock(registry).open(name, redistribution)?)
    }

    /// All of them as they are now: those that were asked for, and the instance's own share of the others.
    pub(crate) fn save(&self) -> Vec<SnapshotItem> {
        let registry = self.registry.as_ref().filter(|_| !bug::is(Bug::OperatorStateNotSaved));
        registry.map_or_else(Vec::new, |registry| lock(registry).save())
    }
}

impl Registry {
    fn open<T: Data>(
        &mut self,
        name: &str,
        asked: Redistribution,
    ) -> Result<OperatorState<T>, OperatorStateError> {
        let (operator, name) = (self.operator.clone(), name.to_string());
        if let Some((used, state)) = self.opened.get(&name) {
            return match state.as_any().downcast_ref::<OperatorState<T>>() {
                Some(state) if *used == asked => Ok(state.clone()),
                _ => {
                    let (asked_type, used_type) = (type_name::<T>(), state.type_name());
                    Err(OperatorStateError::InUse {
                        operator,
                        name,
                        asked,
                        asked_type,
                        used: *used,
                        used_type,
                    })
                }
            };
        }
        let mut saved_as = self.kept.keys().filter(|(saved, _)| *saved == name).map(|(_, saved)| *saved);
        if let Some(saved) = saved_as.find(|saved| *saved != asked) {
            return Err(OperatorStateError::OtherRedistribution { operator, name, saved, asked });
        }
        let key = (name, asked);
        let kept = self.kept.get(&key).map_or(&[][..], Vec::as_slice);
        let decoded = kept.iter().enumerate().map(|(element, kept)| {
            let undecoded = |source| {
                let source = Box::new(source);
                let (operator, name) = (operator.clone(), key.0.clone());
                OperatorStateError::Undecoded { operator, name, element, source }
            };
            decode(&mut kept.bytes.as_slice()).map_err(undecoded)
        });
        let elements = Arc::new(Mutex::new(decoded.collect::<Result<_, _>>()?));
        let state = OperatorState { elements };
        self.kept.remove(&key);
        self.opened.insert(key.0, (asked, Box::new(state.clone())));
        Ok(state)
    }

    fn save(&self) -> Vec<SnapshotItem> {
        let opened = self.opened.iter().map(|(name, (redistribution, state))| {
            let mut elements = Vec::new();
            let entries = state.encode(&mut elements);
            entries.and_then(|entries| SavedState::section(name, *redistribution, entries, &elements)).into()
        });
        let kept = self.kept.iter().filter_map(|((name, redistribution), elements)| {
            let own: Vec<&[u8]> =
                elements.iter().filter(|element| element.is_own).map(|element| &*element.bytes).collect();
            let section = SavedState::section(name, *redistribution, own.len() as u32, &own.concat());
            (!own.is_empty()).then(|| section.into())
        });
        opened.chain(kept).collect()
    }
}

/// What panicked while it worked on a list is rolled back with it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
