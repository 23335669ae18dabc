use crate::{
    error::Result,
    report::Handovers,
    system::{Setup, System},
};

/// So many planned handovers under a load of writes. `None`: the system has no such thing.
pub(crate) async fn handover<S: System>(
    variant: S::Variant,
    setup: Setup<'_>,
    number: usize,
    in_flight: usize,
) -> Result<Option<Handovers>> {
    let mut system = S::start(variant, setup).await?;
    let found = system.hand_over(number, in_flight).await?;
    system.stop().await?;
    Ok(found)
}
