use watershed_actors::{Directive, ForEach, TaskWaker};

use super::*;

/// An instance of the first actor, with an edge to the second one.
fn build<'a>(edges: &'a [EdgePlan], endpoints: &'a Endpoints) -> InstanceBuild<'a> {
    InstanceBuild {
        settings: BuildSettings {
            limits: BatchLimits { records: 8, linger_nanos: 0 },
            credits: 4,
            key_groups: KeyGroups::DEFAULT,
            watermark_interval: Duration::ZERO,
            clock: None,
            rejects: Rejects::new(Directive::default()),
        },
        instance: Instance { operator: "numbers".into(), index: 0, parallelism: 1 },
        run: 1,
        waker: Arc::new(TaskWaker::default()),
        counters: Arc::default(),
        channels: Vec::new(),
        edges,
        endpoints,
        outputs: BTreeMap::new(),
        tees: BTreeMap::new(),
    }
}

fn consumer<T: Data>() -> Box<dyn Push<T>> {
    Box::new(ForEach(|_: T| {}))
}

/// It was refused, as something is of another type than this.
fn is_misfit<T, R>(result: Result<R, Failure>) {
    let failure = result.map(|_| "all is well").unwrap_err();
    let type_name = std::any::type_name::<T>();
    assert!(failure.cause.contains(&format!("of another type than `{type_name}`")), "{failure:?}");
}

#[test]
fn a_consumer_of_another_type_is_refused_and_not_left_out() {
    let endpoints = Endpoints::new();
    for side in [None, Some("late")] {
        let mut build = build(&[], &endpoints);
        build.consume::<u64>(side, consumer()).unwrap();
        is_misfit::<String, _>(build.consume::<String>(side, consumer()));
    }
}

#[test]
fn a_consumer_of_a_shared_stream_of_another_type_is_refused() {
    let endpoints = Endpoints::new();
    let mut build = build(&[], &endpoints);
    build.consume_shared::<u64>((3, 0), consumer(), || Box::new(|_, _| Ok(()))).unwrap();
    let other = build.consume_shared::<String>((3, 0), consumer(), || Box::new(|_, _| Ok(())));
    is_misfit::<String, _>(other);
}

#[test]
fn what_an_actor_sends_as_another_type_than_is_consumed_is_refused() {
    let endpoints = Endpoints::new();
    let mut build = build(&[], &endpoints);
    build.consume::<u64>(None, consumer()).unwrap();
    is_misfit::<String, _>(build.take_main::<String>());
}

#[test]
fn a_channel_to_an_actor_that_takes_another_type_or_is_not_there_is_refused() {
    let edge = EdgePlan {
        to: Some(NodeId(1)),
        routing: Routing::Forward,
        senders: 1,
        receivers: 1,
        first_channel: 0,
    };
    let edges = [edge.clone(), EdgePlan { to: None, ..edge }];
    let nobody = Endpoints::new();
    let failure = build(&edges, &nobody).senders::<u64>(0).map(|_| "all is well").unwrap_err();
    assert!(failure.cause.contains("launched before"), "{failure:?}");
    let failure = build(&edges, &nobody).senders::<u64>(1).map(|_| "all is well").unwrap_err();
    assert!(failure.cause.contains("an edge into a closure"), "{failure:?}");
    let port = Endpoint::<String>(Arc::new(|| unreachable!("nobody connects to it")));
    let endpoints = Endpoints::from([((NodeId(1), 0), Box::new(port) as Box<dyn Any + Send>)]);
    is_misfit::<u64, _>(build(&edges, &endpoints).senders::<u64>(0));
}
