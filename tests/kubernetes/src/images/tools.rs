use std::process::Command;

use crate::{
    command::{in_path, run},
    error::{Error, Result},
    images::{
        PAUSE, TOOLS,
        build::{Archive, Recipe},
        built,
        closure::with_libraries,
    },
    layout::Layout,
};

const PAUSE_CONTAINERFILE: &str = "FROM scratch\nCOPY root /\nENTRYPOINT [\"/bin/busybox\", \"sleep\", \"inf\"]\n";
const TOOLS_CONTAINERFILE: &str =
    "FROM scratch\nCOPY root /\nENV PATH=/usr/local/bin:/bin\nUSER 65532:65532\nCMD [\"sleep\", \"inf\"]\n";
/// Programs of the workspace that pods run besides, where they have been built.
const OURS: [(&str, &str); 2] = [("kvctl", "kv-client"), ("kv-load", "kv-tests")];

/// Holds a pod's namespaces, and does nothing.
pub(super) fn pause(layout: &Layout) -> Result<Archive> {
    let busybox = busybox()?;
    let recipe = Recipe::new(PAUSE_CONTAINERFILE).file("root/bin/busybox", &busybox);
    with_libraries(recipe, [busybox.as_path()]).build(layout, PAUSE)
}

/// A shell, and what goes with it.
pub(super) fn tools(layout: &Layout) -> Result<Archive> {
    let recipe = with_shell(Recipe::new(TOOLS_CONTAINERFILE))?;
    let ours = OURS.iter().filter_map(|(name, package)| Some((*name, built(name, package).ok()?)));
    let recipe = ours.fold(recipe.folder("root/tmp"), |recipe, (name, program)| {
        with_libraries(recipe, [program.as_path()]).program(format!("root/usr/local/bin/{name}"), program)
    });
    recipe.build(layout, TOOLS)
}

/// Adds a shell and the usual programs, in `/bin`.
pub(super) fn with_shell(recipe: Recipe) -> Result<Recipe> {
    let busybox = busybox()?;
    let applets = run(Command::new(&busybox).arg("--list"))?;
    let recipe = with_libraries(recipe.file("root/bin/busybox", &busybox), [busybox.as_path()]);
    let applets = applets.lines().filter(|applet| *applet != "busybox");
    Ok(applets.fold(recipe, |recipe, applet| recipe.link(format!("root/bin/{applet}"), "busybox")))
}

fn busybox() -> Result<std::path::PathBuf> {
    in_path("busybox").ok_or_else(|| Error::Unavailable { why: "it needs busybox".to_owned() })
}
