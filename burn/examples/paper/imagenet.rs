//! Table 2: three networks on ImageNet.

use std::error::Error;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use burn::prelude::*;
use clap::{Parser, ValueEnum};
use miadam_support::mnist::random::Random;

use crate::paper::args::Flags;
use crate::paper::images::decode::Picture;
use crate::paper::images::folder::{self, Folder};
use crate::paper::images::resample::resample;
use crate::paper::models::alexnet::AlexNet;
use crate::paper::models::densenet::DenseNet;
use crate::paper::models::resnet::{RESNET18, ResNet};
use crate::paper::optimizer::Kind;
use crate::paper::runs::Runs;
use crate::paper::task::{Part, Task};

/// Table 2 of the MIAdam paper: three networks on ImageNet, each with Adam and MIAdam.
#[derive(Debug, Parser)]
#[command(version)]
// The usual 90 epochs and their drops. The switch comes after the same part of them as on CIFAR.
#[command(mut_arg("epochs", |arg| arg.default_value("90")))]
#[command(mut_arg("batch_size", |arg| arg.default_value("256")))]
#[command(mut_arg("drop_after", |arg| arg.default_values(["30", "60"])))]
#[command(mut_arg("switch_epoch", |arg| arg.default_value("11")))]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    /// Folder with train/CLASS/*.jpg and val/CLASS/*.jpg [needed unless --smoke]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Networks, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Network::ALL)]
    pub model: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    Alexnet,
    Resnet18,
    Densenet121,
}

/// One of the networks.
#[derive(Module, Debug)]
// There is one at a time.
#[allow(clippy::large_enum_variant)]
pub enum Model {
    Plain(AlexNet),
    Residual(ResNet),
    Dense(DenseNet),
}

/// The optimizers of the paper's Table 2, and the controls.
const TABLE: [Kind; 7] =
    [Kind::Adam, Kind::Miadam1, Kind::Miadam2, Kind::Miadam3, Kind::Slow1, Kind::Slow2, Kind::Slow3];

/// Pixels of a side, as networks take them.
const SIDE: usize = 224;
/// The usual statistics of ImageNet, of values from 0 to 1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

struct Images<'a> {
    network: Network,
    data: &'a Data,
}

enum Data {
    Folder(Folder),
    /// Noise, of a class each.
    MadeUp([Picture; 2]),
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let flags = args.flags.with_defaults(&TABLE);
    let data = match (&args.data, flags.smoke) {
        (_, true) => Data::made_up(),
        (Some(folder), _) => Data::Folder(Folder::list(folder)?),
        (None, false) => return Err("--data is needed: name ImageNet's folder, or add --smoke".into()),
    };
    let mut runs = Runs::open(flags, "imagenet".to_owned())?;
    for network in &args.model {
        runs.each(&Images { network: *network, data: &data })?;
    }
    runs.finish()
}

impl Network {
    const ALL: [Self; 3] = [Self::Alexnet, Self::Resnet18, Self::Densenet121];

    fn init(self, classes: usize, device: &Device) -> Model {
        match self {
            Self::Alexnet => Model::Plain(AlexNet::new(classes, device)),
            Self::Resnet18 => Model::Residual(ResNet::new(&RESNET18, classes, true, device)),
            Self::Densenet121 => Model::Dense(DenseNet::new(classes, true, device)),
        }
    }
}

impl Data {
    fn made_up() -> Self {
        let mut random = Random::new(7, 0);
        let mut picture = || {
            let (width, height) = (72, 64);
            let bytes = (0..3 * width * height).map(|_| random.below(256) as u8).collect();
            Picture { width, height, bytes }
        };
        Self::MadeUp([picture(), picture()])
    }

    /// A picture as the network takes it: three planes, normalised.
    fn image(&self, part: Part, sample: usize, random: Option<&mut Random>) -> Result<Vec<f32>, String> {
        let read;
        let picture = match self {
            Self::MadeUp(pictures) => &pictures[sample],
            Self::Folder(folder) => {
                let files = if part == Part::Train { &folder.train } else { &folder.val };
                read = Picture::read(&files.files[sample])?;
                &read
            }
        };
        let size = [picture.width, picture.height];
        let (area, mirrored) = match random {
            Some(random) => (folder::random(random, size), random.below(2) == 1),
            None => (folder::middle(size), false),
        };
        let mut values = resample(picture, area, SIDE);
        if mirrored {
            values.chunks_exact_mut(SIDE).for_each(<[f32]>::reverse);
        }
        for (plane, (mean, deviation)) in values.chunks_exact_mut(SIDE * SIDE).zip(MEAN.into_iter().zip(DEVIATION)) {
            plane.iter_mut().for_each(|value| *value = (*value / 255.0 - mean) / deviation);
        }
        Ok(values)
    }
}

impl Task for Images<'_> {
    type Model = Model;
    type Inputs = (usize, Vec<f32>);

    fn names(&self) -> [&str; 2] {
        let network = match self.network {
            Network::Alexnet => "AlexNet",
            Network::Resnet18 => "ResNet-18",
            Network::Densenet121 => "DenseNet-121",
        };
        ["ImageNet", network]
    }

    fn classes(&self) -> usize {
        match self.data {
            Data::Folder(folder) => folder.classes,
            Data::MadeUp(_) => 1000,
        }
    }

    fn labels(&self, part: Part) -> &[usize] {
        match (self.data, part) {
            (Data::Folder(folder), Part::Train) => &folder.train.labels,
            (Data::Folder(folder), Part::Test) => &folder.val.labels,
            (Data::MadeUp(_), _) => &[0, 999],
        }
    }

    fn model(&self, device: &Device) -> Result<Model, String> {
        Ok(self.network.init(self.classes(), device))
    }

    fn inputs(&self, part: Part, samples: &[usize], random: Option<&mut Random>) -> Result<Self::Inputs, String> {
        // Whichever thread has an image, its random numbers are its own.
        let seeds: Option<Vec<_>> = random.map(|random| samples.iter().map(|_| random.below(usize::MAX)).collect());
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let each = samples.len().div_ceil(threads).max(1);
        let image = |number: usize| {
            let mut random = seeds.as_ref().map(|seeds| Random::new(seeds[number] as u64, 0));
            self.data.image(part, samples[number], random.as_mut())
        };
        let numbers: Vec<usize> = (0..samples.len()).collect();
        let parts: Result<Vec<Vec<f32>>, String> = thread::scope(|scope| {
            let image = &image;
            let decode = |numbers: &[usize]| numbers.iter().map(|number| image(*number)).collect::<Result<Vec<_>, _>>();
            let threads: Vec<_> = numbers.chunks(each).map(|part| scope.spawn(move || decode(part))).collect();
            let parts =
                threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread that decodes panicked")?);
            parts.map(|images| images.map(|images| images.concat())).collect()
        });
        Ok((samples.len(), parts?.concat()))
    }

    fn scores(&self, model: &Model, (len, values): Self::Inputs, device: &Device) -> Tensor<2> {
        let images = Tensor::from_data(TensorData::new(values, [len, 3, SIDE, SIDE]), device);
        match model {
            Model::Plain(net) => net.forward(images),
            Model::Residual(net) => net.forward(images),
            Model::Dense(net) => net.forward(images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::models::layers::trained;

    #[test]
    fn networks_are_as_large_as_published() {
        // torchvision's.
        for (network, expected) in
            [(Network::Alexnet, 61_100_840), (Network::Resnet18, 11_689_512), (Network::Densenet121, 7_978_856)]
        {
            assert_eq!(trained(&network.init(1000, &Device::flex())), expected, "{network:?}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_imagenet() {
        let Args { flags, .. } = Args::parse_from(["imagenet", "--kappa=0.9"]);
        let recipe = flags.recipe;
        assert_eq!(
            (recipe.epochs, recipe.batch_size, recipe.drop_after, recipe.switch_epoch),
            (90, 256, vec![30, 60], 11)
        );
        assert_eq!((recipe.lr, recipe.kappa), (1e-3, 0.9));
    }

    #[test]
    fn an_image_is_a_function_of_its_random_numbers() {
        let data = Data::made_up();
        let images = Images { network: Network::Resnet18, data: &data };
        let inputs =
            |samples: &[usize], seed| images.inputs(Part::Train, samples, Some(&mut Random::new(seed, 1))).unwrap();
        let (len, both) = inputs(&[1, 0], 5);
        assert_eq!((len, both.len()), (2, 2 * 3 * SIDE * SIDE));
        // The first image's numbers are drawn first.
        assert_eq!(both[..3 * SIDE * SIDE], inputs(&[1], 5).1);
        assert_ne!(both, inputs(&[1, 0], 6).1);
        let plain = |_| images.inputs(Part::Test, &[0], None).unwrap().1;
        assert_eq!(plain(0), plain(1));
    }
}
