//! The programs of Kubernetes, built from Go modules.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::Command,
};

use crate::{
    command::run,
    error::{Error, Result},
    layout::{Layout, make_folder, write_file},
    progress::{say, step},
};

/// Programs that are built together, since their dependencies agree.
struct Module {
    /// Its folder in `modules`.
    name: &'static str,
    /// For a package, the program's name.
    programs: &'static [(&'static str, &'static str)],
    /// Flags of the linker.
    link: &'static str,
}

/// Small programs: no symbols.
const STRIPPED: &str = "-s -w";
/// The version that the API server says, which charts and clients look at.
const VERSIONED: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
                         -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34";

const MODULES: [Module; 5] = [
    Module { name: "etcd", programs: &[("go.etcd.io/etcd/server/v3", "etcd")], link: STRIPPED },
    Module {
        name: "kubernetes",
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
        link: VERSIONED,
    },
    Module { name: "helm", programs: &[("helm.sh/helm/v3/cmd/helm", "helm")], link: STRIPPED },
    Module { name: "coredns", programs: &[("github.com/coredns/coredns", "coredns")], link: STRIPPED },
    Module {
        name: "local-path-provisioner",
        programs: &[("github.com/rancher/local-path-provisioner", "local-path-provisioner")],
        link: STRIPPED,
    },
];

/// Builds those whose `go.mod` has changed since. The first time that takes some ten minutes on two cores.
///
/// # Errors
/// [`Error::Command`] if Go fails, [`Error::File`] if the cache can't be written.
pub fn build(layout: &Layout) -> Result<()> {
    make_folder(&layout.programs())?;
    for module in &MODULES {
        let folder = layout.tree().join("tests/kubernetes/modules").join(module.name);
        let stamp = layout.programs().join(format!(".{}", module.name));
        let wanted = fingerprint(module, &folder)?;
        let there = module.programs.iter().all(|(_, name)| layout.program(name).is_file());
        if there && fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
            continue;
        }
        say(&format!("building {} from its Go module, which takes a while the first time", module.name));
        step(&format!("built {}", module.name), || build_module(layout, module, &folder))?;
        write_file(&stamp, wanted)?;
    }
    Ok(())
}

fn build_module(layout: &Layout, module: &Module, folder: &Path) -> Result<()> {
    // A single package may get another name than its own; several go into a folder under theirs.
    let output = match module.programs {
        [(_, name)] => layout.program(name),
        _ => layout.programs().join(""),
    };
    let mut go = Command::new("nice");
    go.args(["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", module.link, "-o"])
        .arg(output)
        .args(module.programs.iter().map(|(package, _)| package))
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "");
    run(&mut go)?;
    Ok(())
}

fn fingerprint(module: &Module, folder: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    (module.programs, module.link).hash(&mut hasher);
    for file in ["go.mod", "go.sum"] {
        let path = folder.join(file);
        fs::read(&path).map_err(Error::file("read", &path))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}
