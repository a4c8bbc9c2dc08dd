//! Table 1: four networks on CIFAR.

use std::error::Error;
use std::path::PathBuf;

use burn::prelude::*;
use clap::{Parser, ValueEnum};
use miadam_support::mnist::random::Random;

use crate::paper::args::Flags;
use crate::paper::images::cifar::{Cifar, Dataset, SIDE};
use crate::paper::images::pixels::View;
use crate::paper::models::densenet::DenseNet;
use crate::paper::models::pyramidnet::PyramidNet;
use crate::paper::models::resnet::{Depth, RESNET18, ResNet};
use crate::paper::optimizer::Kind;
use crate::paper::runs::Runs;
use crate::paper::task::{Part, Task};

/// Table 1 of the MIAdam paper: four networks on CIFAR-10 and CIFAR-100, each with every optimizer.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    /// Folder of the binary files, or of the archives' own folders [needed unless --smoke]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Data sets, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Dataset::Cifar10, Dataset::Cifar100])]
    pub dataset: Vec<Dataset>,
    /// Networks, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Network::ALL)]
    pub model: Vec<Network>,
}

const RESNET50: Depth = Depth { blocks: [3, 4, 6, 3], expansion: 4 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    Resnet18,
    Resnet50,
    Densenet121,
    /// Additive, α = 48
    Pyramidnet110,
}

/// One of the networks.
#[derive(Module, Debug)]
// There is one at a time.
#[allow(clippy::large_enum_variant)]
pub enum Model {
    Residual(ResNet),
    Dense(DenseNet),
    Pyramid(PyramidNet),
}

struct Images<'a> {
    dataset: Dataset,
    network: Network,
    cifar: &'a Cifar,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let flags = args.flags.with_defaults(&Kind::ALL);
    let read = |dataset: &Dataset| match (&args.data, args.flags.smoke) {
        (_, true) => Ok(dataset.made_up(2)),
        (Some(folder), _) => dataset.read(folder),
        (None, false) => Err("--data is needed: name the folder of CIFAR's binary files, or add --smoke".to_owned()),
    };
    // A file that is missing is refused here, before the first run.
    let data = args.dataset.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut runs = Runs::open(flags, "cifar".to_owned())?;
    for network in &args.model {
        for (dataset, cifar) in args.dataset.iter().zip(&data) {
            runs.each(&Images { dataset: *dataset, network: *network, cifar })?;
        }
    }
    runs.finish()
}

impl Network {
    const ALL: [Self; 4] = [Self::Resnet18, Self::Resnet50, Self::Densenet121, Self::Pyramidnet110];

    fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "ResNet-18",
            Self::Resnet50 => "ResNet-50",
            Self::Densenet121 => "DenseNet-121",
            Self::Pyramidnet110 => "PyramidNet-110",
        }
    }

    fn init(self, classes: usize, device: &Device) -> Model {
        match self {
            Self::Resnet18 => Model::Residual(ResNet::new(&RESNET18, classes, false, device)),
            Self::Resnet50 => Model::Residual(ResNet::new(&RESNET50, classes, false, device)),
            Self::Densenet121 => Model::Dense(DenseNet::new(classes, false, device)),
            Self::Pyramidnet110 => Model::Pyramid(PyramidNet::new(classes, device)),
        }
    }
}

impl Images<'_> {
    fn part(&self, part: Part) -> &crate::paper::images::pixels::Images {
        match part {
            Part::Train => &self.cifar.train,
            Part::Test => &self.cifar.test,
        }
    }
}

impl Task for Images<'_> {
    type Model = Model;
    type Inputs = (usize, Vec<f32>);

    fn names(&self) -> [&str; 2] {
        [self.dataset.name(), self.network.name()]
    }

    fn classes(&self) -> usize {
        self.cifar.classes
    }

    fn labels(&self, part: Part) -> &[usize] {
        &self.part(part).labels
    }

    fn model(&self, device: &Device) -> Result<Model, String> {
        Ok(self.network.init(self.cifar.classes, device))
    }

    fn inputs(&self, part: Part, samples: &[usize], mut random: Option<&mut Random>) -> Result<Self::Inputs, String> {
        let mut values = Vec::with_capacity(samples.len() * 3 * SIDE * SIDE);
        for sample in samples {
            let view = random.as_deref_mut().map(View::random).unwrap_or_default();
            self.part(part).append(*sample, view, &mut values);
        }
        Ok((samples.len(), values))
    }

    fn scores(&self, model: &Model, (len, values): Self::Inputs, device: &Device) -> Tensor<2> {
        let images = Tensor::from_data(TensorData::new(values, [len, 3, SIDE, SIDE]), device);
        match model {
            Model::Residual(net) => net.forward(images),
            Model::Dense(net) => net.forward(images),
            Model::Pyramid(net) => net.forward(images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::models::layers::trained;

    #[test]
    fn networks_are_as_large_as_published() {
        // The ResNets and DenseNet as in kuangliu's pytorch-cifar, PyramidNet 1.7 million in its paper's Table 4.
        for (network, classes, expected) in [
            (Network::Resnet18, 10, 11_173_962),
            (Network::Resnet18, 100, 11_220_132),
            (Network::Resnet50, 10, 23_520_842),
            (Network::Densenet121, 10, 6_956_298),
            (Network::Pyramidnet110, 10, 1_772_706),
        ] {
            assert_eq!(trained(&network.init(classes, &Device::flex())), expected, "{}", network.name());
        }
    }
}
