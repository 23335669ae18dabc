//! The only place that makes clients of the cluster.

mod load;

use std::{net::SocketAddr, time::Duration};

use kv_client::{Client, ClientOptions, Discovery, Result};

pub use load::{Load, prefix_within};

/// How long one request through the shell may take: a node that is cut off is to be seen to refuse, not to hang.
const SHELL_DEADLINE: Duration = Duration::from_secs(3);
/// How long a request of an application may take: longer than any outage that the cluster gets over by itself.
const APPLICATION_DEADLINE: Duration = Duration::from_secs(30);

/// A client that asks this one node and no other, and repeats no write whose outcome is unknown.
pub async fn of_node(address: SocketAddr) -> Result<Client> {
    let options = ClientOptions {
        deadline: SHELL_DEADLINE,
        attempt_timeout: SHELL_DEADLINE,
        sessions: false,
        follow_locations: false,
        ..ClientOptions::new(Discovery::Nodes(vec![address.to_string()]))
    };
    Client::connect(options).await
}

/// A client that knows these nodes, and goes wherever they send it.
pub async fn of_nodes(addresses: &[SocketAddr]) -> Result<Client> {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    let options = ClientOptions { deadline: SHELL_DEADLINE, ..ClientOptions::new(Discovery::Nodes(addresses)) };
    Client::connect(options).await
}

/// A client as an application has it: it knows ZooKeeper's address and nothing else.
pub async fn of_cluster(zookeeper: &str) -> Result<Client> {
    let options = ClientOptions {
        deadline: APPLICATION_DEADLINE,
        ..ClientOptions::new(Discovery::ZooKeeper(zookeeper.to_owned()))
    };
    Client::connect(options).await
}
