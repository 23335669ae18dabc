//! What containers are put together from.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction,
        ObjectFieldSelector, Probe, SecretKeySelector, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

/// How a probe is repeated, in seconds.
pub(super) struct Timing {
    /// Between two attempts.
    pub period: i32,
    /// How long one may take.
    pub timeout: i32,
    /// Attempts that fail in a row until it counts.
    pub failures: i32,
}

/// As the level `restricted` of Kubernetes' Pod Security Standards wants it, and nothing writable but the volumes.
pub(super) fn security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

pub(super) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(literal(value)), value_from: None }
}

/// A text in which Kubernetes replaces nothing: `$(NAME)` stays what it is.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The pod's name, as `$(POD_NAME)` in what follows.
pub(super) fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: "metadata.name".into() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: "POD_NAME".into(), value: None, value_from: Some(source) }
}

pub(super) fn secret_env(name: &str, secret: String, key: &str) -> EnvVar {
    let selector = SecretKeySelector { key: key.into(), name: secret, optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

pub(super) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number.into(),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// A folder of a volume.
pub(super) fn folder_mount(volume: &str, folder: &str, path: &str) -> VolumeMount {
    VolumeMount { sub_path: Some(folder.into()), ..mount(volume, path) }
}

pub(super) fn read_only(mount: VolumeMount) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount }
}

/// A folder that lives as long as the pod.
pub(super) fn empty_dir(name: &str, limit: &str) -> Volume {
    let source = EmptyDirVolumeSource { size_limit: Some(Quantity(limit.into())), ..EmptyDirVolumeSource::default() };
    Volume { name: name.into(), empty_dir: Some(source), ..Volume::default() }
}

pub(super) fn http_probe(path: &str, port: &str, timing: &Timing) -> Probe {
    let action = HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::String(port.into()),
        scheme: Some("HTTP".into()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(action), ..repeated(timing) }
}

pub(super) fn exec_probe(command: &[&str], timing: &Timing) -> Probe {
    let command = command.iter().map(|part| (*part).to_owned()).collect();
    Probe { exec: Some(ExecAction { command: Some(command) }), ..repeated(timing) }
}

fn repeated(Timing { period, timeout, failures }: &Timing) -> Probe {
    Probe {
        period_seconds: Some(*period),
        timeout_seconds: Some(*timeout),
        failure_threshold: Some(*failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}
