//! What a checkpoint's file says of itself. Nothing in it is trusted.

use std::collections::{HashMap, HashSet};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::entries::{malformed, malformed_entry};
use super::gains::gains_after;
use super::header::{Header, check_unique_names};
use crate::abi::Gain;
use crate::clock::Clock;
use crate::error::Error;
use crate::options::{Hyperparams, StatePrecision};
use crate::planes::{Plane, Planes};

/// As much as safetensors' own reader takes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Refuses a header that is too long, before so much memory is asked for.
pub(super) fn check_header_len(len: u64) -> Result<(), Error> {
    if len > LONGEST_HEADER { Err(malformed(SafeTensorError::HeaderTooLarge)) } else { Ok(()) }
}

/// What a file's header says, all of it checked: the settings, and which tensors there are and where.
pub(super) struct Layout {
    pub header: Header,
    pub places: Vec<Place>,
}

/// Where the tensors of a parameter begin, in bytes of the data.
pub(super) struct Place {
    pub name: String,
    pub len: usize,
    pub list: Planes,
    pub clock: Clock,
    pub planes: Vec<usize>,
    pub param: Option<(crate::dtype::Dtype, usize)>,
}

impl Layout {
    /// The layout of a file with this header, and so many bytes of data after it.
    pub fn parse(header: &[u8], data_len: u64) -> Result<Self, Error> {
        check_header_len(header.len() as u64)?;
        let text = str::from_utf8(header).map_err(|error| malformed(SafeTensorError::InvalidHeader(error)))?;
        let metadata: Metadata = serde_json::from_str(text)
            .map_err(|error| malformed(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        if metadata.data_len() as u64 != data_len {
            return Err(malformed(SafeTensorError::MetadataIncompleteBuffer));
        }
        check_unique_names(header)?;
        let json = metadata.metadata().as_ref().and_then(|entries| entries.get("miadam"));
        let mut header = Header::parse(json.ok_or_else(|| malformed("there is no metadata `miadam`"))?)?;
        let mut entries = Entries { metadata: &metadata, taken: HashSet::new() };
        let mut places = Vec::new();
        let counts = header.counts_by_name();
        for group in &header.groups {
            for name in &group.params {
                let clock = counts.get(&name[..]).copied().cloned().unwrap_or_default();
                places.push(entries.place(name, &group.hyperparams, clock)?);
            }
        }
        entries.check_all_taken()?;
        complete_gains(&mut header, &mut places)?;
        Ok(Self { header, places })
    }
}

/// The tensors of a file, as far as they have found a place.
struct Entries<'a> {
    metadata: &'a Metadata,
    taken: HashSet<String>,
}

impl Entries<'_> {
    /// The place of a parameter of a group with these hyperparameters.
    fn place(&mut self, name: &str, hyperparams: &Hyperparams, clock: Clock) -> Result<Place, Error> {
        // All integrals are there, or none once they are released.
        let needed = clock.step < hyperparams.last_integrating();
        let mut list = Planes {
            precision: StatePrecision::F32,
            amsgrad: hyperparams.amsgrad,
            master: self.has(Plane::Master, name),
            average: self.has(Plane::Average, name),
            integrals: if needed || self.has(Plane::Integral(1), name) { hyperparams.order } else { 0 },
        };
        let (mut len, mut planes) = (None, Vec::new());
        for plane in list.iter() {
            let info = self.plane(plane, name, len)?;
            len = info.shape.first().copied();
            planes.push(info.data_offsets.0);
        }
        let len = len.unwrap_or_default();
        list.precision = hyperparams.precision_of(len);
        Ok(Place { name: name.to_owned(), len, list, clock, planes, param: self.param(name, len)? })
    }

    /// The type and the offset of a parameter's values, if they were saved.
    fn param(&mut self, name: &str, len: usize) -> Result<Option<(crate::dtype::Dtype, usize)>, Error> {
        let entry = format!("param/{name}");
        let Some(info) = self.metadata.info(&entry) else { return Ok(None) };
        let dtype = match info.dtype {
            Dtype::F32 => crate::dtype::Dtype::F32,
            Dtype::F16 => crate::dtype::Dtype::F16,
            Dtype::BF16 => crate::dtype::Dtype::Bf16,
            other => return Err(malformed_entry(&entry, format!("it is {other:?}, not F32, F16 or BF16"))),
        };
        check_shape(&entry, &info.shape, Some(len))?;
        self.taken.insert(entry);
        Ok(Some((dtype, info.data_offsets.0)))
    }

    fn has(&self, plane: Plane, name: &str) -> bool {
        self.metadata.info(&format!("{plane}/{name}")).is_some()
    }

    /// A tensor of `f32`, as long as it must be.
    fn plane(&mut self, plane: Plane, name: &str, len: Option<usize>) -> Result<&TensorInfo, Error> {
        let entry = format!("{plane}/{name}");
        let Some(info) = self.metadata.info(&entry) else {
            return Err(malformed_entry(&entry, "it is missing"));
        };
        if info.dtype != Dtype::F32 {
            return Err(malformed_entry(&entry, format!("it is {:?}, not F32", info.dtype)));
        }
        check_shape(&entry, &info.shape, len)?;
        self.taken.insert(entry);
        Ok(info)
    }

    /// Checks that every tensor of the file has a place.
    fn check_all_taken(&self) -> Result<(), Error> {
        let names = self.metadata.offset_keys().into_iter();
        match names.filter(|name| !self.taken.contains(name)).min() {
            None => Ok(()),
            Some(entry) => Err(malformed_entry(&entry, "it belongs to no parameter of any group")),
        }
    }
}

/// Checks the gains of all parameters, which are in the order of the groups. Where there are none, they become those of
/// parameters that were under the same hyperparameters from the start.
fn complete_gains(header: &mut Header, places: &mut [Place]) -> Result<(), Error> {
    let mut left = places.iter_mut();
    for group in &header.groups {
        let mut known = HashMap::new();
        for place in left.by_ref().take(group.params.len()) {
            let (step, gains) = (place.clock.step, &mut place.clock.gains);
            if gains.is_empty() && place.list.integrals > 0 {
                gains.clone_from(known.entry(step).or_insert_with(|| gains_after(step, &group.hyperparams)));
            }
            let (found, integrals) = (gains.len(), group.hyperparams.order);
            if found > 0 && found != integrals as usize {
                return Err(malformed_entry(&place.name, format!("it has {found} gains, but {integrals} integrals")));
            }
            if !gains.iter().all(is_gain) {
                return Err(malformed_entry(&place.name, "one of its gains is no number"));
            }
        }
    }
    header.set_clocks(places.iter().map(|place| (&place.name[..], &place.clock)));
    Ok(())
}

/// Whether it is 0 or has a first bit, and an exponent far from the ends of its type.
fn is_gain(gain: &Gain) -> bool {
    let Gain { high, low, exponent } = *gain;
    if high >> 31 == 1 { exponent.unsigned_abs() < 1 << 30 } else { (high, low, exponent) == (0, 0, 0) }
}

fn check_shape(entry: &str, shape: &[usize], len: Option<usize>) -> Result<(), Error> {
    match (shape, len) {
        ([_], None) => Ok(()),
        (&[found], Some(len)) if found == len => Ok(()),
        _ => {
            let expected = len.map_or("one dimension".to_owned(), |len| format!("[{len}]"));
            Err(malformed_entry(entry, format!("it has shape {shape:?}, not {expected}")))
        }
    }
}
