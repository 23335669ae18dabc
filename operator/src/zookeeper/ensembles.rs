use super::{EnsembleView, Error, Reconfigured, reconfigure, view};
use crate::reconcile::names::{Component, Names, ZOOKEEPER_CLIENT_PORT};

/// The ensembles of all clusters, found by the names of their pods and Services.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Ensembles {}

impl Ensembles {
    /// Asks the members of these ordinals, within some seconds.
    pub async fn view(&self, names: &Names, members: &[u32]) -> EnsembleView {
        let address = |ordinal| format!("{}:{ZOOKEEPER_CLIENT_PORT}", names.host(Component::ZooKeeper, ordinal));
        let addresses = members.iter().map(|ordinal| (*ordinal, address(*ordinal))).collect();
        view(&addresses).await
    }

    /// Changes the membership that is `version`, within some seconds. See [`reconfigure`].
    ///
    /// # Errors
    /// Any [`Error`]: nothing has been changed.
    pub async fn reconfigure(
        &self,
        names: &Names,
        secret: &str,
        version: u64,
        joining: &[String],
        leaving: &[u32],
    ) -> Result<Reconfigured, Error> {
        let service = names.service_host(&names.zookeeper_client());
        reconfigure(&format!("{service}:{ZOOKEEPER_CLIENT_PORT}"), secret, version, joining, leaving).await
    }
}
