//! What one key is: a register whose value has a revision.

use std::collections::HashMap;

use crate::{Action, Expected, Operation, Outcome, Versioned};

/// A key's state. A revision that no answer has told yet is `None` and is bound by the first answer that tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    value: Option<u32>,
    revision: Option<u64>,
    /// The highest revision that the key is known to have had: every later write has a higher one.
    floor: u64,
}

impl State {
    /// A key that has never been.
    pub(crate) const NEW: Self = Self { value: None, revision: Some(0), floor: 0 };

    const fn deleted(self) -> Self {
        Self { value: None, revision: Some(0), floor: self.floor }
    }

    fn put(self, value: u32, revision: Option<u64>) -> Self {
        Self { value: Some(value), revision, floor: revision.unwrap_or(self.floor) }
    }
}

/// An operation with its values numbered.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    action: StepAction,
    expected: Option<StepExpected>,
    outcome: StepOutcome,
}

#[derive(Clone, Copy, Debug)]
enum StepAction {
    Get,
    Put(u32),
    Delete,
}

#[derive(Clone, Copy, Debug)]
enum StepExpected {
    Revision(u64),
    Value(Option<u32>),
}

#[derive(Clone, Copy, Debug)]
enum StepOutcome {
    Unknown,
    Found(Option<(u32, Option<u64>)>),
    Done { revision: Option<u64>, existed: Option<bool> },
    Mismatch { actual: Option<u64> },
}

/// What the whole history tells about values and revisions.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Which value a revision was seen with.
    owners: HashMap<u64, u32>,
}

impl Model {
    pub(crate) fn new(operations: &[&Operation]) -> (Self, Vec<Step>) {
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut number = |value: &[u8]| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(value.to_vec()).or_insert(next)
        };
        let mut model = Self::default();
        let steps = operations.iter().map(|operation| {
            let action = match &operation.action {
                Action::Get => StepAction::Get,
                Action::Put(value) => StepAction::Put(number(value)),
                Action::Delete => StepAction::Delete,
            };
            let expected = operation.expected.as_ref().map(|expected| match expected {
                Expected::Revision(revision) => StepExpected::Revision(*revision),
                Expected::Value(value) => StepExpected::Value(value.as_deref().map(&mut number)),
            });
            let outcome = match &operation.outcome {
                _ if operation.is_unknown() => StepOutcome::Unknown,
                Outcome::Found(found) => {
                    StepOutcome::Found(found.as_ref().map(|Versioned { value, revision }| (number(value), *revision)))
                }
                Outcome::Done { revision, existed } => StepOutcome::Done { revision: *revision, existed: *existed },
                Outcome::Mismatch { actual } => StepOutcome::Mismatch { actual: *actual },
                Outcome::Unknown | Outcome::Failed => StepOutcome::Unknown,
            };
            match (action, outcome) {
                (_, StepOutcome::Found(Some((value, Some(revision)))))
                | (StepAction::Put(value), StepOutcome::Done { revision: Some(revision), .. }) => {
                    model.owners.insert(revision, value);
                }
                _ => {}
            }
            Step { action, expected, outcome }
        });
        let steps = steps.collect();
        (model, steps)
    }

    /// The state after `step`, if `step` can come next and be answered as it was. An operation of unknown outcome
    /// that would change nothing is never taken: leaving it out is the same.
    pub(crate) fn apply(&self, state: State, step: &Step) -> Option<State> {
        match (step.action, step.outcome) {
            (StepAction::Get, StepOutcome::Found(found)) => match found {
                None => state.value.is_none().then_some(state),
                Some((value, revision)) if state.value == Some(value) => self.bind(state, revision),
                Some(_) => None,
            },
            (StepAction::Put(_) | StepAction::Delete, StepOutcome::Mismatch { actual }) => match step.expected? {
                StepExpected::Revision(expected) => {
                    let state = self.bind(state, actual)?;
                    (state.revision != Some(expected)).then_some(state)
                }
                StepExpected::Value(value) => {
                    let state = self.bind(state, actual)?;
                    (state.value != value).then_some(state)
                }
            },
            (StepAction::Put(value), StepOutcome::Unknown) => Some(self.meets(state, step.expected)?.put(value, None)),
            (StepAction::Put(value), StepOutcome::Done { revision, existed }) => {
                let state = self.meets(state, step.expected)?;
                let grows = revision.is_none_or(|revision| state.floor < revision);
                let explained = existed.is_none_or(|existed| existed == state.value.is_some());
                (grows && explained).then(|| state.put(value, revision))
            }
            (StepAction::Delete, StepOutcome::Unknown) => {
                let state = self.meets(state, step.expected)?;
                state.value.map(|_| state.deleted())
            }
            (StepAction::Delete, StepOutcome::Done { existed, .. }) => {
                let state = self.meets(state, step.expected)?;
                existed.is_none_or(|existed| existed == state.value.is_some()).then(|| state.deleted())
            }
            (StepAction::Get, _) | (_, StepOutcome::Found(_)) => None,
        }
    }

    fn meets(&self, state: State, expected: Option<StepExpected>) -> Option<State> {
        match expected {
            None => Some(state),
            Some(StepExpected::Revision(revision)) => self.bind(state, Some(revision)),
            Some(StepExpected::Value(value)) => (state.value == value).then_some(state),
        }
    }

    /// The state, if it can have this revision.
    fn bind(&self, state: State, revision: Option<u64>) -> Option<State> {
        let Some(revision) = revision else { return Some(state) };
        let fits = match state.revision {
            Some(known) => known == revision,
            None => {
                revision > state.floor && self.owners.get(&revision).is_none_or(|owner| Some(*owner) == state.value)
            }
        };
        fits.then_some(State { revision: Some(revision), floor: state.floor.max(revision), ..state })
    }
}
