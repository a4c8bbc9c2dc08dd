//! The rows of all runs, as a CSV file that grows by a row an epoch.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::paper::optimizer::Kind;

const HEADER: &str = "data,model,optimizer,seed,epoch,train_loss,test_accuracy,seconds";

/// Which run a row is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Name {
    pub data: String,
    pub model: String,
    pub optimizer: Kind,
    pub seed: u64,
}

/// An epoch of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub epoch: usize,
    /// Mean over the batches, in nats.
    pub train_loss: f32,
    /// In percent.
    pub test_accuracy: f64,
    /// For the epoch, test and all.
    pub seconds: f64,
}

/// All runs so far, in the order in which they were made.
pub struct Results {
    file: PathBuf,
    pub runs: Vec<(Name, Vec<Row>)>,
}

impl Results {
    /// Begins a file that is not there yet.
    pub fn create(file: PathBuf) -> Result<Self, String> {
        let results = Self { file, runs: Vec::new() };
        results.save()?;
        Ok(results)
    }

    pub fn open(file: PathBuf) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("{name}: {error}; leave out --resume to begin, or give the folder of a run"))?;
        let runs = read(&text).map_err(|(line, fault)| {
            format!("{name}: line {line}: {fault}; begin in another folder, or mend the line")
        })?;
        Ok(Self { file, runs })
    }

    /// The rows of a run.
    pub fn rows(&mut self, name: &Name) -> &mut Vec<Row> {
        let place = self.runs.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.runs.push((name.clone(), Vec::new()));
            self.runs.len() - 1
        });
        &mut self.runs[place].1
    }

    /// Writes the file, at once or not at all.
    pub fn save(&self) -> Result<(), String> {
        let mut text = format!("{HEADER}\n");
        for (Name { data, model, optimizer, seed }, rows) in &self.runs {
            for Row { epoch, train_loss, test_accuracy, seconds } in rows {
                let run = format!("{data},{model},{},{seed}", optimizer.flag());
                text += &format!("{run},{epoch},{train_loss},{test_accuracy},{seconds:.1}\n");
            }
        }
        replace(&self.file, text.as_bytes())
    }
}

/// Puts a file in another's place, at once or not at all.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), String> {
    let new = file.with_extension("new");
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, file));
    written.map_err(|error| format!("--out: {}: {error}; choose a folder that you may write to", file.display()))
}

type Runs = Vec<(Name, Vec<Row>)>;

/// The runs of a CSV file, or a line's number and fault.
fn read(text: &str) -> Result<Runs, (usize, String)> {
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    match lines.next() {
        Some((_, HEADER)) => {}
        _ => return Err((1, format!("is not `{HEADER}`"))),
    }
    let mut runs: Runs = Vec::new();
    for (number, line) in lines {
        let (name, row) = parsed(line).ok_or_else(|| (number, "is no row of eight columns".to_owned()))?;
        match runs.iter_mut().find(|(other, _)| *other == name) {
            Some((_, rows)) => rows.push(row),
            None => runs.push((name, vec![row])),
        }
    }
    Ok(runs)
}

fn parsed(line: &str) -> Option<(Name, Row)> {
    let columns: Vec<&str> = line.split(',').collect();
    let [data, model, optimizer, seed, epoch, train_loss, test_accuracy, seconds] = *columns.as_slice() else {
        return None;
    };
    let name = Name {
        data: data.to_owned(),
        model: model.to_owned(),
        optimizer: Kind::from_flag(optimizer)?,
        seed: seed.parse().ok()?,
    };
    let row = Row {
        epoch: epoch.parse().ok()?,
        train_loss: train_loss.parse().ok()?,
        test_accuracy: test_accuracy.parse().ok()?,
        seconds: seconds.parse().ok()?,
    };
    Some((name, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs.csv");
        let mut results = Results::create(file.clone()).unwrap();
        for (optimizer, seed) in [(Kind::Adam, 1), (Kind::Miadam1, 1), (Kind::Adam, 2)] {
            let name = Name { data: "CIFAR-10".to_owned(), model: "ResNet-18".to_owned(), optimizer, seed };
            for epoch in 1..=3 {
                let train_loss = if seed == 2 { f32::INFINITY } else { 0.1 + epoch as f32 };
                let row = Row { epoch, train_loss, test_accuracy: 100.0 / 3.0, seconds: 2.5 };
                results.rows(&name).push(row);
            }
        }
        results.save().unwrap();
        assert_eq!(Results::open(file.clone()).unwrap().runs, results.runs);

        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(",miadam1,", ",none,")).unwrap();
        let error = Results::open(file).err().unwrap();
        assert!(error.contains("runs.csv: line 5: is no row of eight columns; "), "{error}");
    }
}
