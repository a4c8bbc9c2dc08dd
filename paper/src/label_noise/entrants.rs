//! Who takes part: the settings that are compared as they are, and what each optimizer may choose from.

use miadam_support::random::Random;

use crate::setting::{Course, Name, Scale, Setting};

/// A row of a table.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// How the table calls it.
    pub label: String,
    pub setting: Setting,
}

impl Entrant {
    fn new(label: &str, setting: Setting) -> Self {
        Self { label: label.to_owned(), setting }
    }
}

/// The learning rate of the paper, and of all that are compared as they are but for Adai, whose own default is 1.
const LR: f64 = 1e-3;

/// The settings that are compared as they are. The first is what the others are compared with.
pub fn shared() -> Vec<Entrant> {
    let adam = Setting::new(Name::Adam, LR);
    let cosine = |setting| Setting { course: Course::Cosine, ..setting };
    // The authors' recipe: 19 of 150 epochs, coupled decay.
    let authors = |setting| Setting { switch: 19.0 / 150.0, decay: 5e-5, ..setting };
    let unit = |order| Setting::miadam(order, 0.9, Scale::UnitGain, LR);
    let mut entrants = vec![
        Entrant::new("Adam", adam),
        Entrant::new("Adam, lr/2", Setting { lr: LR / 2.0, ..adam }),
        Entrant::new("Adam, 2·lr", Setting { lr: 2.0 * LR, ..adam }),
        // The steps of `Paper` at κ 0.5, and its switch.
        Entrant::new("Adam, 2·lr to 80 %", Setting { slow: 0.5, switch: 0.8, ..adam }),
        // As late by its mean as order 1 at β1 0.9 and κ 0.9: 9 + 9 = 18 steps.
        Entrant::new("Adam, β1 0.947", Setting { beta1: 0.947, ..adam }),
        Entrant::new("Adam, EMA 0.999", Setting { average: 0.999, ..adam }),
        Entrant::new("Adam, cosine", cosine(adam)),
    ];
    let others = [Name::NAdam, Name::AdamW, Name::NdAdam, Name::Adamax, Name::AdaBound, Name::Swats];
    entrants
        .extend(others.map(|name| Setting::new(name, LR)).map(|setting| Entrant::new(&setting.to_string(), setting)));
    entrants.push(Entrant::new("Adai, lr 1", Setting::new(Name::Adai, 1.0)));
    entrants.push(Entrant::new("MIAdam1, κ 0.5, Paper", Setting::miadam(1, 0.5, Scale::Paper, LR)));
    for order in 1..=3 {
        entrants.push(Entrant::new(&format!("MIAdam{order}, κ 0.9, UnitGain"), unit(order)));
    }
    entrants.push(Entrant::new("MIAdam1, κ 0.9, no switch", Setting { switch: 1.0, ..unit(1) }));
    entrants.push(Entrant::new("MIAdam1, κ 0.9, cosine", cosine(unit(1))));
    entrants.push(Entrant::new("Adam, L2", Setting { decay: 5e-5, ..adam }));
    for order in 1..=3_u32 {
        let miadam = Setting::miadam(order, 0.98, Scale::Reference, LR);
        entrants.push(Entrant::new(&format!("MIAdam{order}, authors'"), authors(miadam)));
        let slow = 20_f64.powi(order as i32);
        entrants.push(Entrant::new(&format!("Adam, lr/{slow} first, L2"), authors(Setting { slow, ..adam })));
    }
    entrants
}

/// An optimizer that is tuned.
#[derive(Debug, Clone, Copy)]
pub struct Tuned {
    pub label: &'static str,
    name: Name,
    order: u32,
    averages: bool,
    /// The range of learning rates.
    rates: [f64; 2],
}

const fn tuned(label: &'static str, name: Name, rates: [f64; 2]) -> Tuned {
    Tuned { label, name, order: 0, averages: false, rates }
}

const RATES: [f64; 2] = [1e-4, 4e-3];
const ADAM: Tuned = tuned("Adam", Name::Adam, RATES);

/// All of them. The first is what the others are compared with.
pub const TUNED: [Tuned; 12] = [
    ADAM,
    Tuned { label: "Adam with an average", averages: true, ..ADAM },
    tuned("NAdam", Name::NAdam, RATES),
    tuned("AdamW", Name::AdamW, RATES),
    tuned("ND-Adam", Name::NdAdam, RATES),
    tuned("Adamax", Name::Adamax, [2e-4, 8e-3]),
    tuned("AdaBound", Name::AdaBound, RATES),
    tuned("SWATS", Name::Swats, RATES),
    tuned("Adai", Name::Adai, [1e-2, 4.0]),
    Tuned { label: "MIAdam1", name: Name::MiAdam, order: 1, ..ADAM },
    Tuned { label: "MIAdam2", name: Name::MiAdam, order: 2, ..ADAM },
    Tuned { label: "MIAdam3", name: Name::MiAdam, order: 3, ..ADAM },
];

impl Tuned {
    /// So many settings at random, the same at each call. All optimizers draw from the same distributions, as far as they have
    /// the setting.
    pub fn trials(&self, count: usize) -> Vec<Setting> {
        let mut random = Random(self.label.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte)));
        (0..count).map(|_| self.draw(&mut random)).collect()
    }

    fn draw(&self, random: &mut Random) -> Setting {
        let [low, high] = self.rates;
        let exact = low * (high / low).powf(f64::from(random.uniform()));
        // Two digits are enough to repeat it by hand.
        let lr = format!("{exact:.1e}").parse().unwrap_or(exact);
        let mut pick = |of: &[f64]| of[random.below(of.len())];
        let beta1 = pick(&[0.9, 0.95, 0.98]);
        let course = [Course::Constant, Course::Steps, Course::Cosine][pick(&[0.0, 1.0, 2.0]) as usize];
        let mut setting = Setting { course, ..Setting::new(self.name, lr) };
        if self.name != Name::Adai {
            setting.beta1 = beta1;
        }
        if self.averages {
            setting.average = pick(&[0.99, 0.995, 0.999]);
        }
        if self.name == Name::MiAdam {
            setting.order = self.order;
            setting.kappa = pick(&[0.5, 0.8, 0.9, 0.95]);
            setting.switch = pick(&[0.125, 0.5, 0.8]);
            setting.scale = [Scale::UnitGain, Scale::ExactGain][pick(&[0.0, 1.0]) as usize];
        }
        setting
    }
}
