use serde_json::{Value, json};

/// How pods are joined to a machine (a list of plugins of the Container Network Interface): each by a pair of its own and a
/// route. On a bridge, pods of one machine would answer each other directly, past the translation of services' addresses.
pub(crate) fn configuration(pod_range: &str) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": pod_range }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    // Gone with a reboot, as the pods' namespaces are.
                    "dataDir": "/run/pod-addresses",
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}
