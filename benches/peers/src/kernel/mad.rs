//! Ping-pong on madsim: a task a node, endpoints, its uniform delay of 1 to 10 ms.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use madsim::net::Endpoint;
use madsim::runtime::Runtime;
use madsim::time::sleep;

use crate::measure::{Outcome, SchedulerMeter};

thread_local! {
    static PLAYED: Rc<Cell<u64>> = Rc::new(Cell::new(0));
}

fn address(node: u32) -> SocketAddr {
    let [_, _, high, low] = node.to_be_bytes();
    SocketAddr::from(([10, 0, high + 1, low], 1))
}

async fn play(me: u32, serves: bool) {
    let endpoint = Endpoint::bind(address(me)).await.unwrap();
    // Until all have bound.
    sleep(std::time::Duration::from_secs(1)).await;
    let mut ball = [0; 32];
    if serves {
        endpoint.send_to(address(me ^ 1), 1, &ball).await.unwrap();
    }
    loop {
        let (_, from) = endpoint.recv_from(1, &mut ball).await.unwrap();
        PLAYED.with(|played| played.set(played.get() + 1));
        endpoint.send_to(from, 1, &ball).await.unwrap();
    }
}

pub fn ping_pong(pairs: u32, message_count: u64) -> Outcome {
    let runtime = Runtime::with_seed_and_config(1, madsim::Config::default());
    for node in 0..2 * pairs {
        let handle = runtime.create_node().ip(address(node).ip()).build();
        handle.spawn(play(node, node % 2 == 0));
    }
    let played = PLAYED.with(Rc::clone);
    runtime.block_on(async move {
        sleep(std::time::Duration::from_millis(1100)).await;
        let before = played.get();
        let meter = SchedulerMeter::start();
        while played.get() - before < message_count {
            sleep(std::time::Duration::from_millis(10)).await;
        }
        let count = played.get() - before;
        meter.stop(count, count as f64)
    })
}
