//! A file of one JSON object a step.

use std::fs::{self, File};
use std::io::{LineWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub step: usize,
    /// In nats a character, before the step.
    pub loss: f32,
    /// Since the start.
    pub seconds: f64,
    pub optimizer: String,
    pub device: String,
}

pub struct Metrics {
    name: String,
    file: LineWriter<File>,
}

impl Metrics {
    /// Begins a file, in place of one that may be there.
    pub fn create(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let file = File::create(path)
            .map_err(|error| format!("--metrics {name}: {error}; choose a file in a folder that you may write to"))?;
        Ok(Self { name, file: LineWriter::new(file) })
    }

    pub fn write(&mut self, line: &Line) -> Result<(), String> {
        let written =
            serde_json::to_writer(&mut self.file, line).map_err(Into::into).and_then(|()| writeln!(self.file));
        written.map_err(|error| format!("--metrics {}: {error}; make room for it", self.name))
    }
}

/// The lines of a file.
pub fn read(path: &Path) -> Result<Vec<Line>, String> {
    let name = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| format!("{name}: {error}; give a file that --metrics wrote"))?;
    let line = |(number, line)| {
        serde_json::from_str(line)
            .map_err(|error| format!("{name}: line {} is none of --metrics: {error}; write the file anew", number + 1))
    };
    let lines: Vec<Line> = text.lines().enumerate().map(line).collect::<Result<_, _>>()?;
    if lines.is_empty() {
        return Err(format!("{name}: the file is empty; give one of a run with a step or more"));
    }
    Ok(lines)
}
