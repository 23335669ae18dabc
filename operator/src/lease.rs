//! One operator is active at a time: the one that holds the Lease.

mod decision;

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use self::decision::{Observed, Turn, held, released};
use crate::telemetry::causes;

/// The Lease's name.
const NAME: &str = "kv-operator";
const FIELD_MANAGER: &str = "kv-operator-lease";
/// Pause between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long a renewal may take. Of a connection that is dead without a word, the next attempt makes a new one.
const RENEW_WITHIN: Duration = Duration::from_secs(3);
/// Pause after a renewal that has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Pause between two looks at a Lease that is somebody else's.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// We believe that the Lease is ours for so long after we asked for it. It is less than others leave it to us, so that what
/// we have sent is done before anybody else begins.
const HOLDS_FOR: Duration = Duration::from_secs(10);
/// How long releasing it may take. Whoever is next waits for the Lease's end if it doesn't succeed.
const RELEASE_WITHIN: Duration = Duration::from_secs(3);

const _: () = assert!(HOLDS_FOR.as_secs() < decision::LEASE_SECONDS as u64);
// One renewal may fail, and another one has its whole time left.
const _: () = assert!(
    RENEW_EVERY.as_secs() + RENEW_WITHIN.as_secs() + RETRY_AFTER.as_secs() + RENEW_WITHIN.as_secs()
        <= HOLDS_FOR.as_secs()
);

/// Takes the Lease, keeps it, and releases it.
#[derive(Debug)]
pub struct Election {
    leases: Api<Lease>,
    identity: String,
    until: watch::Sender<Option<Instant>>,
    /// What we wrote last, which spares reading it; none after a failure.
    written: Option<Lease>,
    observed: Option<Observed>,
    /// What was logged last: a failure that lasts is told once.
    told: String,
}

/// Whether this process holds the Lease. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Receiver<Option<Instant>>,
}

/// Why this process must not act any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipLost {
    /// Another one is active.
    #[error("the Lease was taken by {holder}")]
    Taken {
        /// The other one.
        holder: String,
    },
    /// Another one may be active.
    #[error("the Lease could not be renewed for {HOLDS_FOR:?}")]
    NotRenewed,
}

impl Leadership {
    /// Whether the Lease is ours at this moment: it was renewed lately, and nobody else can have taken it since.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }
}

impl Election {
    /// For the Lease of a namespace. `identity` is unique among all that want it.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        let leases = Api::namespaced(client, namespace);
        let (until, _) = watch::channel(None);
        Self { leases, identity, until, written: None, observed: None, told: String::new() }
    }

    /// Whether the Lease is held, from now on.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership { until: self.until.subscribe() }
    }

    /// Waits until the Lease is ours. `answered` is called whenever the API server has answered.
    pub async fn acquire(&mut self, answered: impl Fn()) {
        loop {
            match self.attempt().await {
                Ok(turn) => {
                    answered();
                    match turn {
                        Turn::Take | Turn::Renew => {
                            info!(identity = self.identity, "the Lease is ours");
                            return;
                        }
                        Turn::Wait { holder } => {
                            if self.is_new(&holder) {
                                info!(holder, "the Lease is somebody else's: waiting for it");
                            }
                        }
                    }
                }
                Err(error) => self.failed(&error),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Renews the Lease for as long as it is ours. Without a doubt it isn't once this has ended.
    pub async fn keep(&mut self) -> LeadershipLost {
        let mut pause = RENEW_EVERY;
        loop {
            let Some(until) = *self.until.borrow() else { return LeadershipLost::NotRenewed };
            let round = async {
                sleep(pause).await;
                timeout(RENEW_WITHIN, self.attempt()).await
            };
            let outcome = timeout_at(until.into(), round).await;
            pause = RETRY_AFTER;
            match outcome {
                Ok(Ok(Ok(Turn::Renew | Turn::Take))) => pause = RENEW_EVERY,
                Ok(Ok(Ok(Turn::Wait { holder }))) => {
                    self.until.send_replace(None);
                    return LeadershipLost::Taken { holder };
                }
                Ok(Ok(Err(error))) => self.failed(&error),
                Ok(Err(_)) => warn!("the Lease is not renewed: no answer within {RENEW_WITHIN:?}"),
                Err(_) => {
                    self.until.send_replace(None);
                    return LeadershipLost::NotRenewed;
                }
            }
        }
    }

    /// Gives the Lease back, if it is ours, so that the next one needn't wait for its end.
    pub async fn release(mut self) {
        self.until.send_replace(None);
        match timeout(RELEASE_WITHIN, self.give_back()).await {
            Ok(Ok(())) => info!("the Lease is released"),
            Ok(Err(error)) => warn!(error = causes(&error), "the Lease is not released"),
            Err(_) => warn!("the Lease is not released: no answer within {RELEASE_WITHIN:?}"),
        }
    }

    /// Looks at the Lease and does what is to be done. `Renew` and `Take`: it is ours.
    async fn attempt(&mut self) -> Result<Turn, kube::Error> {
        let Some(lease) = self.current().await? else {
            let asked = Instant::now();
            let spec = held(&Default::default(), &self.identity, Timestamp::now());
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            let created = self.leases.create(&parameters(), &lease).await?;
            self.hold(created, asked);
            return Ok(Turn::Take);
        };
        let asked = Instant::now();
        let spec = lease.spec.clone().unwrap_or_default();
        let observed = Observed::new(spec.clone(), asked, self.observed.as_ref());
        let turn = observed.turn(&self.identity, asked);
        self.observed = Some(observed);
        if let Turn::Wait { .. } = turn {
            return Ok(turn);
        }
        let spec = held(&spec, &self.identity, Timestamp::now());
        // Its `resourceVersion` makes it fail if anybody has written it since it was read.
        let written = self.leases.replace(NAME, &parameters(), &Lease { spec: Some(spec), ..lease }).await?;
        self.hold(written, asked);
        Ok(turn)
    }

    fn hold(&mut self, written: Lease, asked: Instant) {
        self.told.clear();
        self.written = Some(written);
        self.until.send_replace(Some(asked + HOLDS_FOR));
    }

    async fn give_back(&mut self) -> Result<(), kube::Error> {
        let Some(lease) = self.current().await? else { return Ok(()) };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(());
        }
        let lease = Lease { spec: Some(released(&spec, Timestamp::now())), ..lease };
        self.leases.replace(NAME, &parameters(), &lease).await.map(drop)
    }

    async fn current(&mut self) -> Result<Option<Lease>, kube::Error> {
        match self.written.take() {
            Some(lease) => Ok(Some(lease)),
            None => self.leases.get_opt(NAME).await,
        }
    }

    fn failed(&mut self, error: &kube::Error) {
        match error {
            // Somebody has written it at the same time, or an answer to us was lost: it is read again.
            kube::Error::Api(status) if status.code == 409 => debug!("the Lease has changed"),
            error => {
                let error = causes(error);
                if self.is_new(&error) {
                    warn!(error, "the Lease can't be read or written");
                }
            }
        }
    }

    fn is_new(&mut self, what: &str) -> bool {
        let new = self.told != what;
        what.clone_into(&mut self.told);
        new
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
