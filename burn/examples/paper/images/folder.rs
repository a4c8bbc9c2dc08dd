//! A folder of pictures: `train/CLASS/*` and `val/CLASS/*`, as ImageNet is usually unpacked.

use std::fs;
use std::path::{Path, PathBuf};

use miadam_support::mnist::random::Random;

use crate::paper::images::resample::Area;

/// The files of a part, and their classes by number.
#[derive(Debug, Default)]
pub struct Files {
    pub files: Vec<PathBuf>,
    pub labels: Vec<usize>,
}

/// Both parts.
#[derive(Debug)]
pub struct Folder {
    pub train: Files,
    pub val: Files,
    pub classes: usize,
}

impl Folder {
    /// Lists the files. Classes are numbered by their names.
    ///
    /// # Errors
    /// If a part is absent or empty, or the two have not the same classes. The message names folder and remedy.
    pub fn list(data: &Path) -> Result<Self, String> {
        let (names, train) = part(&data.join("train"))?;
        let (val_names, val) = part(&data.join("val"))?;
        if let Some(name) = names.iter().find(|name| !val_names.contains(name)) {
            return Err(format!(
                "{}: it is not there, but in train; sort the validation images into classes, too",
                data.join("val").join(name).display()
            ));
        }
        if let Some(name) = val_names.iter().find(|name| !names.contains(name)) {
            return Err(format!(
                "{}: it is not there, but in val; unpack the training images, too",
                data.join("train").join(name).display()
            ));
        }
        Ok(Self { train, val, classes: names.len() })
    }
}

fn part(folder: &Path) -> Result<(Vec<String>, Files), String> {
    let layout = "--data is a folder with train/CLASS/*.jpg and val/CLASS/*.jpg";
    let names = entries(folder).map_err(|error| format!("{}: {error}; {layout}", folder.display()))?;
    let mut files = Files::default();
    let mut classes = Vec::new();
    for class in names.into_iter().filter(|path| path.is_dir()) {
        let images = entries(&class).map_err(|error| format!("{}: {error}; {layout}", class.display()))?;
        let images: Vec<_> = images.into_iter().filter(|file| is_image(file)).collect();
        if images.is_empty() {
            return Err(format!("{}: there is no .jpg, .jpeg or .png file; {layout}", class.display()));
        }
        files.labels.extend(std::iter::repeat_n(classes.len(), images.len()));
        files.files.extend(images);
        classes.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    if classes.len() < 2 {
        return Err(format!("{}: there are fewer than two classes; {layout}", folder.display()));
    }
    Ok((classes, files))
}

/// The paths in a folder, in order.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn is_image(file: &Path) -> bool {
    let kind = file.extension().map(|kind| kind.to_string_lossy().to_lowercase());
    kind.is_some_and(|kind| ["jpg", "jpeg", "png"].contains(&kind.as_str()))
}

/// The part of a picture to test on: a square in the middle, 224 of 256 of its shorter side.
pub fn middle([width, height]: [usize; 2]) -> Area {
    let side = width.min(height) as f64 * 224.0 / 256.0;
    Area { left: (width as f64 - side) / 2.0, top: (height as f64 - side) / 2.0, width: side, height: side }
}

/// A part to train on, as torchvision's `RandomResizedCrop` chooses it: 8 to 100 % of the picture, 3 to 4 up to 4 to 3 in shape.
pub fn random(random: &mut Random, [width, height]: [usize; 2]) -> Area {
    let [whole_width, whole_height] = [width as f64, height as f64];
    let mut uniform = |low: f64, high: f64| low + (high - low) * random.below(1 << 24) as f64 / f64::from(1 << 24);
    for _ in 0..10 {
        let size = whole_width * whole_height * uniform(0.08, 1.0);
        let shape = uniform((3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln()).exp();
        let (width, height) = ((size * shape).sqrt().round(), (size / shape).sqrt().round());
        if (1.0..=whole_width).contains(&width) && (1.0..=whole_height).contains(&height) {
            let left = uniform(0.0, whole_width - width).round();
            let top = uniform(0.0, whole_height - height).round();
            return Area { left, top, width, height };
        }
    }
    let side = whole_width.min(whole_height);
    Area { left: (whole_width - side) / 2.0, top: (whole_height - side) / 2.0, width: side, height: side }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_classes() {
        let data = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = data.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        };
        let refused = || Folder::list(data.path()).unwrap_err();
        assert!(refused().contains("train: ") && refused().contains("--data is a folder with"), "{}", refused());
        for name in ["train/b/1.JPEG", "train/a/2.jpg", "train/a/1.png", "train/a/notes.txt", "val/a/1.jpg"] {
            file(name);
        }
        assert!(refused().contains("val: there are fewer than two classes"), "{}", refused());
        file("val/c/1.jpg");
        assert!(refused().contains("val/b: it is not there, but in train"), "{}", refused());
        file("val/b/1.jpg");
        assert!(refused().contains("train/c: it is not there, but in val"), "{}", refused());
        file("train/c/1.jpg");
        let Folder { train, val, classes } = Folder::list(data.path()).unwrap();
        assert_eq!((train.labels, val.labels, classes), (vec![0, 0, 1, 2], vec![0, 1, 2], 3));
        assert!(train.files[0].ends_with("train/a/1.png") && train.files[1].ends_with("train/a/2.jpg"));
    }

    #[test]
    fn areas_lie_in_the_picture() {
        let mut numbers = Random::new(1, 2);
        for size in [[500, 375], [30, 400], [224, 224], [1, 1]] {
            for _ in 0..1000 {
                let Area { left, top, width, height } = random(&mut numbers, size);
                let [whole_width, whole_height] = size.map(|len| len as f64);
                assert!(left >= 0.0 && top >= 0.0 && left + width <= whole_width && top + height <= whole_height);
                assert!(width >= 1.0 && height >= 1.0);
            }
        }
        assert_eq!(middle([512, 256]), Area { left: 144.0, top: 16.0, width: 224.0, height: 224.0 });
    }
}
