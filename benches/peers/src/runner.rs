//! Taking turns.

use std::time::{Duration, Instant};

use miadam_support::cases::Case;
use miadam_support::steppers::check_first_step;

/// Unmeasured steps before the first round: burn compiles and tunes its kernels in them.
const WARM_UP: u32 = 4;

/// Before each turn, so that the threads of the one before have stopped spinning.
const PAUSE: Duration = Duration::from_millis(5);

/// An optimizer that has used up this much time sits out, once it has [`FEWEST`] measurements.
const BUDGET: Duration = Duration::from_secs(20);
const FEWEST: usize = 3;

/// An optimizer set up on a case's tensors.
pub trait Runner {
    /// Takes a step, waits for its end, and gives the milliseconds from start to end.
    fn step(&mut self) -> Result<f64, String>;

    /// Parameters of the first and the last tensor; all of them, or the extremes.
    fn ends(&mut self) -> Result<Vec<f32>, String>;
}

/// Milliseconds that `step` takes.
pub fn timed<E: ToString>(step: impl FnOnce() -> Result<(), E>) -> Result<f64, String> {
    let start = Instant::now();
    step().map_err(|error| error.to_string())?;
    Ok(1e3 * start.elapsed().as_secs_f64())
}

/// A runner, or why there is none.
pub type Entry<'a> = Result<Box<dyn Runner + 'a>, String>;

/// One who takes part, and how it did.
pub struct Entrant<'a> {
    pub name: String,
    /// Names of the entrants that it is compared with.
    pub against: Vec<String>,
    case: &'a Case,
    runner: Entry<'a>,
    times: Vec<f64>,
    spent: Duration,
}

impl<'a> Entrant<'a> {
    pub fn new(name: impl Into<String>, against: Vec<String>, case: &'a Case, runner: Entry<'a>) -> Self {
        Self { name: name.into(), against, case, runner, times: Vec::new(), spent: Duration::ZERO }
    }

    /// Bytes that a step has to move.
    pub fn bytes(&self) -> u64 {
        self.case.bytes()
    }

    /// Milliseconds of every measured step, or why there are none.
    pub fn times(&self) -> Result<&[f64], &str> {
        match &self.runner {
            Ok(_) => Ok(&self.times),
            Err(reason) => Err(reason),
        }
    }

    /// Does `turn`; after a failure the entrant is out, and its reason stays.
    fn attempt(&mut self, turn: impl FnOnce(&mut dyn Runner, &mut Vec<f64>) -> Result<(), String>) {
        let start = Instant::now();
        if let Ok(runner) = &mut self.runner
            && let Err(reason) = turn(runner.as_mut(), &mut self.times)
        {
            self.runner = Err(reason);
        }
        self.spent += start.elapsed();
    }

    /// The first step has to show in the parameters: all peers are lazy or asynchronous somewhere, and a step
    /// that never ran is a fast one.
    fn warm_up(&mut self) {
        let case = self.case;
        self.attempt(|runner, _| {
            runner.step()?;
            check_first_step(case, &runner.ends()?)?;
            (0..WARM_UP).try_for_each(|_| runner.step().map(drop))
        });
    }

    /// One step to wake threads and caches, then the one that counts.
    fn round(&mut self) {
        if self.spent > BUDGET && self.times.len() >= FEWEST {
            return;
        }
        std::thread::sleep(PAUSE);
        self.attempt(|runner, times| {
            runner.step()?;
            times.push(runner.step()?);
            Ok(())
        });
    }
}

/// Everybody takes a turn in every round, so that what slows the machine down slows all of them; every other round backward,
/// so that nobody always comes after the same one.
pub fn race(entrants: &mut [Entrant<'_>], rounds: u32) {
    entrants.iter_mut().for_each(Entrant::warm_up);
    for round in 0..rounds {
        if round % 2 == 0 {
            entrants.iter_mut().for_each(Entrant::round);
        } else {
            entrants.iter_mut().rev().for_each(Entrant::round);
        }
    }
}
