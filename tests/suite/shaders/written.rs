//! All variants as files, for the compilers that `.ci/shaders` runs.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::{env, fs};

use super::{translate, variants};

/// Writes each text once. A file's name begins with the number of the first variant that has the text.
struct Folder {
    path: PathBuf,
    known: Mutex<HashSet<(String, u64)>>,
}

impl Folder {
    fn write(&self, number: usize, ending: &str, text: &[u8]) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        if self.known.lock().unwrap().insert((ending.to_owned(), hasher.finish())) {
            let kind = self.path.join(ending);
            fs::create_dir_all(&kind).unwrap();
            fs::write(kind.join(format!("{number:05}.{ending}")), text).unwrap();
        }
    }
}

/// The kernel as the device gets it, the values of its overrides in comments, goes to `override.wgsl`.
fn write_all(folder: &Path) {
    let folder = &Folder { path: folder.to_owned(), known: Mutex::default() };
    let variants: Vec<_> = variants::all().into_iter().enumerate().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for part in variants.chunks(variants.len().div_ceil(threads)) {
            scope.spawn(move || {
                for &(number, variant) in part {
                    let shader = variant.shader();
                    folder.write(number, "override.wgsl", shader.to_string().as_bytes());
                    for (ending, text) in translate(&variant.to_string(), &shader) {
                        // No compiler for Metal can be had, and WGSL was parsed once more.
                        if !["metal", "wgsl"].contains(&ending) {
                            folder.write(number, ending, &text);
                        }
                    }
                }
            });
        }
    });
}

#[test]
#[ignore = "writes all variants to the folder that MIADAM_SHADERS names; .ci/shaders runs it"]
fn every_variant_translates() {
    let folder = env::var_os("MIADAM_SHADERS").expect("MIADAM_SHADERS names no folder to write the shaders to");
    write_all(Path::new(&folder));
}
