use std::process::Command;

use crate::{
    command::run_with_input,
    error::Result,
    machine::Namespaces,
    network::{CONTROL_PLANE, HOST, SERVICES, machine_address, pod_range},
};

/// The bridge, in the control plane's network.
const BRIDGE: &str = "switch";
/// This host's end of its cable.
const HOST_END: &str = "kv-kube0";
/// A machine's end.
const MACHINE_END: &str = "eth0";

/// Makes the bridge in the control plane's network, and joins this host to it, with routes to the pods of `machines`
/// machines. The control plane forwards nothing: what is for elsewhere ends there.
pub(crate) fn build(control_plane: &Namespaces, machines: usize) -> Result<()> {
    let id = control_plane.id();
    // Left over from a cluster whose other end is gone already.
    let _ = remove_host_end();
    ip(Command::new("ip"), &[format!("link add {HOST_END} type veth peer name host netns {id}")])?;
    let mut inside = vec![
        "link set lo up".to_owned(),
        format!("link add {BRIDGE} type bridge forward_delay 0"),
        format!("link set host master {BRIDGE} up"),
        format!("address add {CONTROL_PLANE}/24 dev {BRIDGE}"),
        format!("link set {BRIDGE} up"),
        // Programs look for the address that belongs to the default route.
        format!("route add default via {HOST}"),
    ];
    inside.extend(routes_to_pods(machines, None));
    ip(control_plane.in_network("ip"), &inside)?;
    let mut outside = vec![format!("address add {HOST}/24 dev {HOST_END}"), format!("link set {HOST_END} up")];
    outside.extend(routes_to_pods(machines, None));
    // A machine translates services' addresses for this host too.
    outside.push(format!("route add {SERVICES} via {}", machine_address(0)));
    ip(Command::new("ip"), &outside)
}

/// Joins the machine of that number to the bridge.
pub(crate) fn connect(
    control_plane: &Namespaces,
    machine: &Namespaces,
    name: &str,
    number: usize,
    machines: usize,
) -> Result<()> {
    let plug = [
        format!("link add {name} type veth peer name {MACHINE_END} netns {}", machine.id()),
        format!("link set {name} master {BRIDGE} up"),
    ];
    ip(control_plane.in_network("ip"), &plug)?;
    let mut inside = vec![
        "link set lo up".to_owned(),
        format!("address add {}/24 dev {MACHINE_END}", machine_address(number)),
        format!("link set {MACHINE_END} up"),
        format!("route add default via {CONTROL_PLANE}"),
    ];
    inside.extend(routes_to_pods(machines, Some(number)));
    ip(machine.in_network("ip"), &inside)
}

/// Pulls the machine's cable out of the bridge, or plugs it in again. Addresses and routes stay; connections hang.
pub(crate) fn set_cut(control_plane: &Namespaces, name: &str, cut: bool) -> Result<()> {
    let state = if cut { "down" } else { "up" };
    ip(control_plane.in_network("ip"), &[format!("link set {name} {state}")])
}

/// The other end goes with the control plane's network: this is for what a crash has left.
fn remove_host_end() -> Result<()> {
    ip(Command::new("ip"), &[format!("link delete {HOST_END}")])
}

fn routes_to_pods(machines: usize, but: Option<usize>) -> impl Iterator<Item = String> {
    let others = (0..machines).filter(move |number| Some(*number) != but);
    others.map(|number| format!("route add {} via {}", pod_range(number), machine_address(number)))
}

fn ip(mut command: Command, lines: &[String]) -> Result<()> {
    run_with_input(command.args(["-batch", "-"]), &(lines.join("\n") + "\n")).map(drop)
}
