//! Chains while they are being written: what will be fused into an actor.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use watershed_actors::{Failure, Fused, LETTERS, Operation, Push, Rejects};
use watershed_state::Data;

use crate::build::{BuildSettings, InstanceBuild};
use crate::wiring::NodeId;

/// What stands between an actor and the end of a stream. A union of streams has several branches, each with an actor of
/// its own at its root.
///
/// It is never written down: the compiler infers it, [`Boxed`] hides it.
#[expect(
    private_interfaces,
    reason = "implemented and called by the engine alone; users only pass it through"
)]
pub trait Chain: Clone + Send + Sync + 'static {
    /// The records at its end.
    type Out: Data;

    /// The actor at the root of each branch.
    #[doc(hidden)]
    fn roots(&self) -> Vec<NodeId>;

    /// What a branch consists of.
    #[doc(hidden)]
    fn describe(&self, branch: usize) -> Description;

    /// Puts `next` behind a branch, in an instance of the actor at its root.
    #[doc(hidden)]
    fn attach<N: Push<Self::Out> + 'static>(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: N,
    ) -> Result<(), Failure>;
}

/// A [`Chain`] whose type is not forgotten yet: [`boxed`](crate::Stream::boxed), or `.into()`, makes a `Stream<T>` of a
/// stream with such a chain.
pub trait Unboxed: Chain {}

/// What a chain consists of, for people.
pub(crate) struct Description {
    /// The side output it begins at.
    pub(crate) side: Option<String>,
    /// Type of the records at its beginning.
    pub(crate) item: &'static str,
    /// What is fused, in order.
    pub(crate) fused: Vec<&'static str>,
}

/// A chain whose type is forgotten: streams of this kind can be named, stored and returned.
pub struct Boxed<T>(pub(crate) Arc<dyn AnyChain<T>>);

impl<T> std::fmt::Debug for Boxed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Boxed")
    }
}

impl<T> Clone for Boxed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// [`Chain`] as an object.
pub(crate) trait AnyChain<T>: Send + Sync {
    fn roots(&self) -> Vec<NodeId>;
    fn describe(&self, branch: usize) -> Description;
    fn attach(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: Box<dyn Push<T>>,
    ) -> Result<(), Failure>;
}

#[expect(private_interfaces, reason = "as in the trait")]
impl<T: Data> Chain for Boxed<T> {
    type Out = T;

    fn roots(&self) -> Vec<NodeId> {
        self.0.roots()
    }
    fn describe(&self, branch: usize) -> Description {
        self.0.describe(branch)
    }
    fn attach<N: Push<T> + 'static>(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: N,
    ) -> Result<(), Failure> {
        self.0.attach(branch, build, Box::new(next))
    }
}

/// An output of an actor: where chains begin.
pub(crate) struct Output<T> {
    pub(crate) node: NodeId,
    pub(crate) side: Option<String>,
    pub(crate) item: PhantomData<fn() -> T>,
}

impl<T: Data> AnyChain<T> for Output<T> {
    fn roots(&self) -> Vec<NodeId> {
        vec![self.node]
    }
    fn describe(&self, _branch: usize) -> Description {
        Description { side: self.side.clone(), item: std::any::type_name::<T>(), fused: Vec::new() }
    }
    fn attach(
        &self,
        _branch: usize,
        build: &mut InstanceBuild<'_>,
        next: Box<dyn Push<T>>,
    ) -> Result<(), Failure> {
        build.consume(self.side.as_deref(), next)
    }
}

/// Several streams as one.
pub(crate) struct Union<T>(pub(crate) Vec<Boxed<T>>);

impl<T: Data> Union<T> {
    /// The stream that a branch belongs to, and which of its branches it is.
    fn find(&self, mut branch: usize) -> (&Boxed<T>, usize) {
        for stream in &self.0 {
            let branches = stream.roots().len();
            if branch < branches {
                return (stream, branch);
            }
            branch -= branches;
        }
        unreachable!("branches are counted by `roots`")
    }
}

impl<T: Data> AnyChain<T> for Union<T> {
    fn roots(&self) -> Vec<NodeId> {
        self.0.iter().flat_map(Chain::roots).collect()
    }
    fn describe(&self, branch: usize) -> Description {
        let (stream, branch) = self.find(branch);
        stream.describe(branch)
    }
    fn attach(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: Box<dyn Push<T>>,
    ) -> Result<(), Failure> {
        let (stream, branch) = self.find(branch);
        stream.0.attach(branch, build, next)
    }
}

/// A chain that was erased by [`boxed`](crate::Stream::boxed).
pub(crate) struct Erased<C>(pub(crate) Point<C>);

impl<C: Chain> AnyChain<C::Out> for Erased<C> {
    fn roots(&self) -> Vec<NodeId> {
        self.0.chain.roots()
    }
    fn describe(&self, branch: usize) -> Description {
        self.0.chain.describe(branch)
    }
    fn attach(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: Box<dyn Push<C::Out>>,
    ) -> Result<(), Failure> {
        self.0.attach(branch, build, next)
    }
}

/// A chain with one more operator, which `make` makes for each instance.
pub(crate) struct Then<C, O, M> {
    pub(crate) before: Point<C>,
    pub(crate) name: &'static str,
    pub(crate) make: Arc<M>,
    pub(crate) operation: PhantomData<fn() -> O>,
}

impl<C, O, M> std::fmt::Debug for Then<C, O, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Then").field(&self.name).finish()
    }
}

impl<C: Clone, O, M> Clone for Then<C, O, M> {
    fn clone(&self) -> Self {
        Self {
            before: self.before.clone(),
            name: self.name,
            make: Arc::clone(&self.make),
            operation: PhantomData,
        }
    }
}

impl<C, O, M> Chain for Then<C, O, M>
where
    C: Chain,
    O: Operation<C::Out, Out: Data> + 'static,
    M: Fn(&BuildSettings) -> O + Send + Sync + 'static,
{
    type Out = O::Out;

    fn roots(&self) -> Vec<NodeId> {
        self.before.chain.roots()
    }

    fn describe(&self, branch: usize) -> Description {
        let mut description = self.before.chain.describe(branch);
        description.fused.push(self.name);
        description
    }

    fn attach<N: Push<O::Out> + 'static>(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: N,
    ) -> Result<(), Failure> {
        let operation = if self.before.chain.describe(branch).side.as_deref() == Some(LETTERS) {
            let rejects = Rejects::behind_letters();
            (self.make)(&BuildSettings { rejects, ..build.settings.clone() })
        } else {
            (self.make)(&build.settings)
        };
        self.before.attach(branch, build, Fused::new(operation, next))
    }
}

impl<C, O, M> Unboxed for Then<C, O, M>
where
    C: Chain,
    O: Operation<C::Out, Out: Data> + 'static,
    M: Fn(&BuildSettings) -> O + Send + Sync + 'static,
{
}

/// The end of a chain as someone holds it: it knows how often it is used, so that what stands before it runs once.
#[derive(Debug)]
pub(crate) struct Point<C> {
    /// Later streams have higher numbers.
    pub(crate) id: usize,
    pub(crate) chain: C,
    pub(crate) uses: Arc<AtomicUsize>,
    /// Outputs of actors take any number of consumers anyway.
    pub(crate) is_output: bool,
}

impl<C: Clone> Clone for Point<C> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            chain: self.chain.clone(),
            uses: Arc::clone(&self.uses),
            is_output: self.is_output,
        }
    }
}

impl<C: Chain> Point<C> {
    /// One more consumer.
    pub(crate) fn used(&self) -> Self {
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.clone()
    }

    pub(crate) fn attach<N: Push<C::Out> + 'static>(
        &self,
        branch: usize,
        build: &mut InstanceBuild<'_>,
        next: N,
    ) -> Result<(), Failure> {
        if self.is_output || self.uses.load(Ordering::Relaxed) < 2 {
            return self.chain.attach(branch, build, next);
        }
        let chain = &self.chain;
        build.consume_shared((self.id, branch), Box::new(next), || {
            let chain = chain.clone();
            Box::new(move |build, tee| chain.attach(branch, build, tee))
        })
    }
}
