use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::Invalid;
use crate::{
    api::{KvClusterSpec, Scheduling},
    reconcile::{quantity, validated::ValidatedPods},
};

/// Requests and limits, each with a name and a quantity.
pub(super) struct DefaultResources {
    requests: &'static [(&'static str, &'static str)],
    limits: &'static [(&'static str, &'static str)],
}

/// Of a node.
pub(super) const NODE_RESOURCES: DefaultResources =
    DefaultResources { requests: &[("cpu", "100m"), ("memory", "256Mi")], limits: &[("memory", "1Gi")] };
/// Of a member.
pub(super) const ZOOKEEPER_RESOURCES: DefaultResources =
    DefaultResources { requests: &[("cpu", "100m"), ("memory", "512Mi")], limits: &[("memory", "512Mi")] };

/// What nodes and members have each of their own.
pub(super) struct PodFields<'a> {
    pub image: &'a str,
    /// The field, what it says, and what holds if it says nothing.
    pub resources: (&'static str, Option<&'a ResourceRequirements>, DefaultResources),
    pub scheduling: &'a Scheduling,
}

impl PodFields<'_> {
    /// Adds what they have in common.
    pub(super) fn validated(&self, spec: &KvClusterSpec) -> Result<ValidatedPods, Invalid> {
        let (field, written, default) = &self.resources;
        Ok(ValidatedPods {
            image: self.image.to_owned(),
            image_pull_policy: spec.image_pull_policy.clone(),
            image_pull_secrets: spec.image_pull_secrets.clone(),
            resources: match written {
                Some(resources) => checked(field, resources)?,
                None => default.requirements(),
            },
            scheduling: self.scheduling.clone(),
            template: spec.pod_template.clone(),
        })
    }
}

impl DefaultResources {
    fn requirements(&self) -> ResourceRequirements {
        let quantities = |list: &[(&str, &str)]| {
            Some(list.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect())
        };
        ResourceRequirements {
            requests: quantities(self.requests),
            limits: quantities(self.limits),
            ..ResourceRequirements::default()
        }
    }
}

fn checked(field: &str, resources: &ResourceRequirements) -> Result<ResourceRequirements, Invalid> {
    let ResourceRequirements { claims, limits, requests } = resources;
    if claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Err(invalid(format!("{field}.claims: pods of a cluster have no claims of devices: remove it")));
    }
    let limits = amounts(&format!("{field}.limits"), limits.as_ref())?;
    for (name, request) in amounts(&format!("{field}.requests"), requests.as_ref())? {
        if let Some(limit) = limits.get(name)
            && request.1 > limit.1
        {
            let (request, limit) = (request.0, limit.0);
            let message = format!("{field}.requests.{name} is {request}: write at most the limit, which is {limit}");
            return Err(invalid(message));
        }
    }
    Ok(resources.clone())
}

/// By name: as written, and in thousandths.
type Amounts<'a> = BTreeMap<&'a str, (&'a str, u128)>;

fn amounts<'a>(field: &str, quantities: Option<&'a BTreeMap<String, Quantity>>) -> Result<Amounts<'a>, Invalid> {
    let quantities = quantities.into_iter().flatten();
    let read = quantities.map(|(name, Quantity(text))| match quantity::thousandths(text) {
        Ok(amount) => Ok((name.as_str(), (text.as_str(), amount))),
        Err(error) => Err(invalid(format!("{field}.{name}: {error}"))),
    });
    read.collect()
}

fn invalid(message: String) -> Invalid {
    Invalid::new("InvalidResources", message)
}
