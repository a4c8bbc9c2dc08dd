//! A run as a file: a check sum, and the two optimizers' checkpoints, one after the other. The first also has what the page keeps.

use miadam::Checkpoint;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::Result;
use crate::settings::Settings;

const MAGIC: &[u8; 8] = b"miadamW1";
const SETTINGS: &str = "settings";
const PAGE: &str = "page";

pub struct Saved {
    pub settings: Settings,
    /// What the page has written: its curves.
    pub page: String,
    pub checkpoints: [Checkpoint; 2],
}

impl Saved {
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let [mut adam, miadam] = self.checkpoints.clone();
        adam.user_data_mut().insert(SETTINGS.to_owned(), crate::settings::json(&self.settings));
        adam.user_data_mut().insert(PAGE.to_owned(), self.page.clone());
        let adam = adam.to_bytes().map_err(|error| format!("{error}."))?;
        let miadam = miadam.to_bytes().map_err(|error| format!("{error}."))?;
        let parts = [&(adam.len() as u64).to_le_bytes()[..], &adam, &miadam].concat();
        Ok([&MAGIC[..], &sum(&parts).to_le_bytes(), &parts].concat())
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let refused =
            |reason: &str| format!("The file is no checkpoint of this page: {reason}. The run goes on as it was.");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| refused("it begins with something else"))?;
        let (expected, rest) = rest.split_first_chunk().ok_or_else(|| refused("it is cut short"))?;
        if sum(rest) != u64::from_le_bytes(*expected) {
            return Err(refused("it has changed since it was saved, or is cut short"));
        }
        let (len, rest) = rest.split_first_chunk().ok_or_else(|| refused("it is cut short"))?;
        let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
        let (adam, miadam) = rest.split_at_checked(len).ok_or_else(|| refused("it is cut short"))?;
        let open = |part| Checkpoint::from_bytes(part).map_err(|error| refused(&error.to_string()));
        let checkpoints = [open(adam)?, open(miadam)?];
        let text =
            |key: &str| checkpoints[0].user_data().get(key).cloned().ok_or_else(|| refused("it lacks the settings"));
        let settings = Settings::parse(&text(SETTINGS)?).map_err(|reason| refused(&reason))?;
        if checkpoints[0].step() != checkpoints[1].step() {
            return Err(refused("its two parts are of different steps"));
        }
        Ok(Self { settings, page: text(PAGE)?, checkpoints })
    }
}

/// The 64-bit sum of Fowler, Noll and Vo (FNV-1a). Weights with a wrong bit would train on, and nobody would know why.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The settings and what the page wrote, of a file's bytes: `[settings, page]` as JSON.
///
/// # Errors
/// If the file is broken.
#[wasm_bindgen]
pub fn look_into(bytes: &[u8]) -> Result<String> {
    let Saved { settings, page, .. } = Saved::from_bytes(bytes)?;
    Ok(crate::settings::json(&(settings, page)))
}

#[cfg(test)]
mod tests {
    use miadam::cpu::MiAdam;
    use miadam::{Param, ParamGroup};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn a_file_comes_back_whole_or_is_refused() {
        let settings = Settings::parse(&crate::settings::preset("paper", 100).unwrap()).unwrap();
        let checkpoint =
            |hyperparams| MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 9)])]).unwrap().read_checkpoint();
        let checkpoints = [checkpoint(settings.adam()), checkpoint(settings.miadam())];
        let saved = Saved { settings: settings.clone(), page: "[1]".to_owned(), checkpoints };
        let bytes = saved.to_bytes().unwrap();
        let read = Saved::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!((read.settings, read.page), (settings, saved.page));
        for len in (0..bytes.len()).step_by(7) {
            assert!(Saved::from_bytes(&bytes[..len]).is_err(), "cut to {len}");
        }
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let message = Saved::from_bytes(&changed).map(drop).unwrap_err();
            assert!(message.starts_with("The file is no checkpoint of this page"), "{message}");
        }
    }
}
