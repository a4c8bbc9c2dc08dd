//! What burn keeps for the carrier: the whole optimizer, or what a record has of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, TensorData};
use miadam::{Checkpoint, LoadOptions};

use crate::error::Error;
use crate::optimizer::MiAdam;

/// The name of the checkpoint in burn's record.
const CHECKPOINT: &str = "checkpoint";
/// The name of the flag of an optimizer that has no checkpoint, since it has taken no step.
const FRESH: &str = "fresh";

/// The optimizer of a module, or what it goes on from.
#[derive(Default)]
pub struct State(Arc<Mutex<Kept>>);

#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    /// Out of a record. There is no device before the first step.
    Saved(Box<Checkpoint>),
    Live(Box<MiAdam>),
}

impl Kept {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Saved(checkpoint) => Ok(Some((**checkpoint).clone())),
            Self::Live(optimizer) => optimizer.to_go_on_from(),
        }
    }
}

/// burn's clone of an optimizer has a state of its own, as burn's tensors have.
impl Clone for State {
    fn clone(&self) -> Self {
        let checkpoint = self.lock().checkpoint().unwrap_or_else(|error| panic!("a copy of the optimizer: {error}"));
        Self(Arc::new(Mutex::new(checkpoint.map(Box::new).map_or(Kept::Nothing, Kept::Saved))))
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same state once more, for as long as it is handed out.
    pub fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// Makes the optimizer, unless there is one.
    pub fn ready(self, make: impl FnOnce() -> Result<MiAdam, Error>) -> Result<Self, Error> {
        let mut kept = self.lock();
        if !matches!(*kept, Kept::Live(_)) {
            let mut optimizer = make()?;
            if let Kept::Saved(checkpoint) = std::mem::take(&mut *kept) {
                optimizer.load_checkpoint(*checkpoint, LoadOptions::default())?;
            }
            *kept = Kept::Live(Box::new(optimizer));
        }
        drop(kept);
        Ok(self)
    }

    /// Calls `act` with the optimizer of a state that is [ready](Self::ready).
    pub fn with<T>(&self, act: impl FnOnce(&mut MiAdam) -> T) -> T {
        match &mut *self.lock() {
            Kept::Live(optimizer) => act(optimizer),
            Kept::Nothing | Kept::Saved(_) => unreachable!("a state is ready when it is handed out"),
        }
    }
}

impl RecordState for State {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        // burn cannot be told of an error here. A record without the state would be worse.
        let fail = |error: Error| -> ! { panic!("the optimizer's state cannot be saved: {error}") };
        match self.lock().checkpoint() {
            Err(error) => fail(error),
            Ok(None) => out.push_scalar(prefix, FRESH, true.into()),
            Ok(Some(checkpoint)) => {
                let bytes = checkpoint.to_bytes().unwrap_or_else(|error| fail(error.into()));
                let shape = [bytes.len()];
                out.push_tensor(prefix, CHECKPOINT, TensorData::from_bytes_vec(bytes, shape, DType::U8));
            }
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, _: &Device) -> Option<Self> {
        let Some(data) = src.take_tensor(prefix, CHECKPOINT) else {
            // burn would start anew without a word.
            assert!(
                src.take_scalar(prefix, FRESH).is_some(),
                "the record is of another optimizer than `MiAdamConfig::init_learner` makes: load it into that one",
            );
            return None;
        };
        match Checkpoint::from_bytes(data.as_bytes()) {
            Ok(checkpoint) => Some(Self(Arc::new(Mutex::new(Kept::Saved(Box::new(checkpoint)))))),
            Err(error) => panic!("the optimizer's state in the record cannot be read: {error}"),
        }
    }
}
