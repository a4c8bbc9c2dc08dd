//! torch's Adam on the CPU, in a Python process that `torch_adam.py` keeps waiting between turns.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::cases::Case;
use crate::runner::{Entry, Runner};

const SCRIPT: &str = include_str!("../torch_adam.py");

/// The process of one variant. It ends when its stdin does.
pub struct Torch {
    pub version: String,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    /// `variant` is `fused` or `foreach`.
    pub fn new(python: &Path, variant: &str, threads: usize) -> Result<Self, String> {
        let cannot = |reason: &str| format!("{} cannot run torch: {reason}", python.display());
        let child = Command::new(python)
            .args(["-c", SCRIPT, variant, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&error.to_string()))?;
        let (Some(commands), Some(answers)) = (child.stdin, child.stdout) else {
            return Err(cannot("no pipe"));
        };
        let mut torch = Self { version: String::new(), commands, answers: BufReader::new(answers) };
        let version = torch.answer().map_err(|reason| cannot(&reason))?;
        // Without the build's variant, as in 2.15.0+cpu.
        torch.version = version.split('+').next().unwrap_or(&version).to_owned();
        Ok(torch)
    }

    pub fn adam(&mut self, case: &Case) -> Entry<'_> {
        let lens: Vec<_> = case.lens.iter().map(usize::to_string).collect();
        self.ask(&format!("case {}", lens.join(" ")))?;
        Ok(Box::new(self))
    }

    fn ask(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.commands, "{command}").map_err(|error| format!("python is gone: {error}"))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim_end() {
            "" => Err("python ended without an answer".to_owned()),
            answer => match answer.strip_prefix("error: ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(answer.to_owned()),
            },
        }
    }
}

impl Runner for &mut Torch {
    fn step(&mut self) -> Result<f64, String> {
        let answer = self.ask("step")?;
        answer.parse().map_err(|_| format!("python answers a step with {answer}"))
    }

    fn ends(&mut self) -> Result<Vec<f32>, String> {
        let answer = self.ask("ends")?;
        answer.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| format!("python's ends are {answer}"))
    }
}
