//! Table 3: classes of texts.

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use clap::{Parser, ValueEnum};
use miadam_support::command_line::number;
use miadam_support::mnist::random::Random;

use crate::paper::args::Flags;
use crate::paper::models::encoder::{Encoder, Size};
use crate::paper::optimizer::Kind;
use crate::paper::runs::Runs;
use crate::paper::task::{Part, Task};
use crate::paper::text::tokenizer::Tokenizer;
use crate::paper::text::tsv::Texts;
use crate::paper::text::weights::Weights;

/// Table 3 of the MIAdam paper: the texts of R8, R52 and MR, with Adam and MIAdam. From scratch, or with a BERT's weights.
#[derive(Debug, Parser)]
#[command(version)]
// Drops and switch come after the same parts of the epochs as on CIFAR.
#[command(mut_arg("epochs", |arg| arg.default_value("30")))]
#[command(mut_arg("batch_size", |arg| arg.default_value("64")))]
#[command(mut_arg("drop_after", |arg| arg.default_values(["10", "15"])))]
#[command(mut_arg("switch_epoch", |arg| arg.default_value("4")))]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    /// Folder with a folder for each data set (R8, R52, MR), in which train.tsv and test.tsv have `label TAB text` a line
    /// [needed unless --smoke]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Data sets, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Dataset::ALL)]
    pub dataset: Vec<Dataset>,
    /// Tokens of a text that are read
    #[arg(long, default_value_t = 128, value_parser = number(8..=512_usize))]
    pub tokens: usize,
    /// Weights to start from: the model.safetensors of a BERT encoder [default: none, and a small encoder]
    #[arg(long, value_name = "FILE", requires = "vocab")]
    pub weights: Option<PathBuf>,
    /// The vocab.txt that belongs to the weights
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub vocab: Option<PathBuf>,
    /// The weights know large letters from small ones
    #[arg(long, requires = "weights")]
    pub cased: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dataset {
    R8,
    R52,
    Mr,
}

/// The optimizers of the paper's Table 3, and the controls.
const TABLE: [Kind; 7] =
    [Kind::Adam, Kind::Miadam1, Kind::Miadam2, Kind::Miadam3, Kind::Slow1, Kind::Slow2, Kind::Slow3];

/// What the texts of a data set are read by.
struct Reading<'a> {
    name: String,
    texts: Texts,
    tokens: [Vec<Vec<i32>>; 2],
    pad: i32,
    size: Size,
    weights: Option<&'a Weights>,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let flags = args.flags.with_defaults(&TABLE);
    // A change of what is read is a change of the numbers.
    let task = format!(
        "text_classifier, {} tokens, weights {:?}, vocabulary {:?}, cased {}",
        args.tokens, args.weights, args.vocab, args.cased
    );
    let read = |dataset: &Dataset| match (&args.data, flags.smoke) {
        (_, true) => Ok(Texts::made_up()),
        (Some(folder), _) => Texts::read(&folder.join(dataset.name())),
        (None, false) => Err("--data is needed: name the folder of R8, R52 and MR, or add --smoke".to_owned()),
    };
    // A file that is missing is refused here, before the first run.
    let texts = args.dataset.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let weights = args.weights.as_deref().map(Weights::read).transpose()?;
    let mut readings = Vec::new();
    for (dataset, texts) in args.dataset.iter().zip(texts) {
        readings.push(Reading::new(dataset.name(), texts, weights.as_ref(), args)?);
    }
    let mut runs = Runs::open(flags, task)?;
    for reading in &readings {
        runs.each(reading)?;
    }
    runs.finish()
}

impl Dataset {
    const ALL: [Self; 3] = [Self::R8, Self::R52, Self::Mr];

    fn name(self) -> &'static str {
        match self {
            Self::R8 => "R8",
            Self::R52 => "R52",
            Self::Mr => "MR",
        }
    }
}

impl<'a> Reading<'a> {
    fn new(name: &str, texts: Texts, weights: Option<&'a Weights>, args: &Args) -> Result<Self, String> {
        let tokenizer = match args.vocab.as_deref() {
            Some(file) => Tokenizer::read(file, args.cased)?,
            None => Tokenizer::of_words(&texts.train.texts),
        };
        let size = match weights {
            Some(weights) => fitting(weights.size()?, &tokenizer, args)?,
            None => small(&tokenizer, args.tokens),
        };
        let encode = |texts: &[String]| texts.iter().map(|text| tokenizer.encode(text, args.tokens)).collect();
        let tokens = [&texts.train, &texts.test].map(|part| encode(&part.texts));
        Ok(Self { name: name.to_owned(), pad: tokenizer.pad(), texts, tokens, size, weights })
    }

    fn tokens(&self, part: Part) -> &[Vec<i32>] {
        &self.tokens[usize::from(part == Part::Test)]
    }
}

/// An encoder that starts from scratch.
fn small(tokenizer: &Tokenizer, tokens: usize) -> Size {
    Size { vocabulary: tokenizer.len(), positions: tokens, width: 128, inner: 512, heads: 4, layers: 2 }
}

fn fitting(size: Size, tokenizer: &Tokenizer, args: &Args) -> Result<Size, String> {
    let path = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
    if tokenizer.len() > size.vocabulary {
        let (vocab, weights) = (path(&args.vocab), path(&args.weights));
        return Err(format!(
            "--vocab {vocab}: {} lines, where {weights} has {} pieces; give the two of one model",
            tokenizer.len(),
            size.vocabulary
        ));
    }
    if args.tokens > size.positions {
        return Err(format!("--tokens {}: the weights have {} positions; choose no more", args.tokens, size.positions));
    }
    Ok(size)
}

impl Task for Reading<'_> {
    type Model = Encoder;
    /// Texts as long as the longest of them, and their number.
    type Inputs = (usize, Vec<i32>);

    fn names(&self) -> [&str; 2] {
        [&self.name, if self.weights.is_some() { "BERT" } else { "small encoder" }]
    }

    fn classes(&self) -> usize {
        self.texts.classes.len()
    }

    fn labels(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.texts.train.labels,
            Part::Test => &self.texts.test.labels,
        }
    }

    fn model(&self, device: &Device) -> Result<Encoder, String> {
        let encoder = Encoder::new(&self.size, self.classes(), device);
        match self.weights {
            Some(weights) => weights.load(encoder),
            None => Ok(encoder),
        }
    }

    fn inputs(&self, part: Part, samples: &[usize], _: Option<&mut Random>) -> Result<Self::Inputs, String> {
        let texts: Vec<&Vec<i32>> = samples.iter().map(|sample| &self.tokens(part)[*sample]).collect();
        // A few lengths only, so that a GPU's kernels are not tuned for each anew.
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default().next_multiple_of(32);
        let longest = longest.min(self.size.positions);
        let pad =
            |text: &Vec<i32>| text.iter().copied().chain(std::iter::repeat(self.pad)).take(longest).collect::<Vec<_>>();
        Ok((samples.len(), texts.into_iter().flat_map(pad).collect()))
    }

    fn scores(&self, model: &Encoder, (texts, tokens): Self::Inputs, device: &Device) -> Tensor<2> {
        let len = tokens.len() / texts;
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [texts, len]), device);
        let padding = tokens.clone().equal_elem(self.pad);
        model.forward(tokens, &padding)
    }
}
