//! Hyperparameters that change: what becomes of the state. Here the values themselves are known.

use miadam::{Dtype, HalfParams, Hyperparams, ParamGroup, Plane};

use super::host::{Grads, Host, HostOnCpu, HostOnGpu, param};
use crate::common::Start;

fn host<H: Host>(hyperparams: &Hyperparams, dtype: Dtype) -> Option<H> {
    let start = Start { name: "w".into(), dtype, values: vec![1.0; 5] };
    H::new(ParamGroup::new(hyperparams.clone(), [param(&start)]), &[start])
}

fn step<H: Host>(host: &mut H) {
    host.step(&Grads::from([("w".to_owned(), vec![0.5; 5])]));
}

fn plane<H: Host>(host: &H, plane: Plane) -> Option<f32> {
    host.state()[0].plane(plane).map(|values| values[0])
}

fn a_master_copy_is_made_of_the_parameter<H: Host>() {
    let stochastic = Hyperparams { half_params: HalfParams::Stochastic { seed: 3 }, ..Hyperparams::default() };
    let Some(mut host) = host::<H>(&stochastic, Dtype::Bf16) else { return };
    step(&mut host);
    let master = Hyperparams { half_params: HalfParams::Master, ..stochastic.clone() };
    host.optimizer().set_hyperparams(0, master).unwrap();
    let before = host.values("w").single()[0];
    step(&mut host);
    let after = plane(&host, Plane::Master).unwrap();
    // Steps of about lr · 1.5 from a parameter of about 1.
    assert!(after < before && after > before - 0.01, "{before}, {after}");
    host.optimizer().set_hyperparams(0, stochastic).unwrap();
    assert_eq!(plane(&host, Plane::Master), None);
    step(&mut host);
    assert!((host.values("w").single()[0] - after).abs() < 0.02);
}

fn planes_come_and_go<H: Host>() {
    let order_2 = Hyperparams { order: 2, ..Hyperparams::default() };
    let Some(mut host) = host::<H>(&order_2, Dtype::F32) else { return };
    step(&mut host);
    step(&mut host);
    let [first, second] = [1, 2].map(|j| plane(&host, Plane::Integral(j)).unwrap());
    let v = plane(&host, Plane::SecondMoment).unwrap();
    host.optimizer().set_hyperparams(0, Hyperparams { order: 1, amsgrad: true, ..order_2.clone() }).unwrap();
    assert_eq!(plane(&host, Plane::Integral(1)), Some(first));
    assert_eq!(plane(&host, Plane::Integral(2)), None);
    assert_eq!(plane(&host, Plane::MaxSecondMoment), Some(0.0));
    // A gradient of 0: v decays, the largest v stays where it starts.
    host.step(&Grads::from([("w".to_owned(), vec![0.0; 5])]));
    let largest = plane(&host, Plane::MaxSecondMoment).unwrap();
    assert_eq!(Some(largest), plane(&host, Plane::SecondMoment));
    assert!(largest < v);
    host.optimizer().set_hyperparams(0, order_2).unwrap();
    assert_eq!(plane(&host, Plane::MaxSecondMoment), None);
    assert_eq!(plane(&host, Plane::Integral(2)), Some(0.0), "not {second}");
    assert_eq!(host.state()[0].step(), 3);
}

/// From ζ on nobody needs the integrals. Where ζ moves on, they come back.
fn released_integrals_come_back<H: Host>() {
    let integrating = Hyperparams { switch_step: 3, ..Hyperparams::default() };
    let Some(mut host) = host::<H>(&integrating, Dtype::F32) else { return };
    (0..4).for_each(|_| step(&mut host));
    // On the GPU this makes the count known.
    host.state();
    assert!(host.optimizer().release_integrals().unwrap() > 0);
    assert_eq!(plane(&host, Plane::Integral(1)), None);
    host.optimizer().set_hyperparams(0, Hyperparams { lr: 1e-4, ..integrating.clone() }).unwrap();
    assert_eq!(plane(&host, Plane::Integral(1)), None, "still behind the switch");
    host.optimizer().set_hyperparams(0, Hyperparams { switch_step: 10, ..integrating }).unwrap();
    assert_eq!(plane(&host, Plane::Integral(1)), Some(0.0));
    step(&mut host);
    assert_eq!(plane(&host, Plane::Integral(1)), plane(&host, Plane::FirstMoment));
}

fn memory_grows_and_shrinks<H: Host>() {
    let Some(mut host) = host::<H>(&Hyperparams::default(), Dtype::F32) else { return };
    let bytes = |host: &mut H| host.optimizer().state_bytes();
    let before = bytes(&mut host);
    let more = Start { name: "more".into(), dtype: Dtype::F32, values: vec![1.0; 4096] };
    host.add_params(0, std::slice::from_ref(&more));
    assert_eq!(bytes(&mut host), before + 3 * 4 * 4096);
    host.optimizer().set_hyperparams(0, Hyperparams { order: 0, ..Hyperparams::default() }).unwrap();
    host.optimizer().set_hyperparams(0, Hyperparams::default()).unwrap();
    assert_eq!(bytes(&mut host), before + 3 * 4 * 4096);
    host.optimizer().remove_params(["more"]).unwrap();
    assert_eq!(bytes(&mut host), before);
}

macro_rules! on_both_devices {
    ($($test:ident),+) => {
        mod on_the_cpu {
            $(#[test] fn $test() { super::$test::<super::HostOnCpu>(); })+
        }
        mod on_the_gpu {
            $(#[test] fn $test() { super::$test::<super::HostOnGpu>(); })+
        }
    };
}

on_both_devices!(
    a_master_copy_is_made_of_the_parameter,
    planes_come_and_go,
    released_integrals_come_back,
    memory_grows_and_shrinks
);
