//! The grid of settings.

use crate::setting::{Name, Scale, Setting};

/// All that is combined.
pub struct Grid {
    pub orders: Vec<u32>,
    pub scales: Vec<Scale>,
    /// κ, from left to right.
    pub kappas: Vec<f64>,
    /// Learning rates, from the bottom up.
    pub rates: Vec<f64>,
    /// Switches, as parts of the run.
    pub switches: Vec<f64>,
}

impl Grid {
    pub fn whole() -> Self {
        Self {
            orders: vec![1, 2, 3],
            scales: vec![Scale::Paper, Scale::Reference, Scale::UnitGain, Scale::ExactGain],
            kappas: vec![0.5, 0.8, 0.9, 0.95, 0.98],
            rates: vec![2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3],
            // An eighth is about the authors' 19 of 150 epochs.
            switches: vec![0.125, 0.8],
        }
    }

    pub fn corner() -> Self {
        Self { orders: vec![1], kappas: vec![0.5, 0.9], rates: vec![1e-3, 4e-3], switches: vec![0.8], ..Self::whole() }
    }

    pub fn setting(&self, order: u32, scale: Scale, switch: f64, kappa: f64, lr: f64) -> Setting {
        Setting { switch, ..Setting::miadam(order, kappa, scale, lr) }
    }

    /// Adam, at each learning rate: what all else is compared with.
    pub fn adam(&self) -> impl Iterator<Item = Setting> {
        self.rates.iter().map(|&lr| Setting::new(Name::Adam, lr))
    }

    /// All of them, Adam's first.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings: Vec<_> = self.adam().collect();
        for &order in &self.orders {
            for &scale in &self.scales {
                for &switch in &self.switches {
                    for &kappa in &self.kappas {
                        settings.extend(self.rates.iter().map(|&lr| self.setting(order, scale, switch, kappa, lr)));
                    }
                }
            }
        }
        settings
    }
}
