//! MNIST as IDX files, plain or gzipped, from a folder or from the ten thousand digits compiled in.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::MultiGzDecoder;

use super::network::{CLASSES, INPUTS};
use super::random::Random;

/// A file of the digits compiled in, which lie with the example that is known by them.
macro_rules! digits {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mlp_mnist/data/", $name))
    };
}

const IMAGES: &[u8] = digits!("t10k-images-idx3-ubyte.gz");
const LABELS: &[u8] = digits!("t10k-labels-idx1-ubyte.gz");
/// How many of the digits compiled in train; the others are held out.
const BUILT_IN_TRAIN: usize = 8_000;

/// More images than any relative of MNIST has that fits into memory beside its training.
const MAX_SAMPLES: u64 = 1_000_000;

/// Images with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// [`INPUTS`] bytes per image, 0 to 255.
    pub images: Vec<u8>,
    /// 0 to 9.
    pub labels: Vec<u8>,
}

impl Samples {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Gives a fraction of the labels another class, chosen at random.
    pub fn add_label_noise(&mut self, fraction: f64, random: &mut Random) {
        let mut victims: Vec<usize> = (0..self.len()).collect();
        random.shuffle(&mut victims);
        victims.truncate((fraction * self.len() as f64).round() as usize);
        for victim in victims {
            let label = usize::from(self.labels[victim]);
            self.labels[victim] = ((label + 1 + random.below(CLASSES - 1)) % CLASSES) as u8;
        }
    }
}

/// What to train on and what to test on.
#[derive(Debug, Clone)]
pub struct Data {
    pub train: Samples,
    pub test: Samples,
}

impl Data {
    /// The complete MNIST of a folder.
    pub fn from_folder(folder: &Path) -> Result<Self, Box<dyn Error>> {
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(format!("--data {folder}: not a folder; name one that holds the four MNIST IDX files").into());
        }
        let samples = |part: &str| -> Result<Samples, Box<dyn Error>> {
            let images = find(folder, part, "images", "idx3")?;
            let labels = find(folder, part, "labels", "idx1")?;
            let open = |path: &Path| {
                File::open(path).map_err(|error| format!("{}: {error}; make it readable", path.display()))
            };
            read_samples(
                (&images.display().to_string(), BufReader::new(open(&images)?)),
                (&labels.display().to_string(), BufReader::new(open(&labels)?)),
            )
        };
        Ok(Self { train: samples("train")?, test: samples("t10k")? })
    }

    /// A check sum that tells data apart.
    pub fn sum(&self) -> u32 {
        let mut sum = Crc::new();
        for Samples { images, labels } in [&self.train, &self.test] {
            sum.update(images);
            sum.update(labels);
        }
        sum.sum()
    }

    /// The digits compiled in: the first 8,000 to train on, the last 2,000 to test on.
    pub fn built_in() -> Result<Self, Box<dyn Error>> {
        let mut train =
            read_samples(("built-in images", Cursor::new(IMAGES)), ("built-in labels", Cursor::new(LABELS)))?;
        let test = Samples {
            images: train.images.split_off(BUILT_IN_TRAIN * INPUTS),
            labels: train.labels.split_off(BUILT_IN_TRAIN),
        };
        Ok(Self { train, test })
    }
}

/// The file by one of the four names under which MNIST is passed around.
fn find(folder: &Path, part: &str, what: &str, idx: &str) -> Result<PathBuf, Box<dyn Error>> {
    let name = format!("{part}-{what}-{idx}-ubyte");
    let dotted = format!("{part}-{what}.{idx}-ubyte");
    [&name, &dotted]
        .into_iter()
        .flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))])
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let folder = folder.display();
            format!("--data {folder}: there is no {name} or {name}.gz; put the four MNIST IDX files there").into()
        })
}

pub fn read_samples<R: Read>(images: (&str, R), labels: (&str, R)) -> Result<Samples, Box<dyn Error>> {
    let (image_name, label_name) = (images.0, labels.0);
    let images = read_idx(images.0, images.1, &[28, 28])?;
    let labels = read_idx(labels.0, labels.1, &[])?;
    if images.len() / INPUTS != labels.len() {
        let (images, labels) = (images.len() / INPUTS, labels.len());
        return Err(format!(
            "{label_name}: {labels} labels for the {images} images of {image_name}; use files that belong together"
        )
        .into());
    }
    if let Some(at) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        let label = labels[at];
        return Err(format!("{label_name}: label {at} is {label}; use labels from 0 to 9").into());
    }
    Ok(Samples { images, labels })
}

/// The bytes of an IDX file whose items have the dimensions `item`.
///
/// An IDX file is a big-endian header, 0x0000, 0x08 for bytes, the number of dimensions, each dimension as 32
/// bits, and then the bytes. Memory grows with the bytes that arrive, never with what a header promises.
fn read_idx(name: &str, mut source: impl Read, item: &[u32]) -> Result<Vec<u8>, String> {
    const REMEDY: &str = "download the file again";
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{name}: the file is cut short; {REMEDY}"),
        _ => format!("{name}: {error}; {REMEDY}"),
    };
    let mut start = [0; 2];
    source.read_exact(&mut start).map_err(failed)?;
    let whole = Cursor::new(start).chain(source);
    // The content tells, not the name: browsers and archive tools unpack files and leave the name as it is.
    let mut whole: Box<dyn Read> =
        if start == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };

    let mut words = vec![[0; 4]; 2 + item.len()];
    whole.read_exact(words.as_flattened_mut()).map_err(failed)?;
    let words: Vec<u32> = words.into_iter().map(u32::from_be_bytes).collect();
    let magic = 0x0800 | (1 + item.len() as u32);
    if words[0] != magic {
        let found = words[0];
        return Err(format!(
            "{name}: the magic number is {found:#010x}, not {magic:#010x}; give the IDX file of that name"
        ));
    }
    if words[2..] != *item {
        let found = &words[2..];
        return Err(format!("{name}: the items measure {found:?}, not {item:?}; give MNIST's 28 by 28 digits"));
    }
    let count = u64::from(words[1]);
    if !(1..=MAX_SAMPLES).contains(&count) {
        return Err(format!("{name}: the header says {count} items; give a file of 1 to {MAX_SAMPLES}"));
    }

    let expected = count * item.iter().map(|&dimension| u64::from(dimension)).product::<u64>();
    let mut bytes = Vec::new();
    // One byte more shows whether the file goes on, and makes gzip check its sum.
    whole.take(expected + 1).read_to_end(&mut bytes).map_err(failed)?;
    match (bytes.len() as u64).cmp(&expected) {
        std::cmp::Ordering::Less => Err(failed(io::ErrorKind::UnexpectedEof.into())),
        std::cmp::Ordering::Greater => Err(format!("{name}: the file is longer than its header says; {REMEDY}")),
        std::cmp::Ordering::Equal => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn idx(header: &[u32], bytes: &[u8]) -> Vec<u8> {
        header.iter().flat_map(|word| word.to_be_bytes()).chain(bytes.iter().copied()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn labels(file: &[u8]) -> Result<Vec<u8>, String> {
        read_idx("labels", file, &[])
    }

    /// The message must name the file and say what is wrong with it.
    fn assert_refused<T: std::fmt::Debug>(result: Result<T, String>, name: &str, reason: &str) {
        let message = result.unwrap_err();
        assert!(message.starts_with(name) && message.contains(reason), "{message:?} does not say {reason:?}");
    }

    #[test]
    fn reads_plain_and_gzipped_files() {
        let file = idx(&[0x801, 3], &[7, 0, 9]);
        assert_eq!(labels(&file).unwrap(), [7, 0, 9]);
        assert_eq!(labels(&gzip(&file)).unwrap(), [7, 0, 9]);
    }

    #[test]
    fn every_shortened_file_is_refused() {
        let file = idx(&[0x801, 3], &[7, 0, 9]);
        for len in 0..file.len() {
            assert_refused(labels(&file[..len]), "labels", "cut short");
        }
        let file = gzip(&file);
        for len in 0..file.len() {
            assert_refused(labels(&file[..len]), "labels", "");
        }
    }

    #[test]
    fn corrupt_files_are_refused() {
        assert_refused(labels(&idx(&[0x803, 3, 28, 28], &[7])), "labels", "magic number");
        assert_refused(labels(&idx(&[0x801, 2], &[7, 0, 9])), "labels", "longer");
        assert_refused(labels(&idx(&[0x801, 0], &[])), "labels", "0 items");
        assert_refused(read_idx("images", &idx(&[0x803, 1, 32, 32], &[0; 1024])[..], &[28, 28]), "images", "measure");
        let mut file = gzip(&idx(&[0x801, 3], &[7, 0, 9]));
        // The last 8 bytes are the check sum and the length.
        let sum = file.len() - 8;
        file[sum] ^= 1;
        assert_refused(labels(&file), "labels", "corrupt");
    }

    #[test]
    fn a_header_that_lies_allocates_nothing() {
        assert_refused(labels(&idx(&[0x801, u32::MAX], &[7])), "labels", "4294967295 items");
        assert_refused(labels(&idx(&[0x801, MAX_SAMPLES as u32], &[7])), "labels", "cut short");
        assert_refused(
            read_idx("images", &idx(&[0x803, 1, u32::MAX, u32::MAX], &[0])[..], &[28, 28]),
            "images",
            "measure",
        );
    }

    #[test]
    fn labels_must_fit_images_and_be_digits() {
        let images = idx(&[0x803, 2, 28, 28], &[0; 2 * INPUTS]);
        let read = |labels: &[u8]| {
            let labels = idx(&[0x801, labels.len() as u32], labels);
            read_samples(("images", &images[..]), ("labels", &labels[..])).map_err(|error| error.to_string())
        };
        assert_eq!(read(&[3, 9]).unwrap().labels, [3, 9]);
        assert_refused(read(&[3]), "labels", "1 labels for the 2 images of images");
        assert_refused(read(&[3, 10]), "labels", "label 1 is 10");
    }

    #[test]
    fn the_built_in_digits_are_all_there() {
        let data = Data::built_in().unwrap();
        assert_eq!((data.train.len(), data.test.len()), (8_000, 2_000));
        assert_eq!(data.train.labels[..5], [7, 2, 1, 0, 4]);
    }

    #[test]
    fn label_noise_replaces_the_fraction_asked_for() {
        let original = Data::built_in().unwrap().train;
        let mut noisy = original.clone();
        noisy.add_label_noise(0.25, &mut Random::new(1, 0));
        let replaced = noisy.labels.iter().zip(&original.labels).filter(|(noisy, original)| noisy != original).count();
        assert_eq!(replaced, 2_000);
        assert!(noisy.labels.iter().all(|&label| usize::from(label) < CLASSES));
    }
}
