mod devices;
mod layout;
mod per_param;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use miadam_burn::{MiAdamConfig, miadam::Hyperparams, miadam::StepScale};

#[derive(Module, Debug)]
struct Net {
    a: Linear,
    b: Linear,
}

fn train(device: Device, steps: usize) -> Vec<f32> {
    let ad = device.clone().autodiff();
    device.seed(7);
    let mut net = Net { a: LinearConfig::new(16, 32).init(&ad), b: LinearConfig::new(32, 3).init(&ad) };
    // the same values on each device
    let mut opt = MiAdamConfig::new(Hyperparams {
        order: 1,
        kappa: 0.5,
        switch_step: 10,
        step_scale: StepScale::UnitGain,
        ..Default::default()
    })
    .init(&ad)
    .unwrap();
    let x = Tensor::<2>::random([8, 16], Distribution::Default, &ad);
    let mut last = 0.0;
    for step in 0..steps {
        let y = net.b.forward(net.a.forward(x.clone()).tanh());
        let loss = (y - 0.3).square().mean();
        if step % 5 == 0 {
            last = loss.clone().into_data().to_vec::<f32>().unwrap()[0];
            println!("{step} {last}");
        }
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        net = opt.step(1e-2, net, grads).unwrap();
    }
    println!("{:?}", opt.report().unwrap());
    println!("{}", opt.checkpoint().unwrap().step());
    vec![last]
}

#[test]
fn gpu() {
    let device = miadam_burn::wgpu_device(Device::wgpu_options()).unwrap();
    train(device, 25);
}
#[test]
fn cpu() {
    train(Device::flex(), 25);
}
