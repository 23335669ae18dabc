//! Flags and environment → [`RunOptions`]. Nothing downstream reads raw input again.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::telemetry::LogFormat;

const DEFAULT_NODE_IMAGE: &str = concat!("kvcluster/kv-node:", env!("CARGO_PKG_VERSION"));
const DEFAULT_ZOOKEEPER_IMAGE: &str = "zookeeper:3.9.4";
const DEFAULT_DOMAIN: &str = "cluster.local";
/// Longest DNS label, which names of namespaces are.
const MAX_LABEL_BYTES: usize = 63;
/// Longest name of a DNS domain.
const MAX_DOMAIN_BYTES: usize = 253;
/// Longest holder of a Lease that we write.
const MAX_IDENTITY_BYTES: usize = 253;
/// Longest name of an image, with registry, tag and digest.
const MAX_IMAGE_BYTES: usize = 512;

/// The command line of `kv-operator`.
#[derive(Parser, Debug)]
#[command(name = "kv-operator", version, about = "Runs KvClusters on Kubernetes, as their resources say")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: OperatorCommand,
}

/// What `kv-operator` can do.
#[derive(Subcommand, Debug)]
pub enum OperatorCommand {
    /// Runs the operator until SIGTERM or SIGINT, then finishes its step, releases its Lease and ends
    ///
    /// The filter of the log is taken from KV_LOG, such as info,kv_operator=debug. The API server is the one of the pod, or
    /// of KUBECONFIG or ~/.kube/config.
    Run(Box<RunArguments>),
    /// Prints the CustomResourceDefinition as YAML
    Crd,
    /// Prints the reference of the resource as Markdown
    Reference,
}

/// The arguments of `kv-operator run`.
#[derive(clap::Args, Debug)]
pub struct RunArguments {
    /// Namespaces to look after, with commas in between [default: all]
    #[arg(long, env = "KV_OPERATOR_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Namespace of the Lease by which one operator at a time is active [default: the pod's, from POD_NAMESPACE]
    #[arg(long, env = "KV_OPERATOR_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,
    /// Who holds the Lease; no two programs may have the same [default: the pod, from POD_NAME, or the host and process]
    #[arg(long, env = "KV_OPERATOR_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "KV_OPERATOR_HTTP", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// Image of the nodes, for clusters that name none
    #[arg(long, env = "KV_OPERATOR_NODE_IMAGE", value_name = "IMAGE", default_value = DEFAULT_NODE_IMAGE)]
    pub node_image: String,
    /// Image of ZooKeeper, for clusters that name none
    #[arg(long, env = "KV_OPERATOR_ZOOKEEPER_IMAGE", value_name = "IMAGE", default_value = DEFAULT_ZOOKEEPER_IMAGE)]
    pub zookeeper_image: String,
    /// The Kubernetes cluster's DNS domain
    #[arg(long, env = "KV_OPERATOR_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = DEFAULT_DOMAIN)]
    pub cluster_domain: String,
    /// How a line of the log looks
    #[arg(long, env = "KV_OPERATOR_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// What the operator is run with, within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Namespaces to look after; empty: all.
    pub namespaces: Vec<String>,
    /// Namespace of the Lease; none: the client's own.
    pub lease_namespace: Option<String>,
    /// Who holds the Lease.
    pub identity: String,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Image of nodes.
    pub node_image: String,
    /// Image of ZooKeeper.
    pub zookeeper_image: String,
    /// The Kubernetes cluster's DNS domain, without a dot at its end.
    pub cluster_domain: String,
    /// How a line of the log looks.
    pub log_format: LogFormat,
}

/// A flag that can't be used: names it, what was given, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} is {value:?}: it must be {wanted}")]
pub struct OptionsError {
    flag: &'static str,
    value: String,
    wanted: String,
}

impl RunOptions {
    /// Checks the arguments. `environment` gives what Kubernetes says of the pod.
    ///
    /// # Errors
    /// The first [`OptionsError`].
    pub fn new(arguments: RunArguments, environment: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let RunArguments {
            namespaces,
            lease_namespace,
            identity,
            http,
            node_image,
            zookeeper_image,
            cluster_domain,
            log_format,
        } = arguments;
        // A chart writes an empty variable for what isn't set.
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let from_pod = |variable| given(environment(variable));
        let mut namespaces: Vec<_> = namespaces.into_iter().map(|name| name.trim().to_owned()).collect();
        namespaces.retain(|name| !name.is_empty());
        namespaces.sort_unstable();
        namespaces.dedup();
        let namespaces = namespaces.into_iter().map(|name| label("--namespaces", name));
        let lease_namespace = given(lease_namespace).or_else(|| from_pod("POD_NAMESPACE"));
        Ok(Self {
            namespaces: namespaces.collect::<Result<_, _>>()?,
            lease_namespace: lease_namespace.map(|name| label("--lease-namespace", name)).transpose()?,
            identity: identified(given(identity).or_else(|| from_pod("POD_NAME")).unwrap_or_else(this_process))?,
            http,
            node_image: image("--node-image", node_image)?,
            zookeeper_image: image("--zookeeper-image", zookeeper_image)?,
            cluster_domain: domain(cluster_domain)?,
            log_format,
        })
    }
}

/// Outside of a pod: two programs on one machine are not to take each other's Lease for their own.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("kv-operator");
    format!("{host}-{}", std::process::id())
}

fn identified(value: String) -> Result<String, OptionsError> {
    let fits = value.len() <= MAX_IDENTITY_BYTES && value.bytes().all(|byte| byte.is_ascii_graphic());
    let wanted = || format!("1 to {MAX_IDENTITY_BYTES} printable characters without spaces");
    fits.then_some(()).ok_or_else(|| wrong("--identity", &value, wanted()))?;
    Ok(value)
}

fn label(flag: &'static str, value: String) -> Result<String, OptionsError> {
    let wanted = || format!("the name of a namespace: small letters, digits and dashes, at most {MAX_LABEL_BYTES}");
    is_label(&value).then_some(()).ok_or_else(|| wrong(flag, &value, wanted()))?;
    Ok(value)
}

fn domain(value: String) -> Result<String, OptionsError> {
    let fits = value.len() <= MAX_DOMAIN_BYTES && value.split('.').all(is_label);
    let wanted = || format!("a DNS domain such as {DEFAULT_DOMAIN}, without a dot at its end");
    fits.then_some(()).ok_or_else(|| wrong("--cluster-domain", &value, wanted()))?;
    Ok(value)
}

fn image(flag: &'static str, value: String) -> Result<String, OptionsError> {
    let fits = (1..=MAX_IMAGE_BYTES).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    let wanted = || format!("the name of an image such as {DEFAULT_NODE_IMAGE}, at most {MAX_IMAGE_BYTES} bytes");
    fits.then_some(()).ok_or_else(|| wrong(flag, &value, wanted()))?;
    Ok(value)
}

fn is_label(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LABEL_BYTES).contains(&value.len())
        && value.bytes().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-')
}

fn wrong(flag: &'static str, value: &str, wanted: String) -> OptionsError {
    OptionsError { flag, value: value.to_owned(), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(flags: &[&str], pod: &[(&str, &str)]) -> Result<RunOptions, OptionsError> {
        let line = ["kv-operator", "run"].iter().chain(flags);
        let arguments = Arguments::try_parse_from(line).expect("the flags exist");
        let OperatorCommand::Run(run) = arguments.command else { panic!("run was asked for") };
        let value =
            |name: &str| pod.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        RunOptions::new(*run, value)
    }

    #[test]
    fn everything_has_a_default() {
        let options = options(&[], &[("POD_NAME", "kv-operator-5b7"), ("POD_NAMESPACE", "kv-system")]);
        let expected = RunOptions {
            namespaces: vec![],
            lease_namespace: Some("kv-system".into()),
            identity: "kv-operator-5b7".into(),
            http: ([0, 0, 0, 0], 8080).into(),
            node_image: DEFAULT_NODE_IMAGE.into(),
            zookeeper_image: DEFAULT_ZOOKEEPER_IMAGE.into(),
            cluster_domain: "cluster.local".into(),
            log_format: LogFormat::Text,
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn a_flag_is_stronger_than_what_the_pod_says() {
        let flags = ["--identity", "mine", "--lease-namespace", "here", "--namespaces", "b, a,,b"];
        let options = options(&flags, &[("POD_NAME", "pod"), ("POD_NAMESPACE", "there")]).expect("all can be used");
        assert_eq!((options.identity.as_str(), options.lease_namespace.as_deref()), ("mine", Some("here")));
        assert_eq!(options.namespaces, ["a", "b"]);
    }

    #[test]
    fn empty_values_count_as_not_given() {
        let options = options(&["--namespaces", "", "--identity", "", "--lease-namespace", ""], &[]);
        let options = options.expect("all can be used");
        assert_eq!((options.namespaces, options.lease_namespace), (vec![], None));
        assert!(options.identity.ends_with(&format!("-{}", std::process::id())), "{}", options.identity);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let long = "a".repeat(MAX_LABEL_BYTES + 1);
        for (flag, value) in [
            ("--namespaces", "a,B"),
            ("--namespaces", long.as_str()),
            ("--lease-namespace", "-a"),
            ("--identity", "a b"),
            ("--node-image", "kv node"),
            ("--zookeeper-image", ""),
            ("--cluster-domain", "cluster.local."),
        ] {
            let error = options(&[&format!("{flag}={value}")], &[]).expect_err(value);
            assert!(error.to_string().starts_with(&format!("{flag} is ")), "{error}");
        }
    }
}
