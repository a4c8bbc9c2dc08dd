//! The run that is under way, saved after each epoch: network, optimizer, and the rows so far.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use serde::{Deserialize, Serialize};

use crate::paper::results::{Name, Row};
use crate::paper::task::Task;
use crate::paper::train::Run;

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer";
const PROGRESS: &str = "progress.json";

/// A folder with the latest epoch, and for a moment the one before it.
pub struct Checkpoint {
    folder: PathBuf,
}

/// How far the run is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Progress {
    pub name: Name,
    pub rows: Vec<Row>,
}

impl Checkpoint {
    /// The checkpoint within an output folder.
    pub fn new(out: &Path) -> Self {
        Self { folder: out.join("checkpoint") }
    }

    /// Takes the place of what was saved before. Whatever happens, one of the two is there.
    pub fn save<T: Task>(&self, run: &mut Run<'_, T>, progress: &Progress) -> Result<(), Box<dyn Error>> {
        let (new, old) = (self.folder.with_extension("new"), self.folder.with_extension("old"));
        for folder in [&new, &old] {
            remove(folder)?;
        }
        fs::create_dir_all(&new)?;
        run.model.clone().into_record().save(new.join(MODEL))?;
        run.optimizer.save(&new.join(OPTIMIZER))?;
        fs::write(new.join(PROGRESS), serde_json::to_vec(progress)?)?;
        if self.folder.exists() {
            fs::rename(&self.folder, &old)?;
        }
        fs::rename(&new, &self.folder)?;
        Ok(remove(&old)?)
    }

    /// The progress that the latest checkpoint holds, if there is a checkpoint.
    pub fn progress(&self) -> Result<Option<Progress>, Box<dyn Error>> {
        let Some(folder) = self.latest() else { return Ok(None) };
        let file = folder.join(PROGRESS);
        let progress = fs::read(&file).map_err(Into::into).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        let progress: Result<_, Box<dyn Error>> = progress;
        Ok(Some(progress.map_err(|error| format!("{}: {error}; {}", file.display(), self.remedy()))?))
    }

    /// Puts a new run where the saved one was.
    pub fn load<T: Task>(&self, run: &mut Run<'_, T>) -> Result<(), Box<dyn Error>> {
        let Some(folder) = self.latest() else { return Ok(()) };
        let loaded = || -> Result<T::Model, Box<dyn Error>> {
            let record = ModuleRecord::load(folder.join(MODEL))?;
            run.optimizer.load(&folder.join(OPTIMIZER))?;
            Ok(run.model.clone().try_load_record(record)?)
        };
        let mut loaded = loaded;
        run.model = loaded().map_err(|error| format!("{}: {error}; {}", folder.display(), self.remedy()))?;
        Ok(())
    }

    /// Removes it, once its run is done.
    pub fn clear(&self) -> Result<(), Box<dyn Error>> {
        Ok([&self.folder, &self.folder.with_extension("old")].into_iter().try_for_each(|folder| remove(folder))?)
    }

    fn latest(&self) -> Option<PathBuf> {
        [self.folder.clone(), self.folder.with_extension("old")].into_iter().find(|folder| folder.is_dir())
    }

    fn remedy(&self) -> String {
        format!("remove {} to begin this run anew", self.folder.display())
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}
