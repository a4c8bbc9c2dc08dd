//! Prints the WGSL of any kernel, assembled as the device gets it.
//!
//! `cargo run --example wgsl -- update --order 2 --amsgrad`

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use miadam::plan::{Access, Extras, Form, Format, Integrals, Kernel, Shape};
use miadam::shader::{self, Judgement, Shader};
use miadam::{Dtype, HalfParams};
use miadam_support::command_line::{self, number};
use miadam_support::state::State;

/// Prints a kernel's WGSL, and the values of its overrides
#[derive(Parser)]
struct Flags {
    kernel: Name,
    /// Whether tensors are reached by whole quads or by elements
    #[arg(long, value_enum, default_value_t = By::Quads)]
    access: By,
    /// The windows into the caller's buffers, up to 16
    #[arg(long, default_value_t = 1, value_parser = number(1..=16_u8))]
    windows: u8,
    /// A table of chunks, in place of a single run
    #[arg(long)]
    table: bool,
    /// The parameters' type
    #[arg(long, value_enum, default_value_t = Type::F32)]
    param: Type,
    /// The gradients' type
    #[arg(long, value_enum, default_value_t = Type::F32)]
    grad: Type,
    /// Round bf16 parameters at random, in place of master copies
    #[arg(long)]
    stochastic: bool,
    /// The number of integrals
    #[arg(long, default_value_t = 0, value_parser = number(0..=u32::MAX))]
    order: u32,
    /// Factors on the gradient
    #[arg(long)]
    adjust: bool,
    /// A bound on the gradient's elements
    #[arg(long)]
    clamp: bool,
    /// Weight decay
    #[arg(long)]
    decay: bool,
    /// Cautious weight decay; with --decay
    #[arg(long)]
    cautious: bool,
    /// Steps that can be skipped
    #[arg(long)]
    skip: bool,
    /// The reset of the gradient
    #[arg(long)]
    zero: bool,
    /// The largest second moment
    #[arg(long)]
    amsgrad: bool,
    /// An average of the weights
    #[arg(long)]
    average: bool,
    /// How the state is kept
    #[arg(long, value_enum, default_value = "f32")]
    state: State,
    /// In the advance kernel: gradients that are measured
    #[arg(long, conflicts_with = "follows")]
    measures: bool,
    /// In the advance kernel: another optimizer's verdict
    #[arg(long)]
    follows: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Update,
    Measure,
    Adopt,
    Advance,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Quads,
    Elements,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

impl Flags {
    fn variant(&self) -> Kernel {
        let dtype = |by: Type| match by {
            Type::F32 => Dtype::F32,
            Type::F16 => Dtype::F16,
            Type::Bf16 => Dtype::Bf16,
        };
        let half_params = if self.stochastic { HalfParams::Stochastic { seed: 0 } } else { HalfParams::Master };
        let &Self { adjust, clamp, decay, cautious, skip, zero, amsgrad, average, .. } = self;
        Kernel {
            access: match self.access {
                By::Quads => Access::Quads,
                By::Elements => Access::Elements,
            },
            form: match self.windows {
                1 => Form::One,
                2 => Form::Two,
                _ => Form::Many,
            },
            shape: if self.table { Shape::Table } else { Shape::Run },
            format: Format::new(dtype(self.param), dtype(self.grad), half_params, self.state.into()),
            extras: Extras {
                adjust,
                clamp,
                decay,
                cautious,
                skip,
                zero,
                amsgrad,
                average,
                integrals: Integrals::of(self.order),
            },
        }
    }

    fn shader(&self) -> Shader {
        let (kernel, windows) = (self.variant(), usize::from(self.windows));
        match self.kernel {
            Name::Update => shader::update(kernel, windows),
            Name::Measure => shader::measure(kernel, windows),
            Name::Adopt => shader::adopt(kernel, windows),
            Name::Advance if self.follows => shader::advance(Judgement::Followed),
            Name::Advance if self.measures => shader::advance(Judgement::Measured),
            Name::Advance => shader::advance(Judgement::Blind),
        }
    }
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    Ok(command_line::say(flags.shader().to_string().trim_end())?)
}

fn main() -> ExitCode {
    command_line::main(run)
}
