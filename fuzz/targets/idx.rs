//! Reads any two files as images and labels of the example `mlp_mnist`: the first two bytes are the length of the first.
//! Samples that are read are consistent, and the same files gzipped are the same samples.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use miadam_support::mnist::data::{Samples, read_samples};
use miadam_support::mnist::network::{CLASSES, INPUTS};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, files)) = bytes.split_first_chunk() else { return };
    let (images, labels) = files.split_at(files.len().min(u16::from_be_bytes(*len).into()));
    let plain = read(images, labels);
    if let Ok(samples) = &plain {
        assert!(samples.len() > 0);
        assert_eq!(samples.images.len(), INPUTS * samples.len());
        assert!(samples.labels.iter().all(|&label| usize::from(label) < CLASSES));
    }
    let is_gzip = |file: &[u8]| file.starts_with(&[0x1f, 0x8b]);
    if !is_gzip(images) && !is_gzip(labels) {
        assert_eq!(read(&gzip(images), &gzip(labels)), plain);
    }
});

fn read(images: &[u8], labels: &[u8]) -> Result<Samples, String> {
    read_samples(("images", images), ("labels", labels)).map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
