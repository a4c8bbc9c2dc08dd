//! From a checkpoint to a file, without a second copy of it.

use std::collections::HashMap;
use std::io::{self, Write};

use safetensors::tensor::Metadata;

use super::contents::Checkpoint;
use super::entries::{Data, Entry, PART, entries, malformed};
use super::layout::Layout;
use crate::error::Error;

/// A file that is yet to be written.
pub(super) struct Outgoing<'a> {
    header: Vec<u8>,
    entries: Vec<Entry<'a>>,
    data_len: usize,
}

impl<'a> Outgoing<'a> {
    /// Refuses what could not be read again, by the reader's own checks.
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self, Error> {
        let entries = entries(&checkpoint.states, &checkpoint.params);
        let mut data_len = 0;
        let infos = entries.iter().map(|entry| {
            let info = entry.info(data_len);
            data_len = info.data_offsets.1;
            (entry.name.clone(), info)
        });
        let infos = infos.collect();
        let own = HashMap::from([("miadam".to_owned(), checkpoint.header.to_json()?)]);
        let header = Metadata::new(Some(own), infos)
            .map_err(malformed)
            .and_then(|metadata| serde_json::to_vec(&metadata).map_err(malformed))
            .map(padded);
        match header.and_then(|header| Layout::parse(&header, data_len as u64).map(|_| header)) {
            Ok(header) => Ok(Self { header, entries, data_len }),
            Err(error) => {
                let reason = match error {
                    Error::CheckpointFormat { reason } => reason,
                    error => error.to_string(),
                };
                Err(Error::UnreadableCheckpoint { reason })
            }
        }
    }

    /// Bytes of the file.
    pub fn len(&self) -> usize {
        8 + self.header.len() + self.data_len
    }

    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&(self.header.len() as u64).to_le_bytes())?;
        out.write_all(&self.header)?;
        let mut part = Vec::with_capacity(PART);
        for entry in &self.entries {
            match entry.data {
                Data::Param(param) => out.write_all(&param.bytes)?,
                Data::Plane(values) => {
                    for values in values.chunks(PART / 4) {
                        part.clear();
                        part.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                        out.write_all(&part)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// To a multiple of 8 bytes, so that the data is aligned.
fn padded(mut header: Vec<u8>) -> Vec<u8> {
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use crate::cpu;
    use crate::options::{GradOptions, Hyperparams};
    use crate::param::{Param, ParamGroup};

    /// Ways to damage a checkpoint in memory, as a readback that the device did not write might, and what a reader says.
    type Damage = (&'static str, fn(&mut Checkpoint));

    const DAMAGES: [Damage; 15] = [
        ("loss_scale", |checkpoint| checkpoint.header.loss_scale = 0.0),
        // JSON has neither.
        ("null", |checkpoint| checkpoint.header.loss_scale = f32::INFINITY),
        ("null", |checkpoint| checkpoint.header.loss_scale = f32::NAN),
        ("version 3", |checkpoint| checkpoint.header.version = 3),
        ("kappa", |checkpoint| checkpoint.header.groups[0].hyperparams.kappa = 1.5),
        ("factor", |checkpoint| checkpoint.header.gradients = GradOptions { factor: -1.0, ..GradOptions::default() }),
        ("integral/2/w", |checkpoint| checkpoint.header.groups[0].hyperparams.order = 2),
        ("max_second_moment/w", |checkpoint| checkpoint.header.groups[0].hyperparams.amsgrad = true),
        ("no clock", |checkpoint| drop(checkpoint.header.clocks.pop())),
        ("`u`", |checkpoint| checkpoint.header.frozen.push("u".to_owned())),
        ("`w`", |checkpoint| checkpoint.header.groups[0].params.push("w".to_owned())),
        ("each parameter once", |checkpoint| drop(checkpoint.header.groups[0].params.pop())),
        ("belongs to no parameter", |checkpoint| {
            checkpoint.header.groups[0].params.pop();
            checkpoint.header.clocks[0].params.pop();
        }),
        ("first_moment/v", |checkpoint| drop(checkpoint.states.pop())),
        ("shape [3]", |checkpoint| checkpoint.params.get_mut("w").unwrap().bytes.extend([0; 4])),
    ];

    #[test]
    fn a_damaged_checkpoint_replaces_nothing() {
        let params = [Param::new("w", 2), Param::new("v", 1)];
        let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)]).unwrap();
        let mut good = optimizer.read_checkpoint();
        good.insert_param("w", &[1.0f32, 2.0]).unwrap();
        let path = std::env::temp_dir().join(format!("miadam-damaged-{}", std::process::id()));
        for (expected, damage) in DAMAGES {
            good.save(&path).unwrap();
            let mut damaged = good.clone();
            damage(&mut damaged);
            let error = damaged.save(&path).unwrap_err();
            assert!(matches!(&error, Error::UnreadableCheckpoint { reason } if reason.contains(expected)), "{error}");
            assert!(Checkpoint::open(&path).unwrap() == good, "{expected}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
