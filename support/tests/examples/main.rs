//! Every example from outside, as a process: its help, its objections, its lines and its end.

mod advice;
mod endings;
mod lines;
mod numbers;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use miadam_support::adapter;
use serde_json::Value;

/// Arguments with which each example runs, and not for long.
const USUAL: [(&str, &[&str]); 9] = [
    ("engine", &["--device", "cpu", "--steps", "2", "--sample", "100"]),
    ("fallback", &[]),
    ("minimal", &[]),
    ("minimal_cpu", &[]),
    ("mlp_mnist", &["--device", "cpu", "--epochs", "1", "--hidden", "8"]),
    ("replay", &["--case", "case.safetensors", "--out", "replayed.safetensors", "--device", "cpu"]),
    ("selftest", &["--rounds", "0"]),
    ("throughput", &["--case", "10000 x 256", "--order", "0", "--rounds", "1"]),
    ("wgsl", &["update"]),
];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The examples by name, built as these tests are.
fn programs() -> &'static BTreeMap<String, PathBuf> {
    static PROGRAMS: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "miadam", "--examples", "--message-format", "json"]).current_dir(ROOT);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let Output { status, stdout, stderr } = build.output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let messages = String::from_utf8(stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let programs = messages.filter(|message| message["target"]["kind"][0] == "example").filter_map(|message| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some((text(&message["target"]["name"])?, text(&message["executable"])?.into()))
        });
        programs.collect()
    })
}

/// A folder in which the examples run, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = env::temp_dir().join(format!("examples-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let case = Path::new(ROOT).join("tests/golden/options.safetensors");
        fs::copy(case, folder.join("case.safetensors")).unwrap();
        Self(folder)
    }

    fn command(&self, example: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&programs()[example]);
        command
            .args(arguments)
            .current_dir(&self.0)
            .env("TMPDIR", &self.0)
            .env_remove("RUST_LOG")
            .env_remove("COLUMNS");
        // Without it, a Vulkan layer of Mesa's has a complaint of its own.
        command.env("XDG_RUNTIME_DIR", &self.0);
        command
    }

    fn run(&self, example: &str, arguments: &[&str]) -> Ran {
        Ran::new(self.command(example, arguments).output().unwrap())
    }

    /// Runs into a pipe that nobody reads.
    fn run_unread(&self, example: &str, arguments: &[&str]) -> Ran {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let child = self.command(example, arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        Ran::new(child.wait_with_output().unwrap())
    }

    /// What an example objects to: one line, and code 1.
    fn objection(&self, example: &str, arguments: &[&str]) -> String {
        let Ran { code, err, .. } = self.run(example, arguments);
        assert_eq!((code, err.lines().count()), (Some(1), 1), "{example} {arguments:?}: {err}");
        err.trim_end().strip_prefix("error: ").unwrap_or_else(|| panic!("{example} {arguments:?}: {err}")).to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The examples that can run here, with their usual arguments.
fn examples() -> Vec<(&'static str, &'static [&'static str])> {
    let mut examples = USUAL.to_vec();
    if adapter::for_test().is_none() {
        // The others have a way without.
        examples.retain(|&(example, _)| !["minimal", "selftest"].contains(&example));
    }
    examples
}

/// The examples that take flags.
fn with_flags() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    // The shortest one is to need nothing but the crate.
    USUAL.into_iter().filter(|&(example, _)| example != "minimal_cpu")
}

/// The flags of an example that take a value, by its help, and whether they have to have one.
fn value_flags(folder: &Folder, example: &str) -> Vec<(String, bool)> {
    let help = folder.run(example, &["--help"]).out;
    let flags = help.lines().filter_map(|line| {
        let (flag, value) = line.trim().split_once(' ')?;
        let is_flag = flag.starts_with("--") && (value.starts_with('<') || value.starts_with("[<"));
        is_flag.then(|| (flag.to_owned(), value.starts_with('<')))
    });
    flags.collect()
}

/// The arguments without a flag and its value, and with others.
fn instead<'a>(usual: &[&'a str], flag: &str, others: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = usual.to_vec();
    if let Some(at) = arguments.iter().position(|argument| *argument == flag) {
        arguments.drain(at..at + 2);
    }
    arguments.extend(others);
    arguments
}

#[test]
fn every_example_is_tested() {
    let names: Vec<_> = programs().keys().map(String::as_str).collect();
    assert_eq!(names, USUAL.map(|(example, _)| example));
}
