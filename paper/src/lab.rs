//! Many runs on all cores. Each is done once: a table keeps what came out, and a later call goes on from there.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use miadam_support::command_line::without_warnings;
use miadam_support::mnist::data::Data;

use crate::threads::on_threads;
use crate::training::{Outcome, Run};

/// The columns of the table: the fields of [`Run`], then those of [`Outcome`].
const HEADER: [&str; 23] = [
    "optimizer",
    "lr",
    "schedule",
    "beta1",
    "l2",
    "ema",
    "order",
    "kappa",
    "step_scale",
    "slow",
    "switch",
    "state",
    "noise",
    "seed",
    "epochs",
    "batch",
    "hidden",
    "split",
    "last",
    "best",
    "train_loss",
    "seconds",
    "curve",
];

/// A table of runs, in a file.
pub struct Lab {
    path: PathBuf,
    records: Vec<(Run, Outcome)>,
}

impl Lab {
    /// The table of a folder, which is made if it is not there. A last row that was cut short is dropped.
    pub fn open(folder: &Path, data: &Data) -> Result<Self, Box<dyn Error>> {
        let name = folder.display();
        fs::create_dir_all(folder).map_err(|error| format!("--out {name}: {error}; choose a folder to write to"))?;
        let path = folder.join("runs.csv");
        // The digits are not among the columns, since a table is of one set of them.
        let head = format!("# of the digits with the check sum {:08x}\n{}\n", data.sum(), HEADER.join(","));
        let cannot = |error: io::Error| format!("{}: {error}; choose a folder to write to", path.display());
        let mut text = if path.exists() { fs::read_to_string(&path).map_err(cannot)? } else { head.clone() };
        if !text.starts_with(&head) {
            let path = path.display();
            return Err(
                format!("{path}: this is no table of runs on these digits; choose another folder by --out").into()
            );
        }
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        fs::write(&path, &text).map_err(cannot)?;
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
        let records = reader.records().map(|row| {
            // By position: a row is two structs, one after the other.
            row.and_then(|row| row.deserialize(None))
                .map_err(|error| format!("{}: {error}; mend or remove the file", path.display()))
        });
        let records = records.collect::<Result<_, _>>()?;
        Ok(Self { path, records })
    }

    /// What came out of a run that has been done.
    pub fn outcome(&self, run: &Run) -> Option<&Outcome> {
        self.records.iter().find(|(done, _)| done == run).map(|(_, outcome)| outcome)
    }

    /// Does those of the runs that have not been done, on so many threads, and keeps each as it comes.
    pub fn run(&mut self, title: &str, runs: &[Run], data: &Data, threads: usize) -> Result<(), Box<dyn Error>> {
        let mut left: Vec<&Run> = Vec::new();
        for run in runs {
            if self.outcome(run).is_none() && !left.contains(&run) {
                left.push(run);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let writer = Mutex::new(self.writer()?);
        let bar = progress_bar(title, left.iter().map(|run| u64::from(run.epochs)).sum());
        let done = on_threads(threads, &left, |&&run| {
            // Outsize steps are what some studies are about.
            let outcome = without_warnings(|| run.train(data, &|| bar.inc(1)))?.outcome;
            let mut writer = writer.lock().map_err(|_| "another thread failed")?;
            writer.serialize((run, &outcome))?;
            writer.flush()?;
            Ok((run, outcome))
        });
        bar.finish_and_clear();
        self.records.extend(done?);
        Ok(())
    }

    fn writer(&self) -> Result<csv::Writer<File>, Box<dyn Error>> {
        let file = OpenOptions::new().append(true).open(&self.path);
        let file = file.map_err(|error| format!("{}: {error}; choose a folder to write to", self.path.display()))?;
        Ok(csv::WriterBuilder::new().has_headers(false).from_writer(file))
    }
}

/// A bar on stderr, which shows only if that is a terminal.
pub fn progress_bar(title: &str, len: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {percent:>3} % {eta} left").expect("a valid template");
    ProgressBar::new(len).with_style(style).with_message(title.to_owned())
}
