//! An optimizer in a process of its own: torch's, and burn's, whose threads go on working between its steps.
//!
//! A command is a line on its stdin, an answer one on its stdout; `torch_adam.py` has the list. Between its turns the process
//! is stopped, where the system can, so that what its threads do then costs nobody else's steps.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use miadam_support::cases::Case;

use crate::runner::{Entry, Runner};

const TORCH: &str = include_str!("../torch_adam.py");

pub struct Process {
    /// With its version.
    pub name: String,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// torch's Adam on the CPU; `variant` is `fused` or `foreach`.
    pub fn torch(python: &Path, variant: &str, threads: usize) -> Result<Self, String> {
        let start = Self::start(Command::new(python).args(["-c", TORCH, variant, &threads.to_string()]));
        let mut torch = start.map_err(|reason| format!("{} cannot run torch: {reason}", python.display()))?;
        // Without the build's variant, as in 2.15.0+cpu.
        let version = torch.name.split('+').next().unwrap_or_default();
        torch.name = format!("torch {version} {variant}");
        Ok(torch)
    }

    /// burn's Adam, by this program.
    pub fn burn() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        Self::start(Command::new(program).arg("--serve-burn"))
    }

    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| error.to_string())?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipe".to_owned());
        };
        let mut process = Self { name: String::new(), child, commands, answers: BufReader::new(answers) };
        process.name = process.answer()?;
        process.stop();
        Ok(process)
    }

    pub fn adam(&mut self, case: &Case) -> Entry<'_> {
        let lens: Vec<_> = case.lens.iter().map(usize::to_string).collect();
        self.ask(&format!("case {}", lens.join(" ")))?;
        Ok(Box::new(self))
    }

    fn ask(&mut self, command: &str) -> Result<String, String> {
        self.go_on();
        writeln!(self.commands, "{command}").map_err(|error| format!("its process is gone: {error}"))?;
        let answer = self.answer();
        self.stop();
        answer
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim_end() {
            "" => Err("its process ended without an answer".to_owned()),
            answer => match answer.strip_prefix("error: ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(answer.to_owned()),
            },
        }
    }

    fn stop(&self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::STOP);
    }

    fn go_on(&self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::CONT);
    }

    /// One that is gone shows when it is asked.
    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner for &mut Process {
    fn step(&mut self) -> Result<f64, String> {
        let answer = self.ask("step")?;
        answer.parse().map_err(|_| format!("its process answers a step with {answer}"))
    }

    fn ends(&mut self) -> Result<Vec<f32>, String> {
        let answer = self.ask("ends")?;
        let ends: Result<_, _> = answer.split(' ').map(str::parse).collect();
        ends.map_err(|_| format!("its process says that the ends are {answer}"))
    }
}
