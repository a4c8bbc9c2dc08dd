//! Texts and their labels: `label TAB text`, one a line.

use std::fs;
use std::path::Path;

/// The texts of `train.tsv` and `test.tsv`.
#[derive(Debug)]
pub struct Texts {
    pub train: Part,
    pub test: Part,
    /// The names of the classes, in order.
    pub classes: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Part {
    pub texts: Vec<String>,
    pub labels: Vec<usize>,
}

impl Texts {
    /// Reads both files of a folder.
    ///
    /// # Errors
    /// If one is absent, empty, or not such lines of UTF-8. The message names file, line and remedy.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let train = lines(&folder.join("train.tsv"))?;
        let mut classes: Vec<String> = train.iter().map(|(label, _)| label.clone()).collect();
        classes.sort();
        classes.dedup();
        if classes.len() < 2 {
            return Err(format!(
                "{}: all labels are `{}`; give texts of two classes or more",
                folder.join("train.tsv").display(),
                classes.join("")
            ));
        }
        let file = folder.join("test.tsv");
        let mut texts = Self { train: Part::default(), test: Part::default(), classes };
        for (label, text) in train {
            let label = texts.class(&label).unwrap_or_default();
            texts.train.push(label, text);
        }
        for (number, (label, text)) in lines(&file)?.into_iter().enumerate() {
            let class = texts.class(&label).ok_or_else(|| {
                format!(
                    "{}: text {} is of class `{label}`, which train.tsv has not; remove it",
                    file.display(),
                    number + 1
                )
            })?;
            texts.test.push(class, text);
        }
        Ok(texts)
    }

    fn class(&self, label: &str) -> Option<usize> {
        self.classes.binary_search_by(|class| class.as_str().cmp(label)).ok()
    }

    /// A few lines, to train on and to test on.
    pub fn made_up() -> Self {
        let part = || {
            let mut part = Part::default();
            for (label, text) in
                [(0, "grain prices fell"), (1, "a fine film !"), (0, "wheat exports rose"), (1, "dull")]
            {
                part.push(label, text.to_owned());
            }
            part
        };
        Self { train: part(), test: part(), classes: vec!["grain".to_owned(), "film".to_owned()] }
    }
}

impl Part {
    fn push(&mut self, label: usize, text: String) {
        self.labels.push(label);
        self.texts.push(text);
    }
}

fn lines(file: &Path) -> Result<Vec<(String, String)>, String> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| {
        format!("{name}: {error}; --data has a folder for each data set, with train.tsv and test.tsv in it")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}: line {line} is not UTF-8; convert the file, as with `iconv -f latin1 -t utf8`")
    })?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (label, text) = line
            .split_once('\t')
            .ok_or_else(|| format!("{name}: line {} has no tab; write each as label, tab, text", number + 1))?;
        lines.push((label.trim().to_owned(), text.trim().to_owned()));
    }
    if lines.is_empty() {
        return Err(format!("{name}: there is no line; write each as label, tab, text"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_labels_and_texts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let refused = || Texts::read(folder.path()).unwrap_err();
        assert!(refused().contains("train.tsv: ") && refused().contains("--data has a folder"), "{}", refused());
        write("train.tsv", b"earn\tnet 5 cts\n\nacq\tbuys\tshares\r\nearn\t\n");
        assert!(refused().contains("test.tsv: "), "{}", refused());
        write("test.tsv", b"acq\tsold\nearn dividend\n");
        assert!(refused().contains("test.tsv: line 2 has no tab; "), "{}", refused());
        write("test.tsv", b"acq\tsold\nship\tport\n");
        assert!(refused().contains("test.tsv: text 2 is of class `ship`, which train.tsv has not"), "{}", refused());
        write("test.tsv", b"acq\tsold\nacq\tcaf\xe9\n");
        assert!(refused().contains("test.tsv: line 2 is not UTF-8; "), "{}", refused());
        write("test.tsv", b"acq\tsold\n");
        let texts = Texts::read(folder.path()).unwrap();
        assert_eq!(texts.classes, ["acq", "earn"]);
        assert_eq!(texts.train.labels, [1, 0, 1]);
        assert_eq!(texts.train.texts, ["net 5 cts", "buys\tshares", ""]);
        assert_eq!((texts.test.labels, texts.test.texts), (vec![0], vec!["sold".to_owned()]));
        write("train.tsv", b"acq\tsold\n");
        assert!(refused().contains("all labels are `acq`; "), "{}", refused());
    }
}
