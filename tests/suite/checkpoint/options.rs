//! What `load_with` takes of a checkpoint, and what it leaves.

use miadam::{
    Average, Checkpoint, Dtype, Error, GradOptions, GradScaler, HalfParams, Hyperparams, LoadOptions, Plane, Schedule,
};

use crate::common::{Groups, OnCpu, OnGpu, Run, Start};

const OWN: fn() -> LoadOptions = || LoadOptions { own_hyperparams: true, ..LoadOptions::default() };
const OWN_LENIENT: fn() -> LoadOptions = || LoadOptions { lenient: true, ..OWN() };

/// Parameters of 5 elements in one group.
fn group(hyperparams: Hyperparams, params: &[(&str, Dtype)]) -> (Hyperparams, Vec<Start>) {
    let start = |&(name, dtype): &(&str, Dtype)| Start { name: name.to_owned(), dtype, values: vec![1.0; 5] };
    (hyperparams, params.iter().map(start).collect())
}

fn single(hyperparams: Hyperparams, dtype: Dtype) -> Groups {
    vec![group(hyperparams, &[("w", dtype)])]
}

fn steps(run: &mut impl Run, count: usize) {
    (0..count).for_each(|step| run.step(|_| [0.5, -0.25, 1.0, -2.0, 0.125].map(|g| g / (step + 1) as f32).to_vec()));
}

/// A checkpoint after 3 steps.
fn saved<R: Run>(groups: &Groups) -> Option<Checkpoint> {
    let mut run = R::new(groups, false)?;
    steps(&mut run, 3);
    Some(run.checkpoint())
}

fn plane(checkpoint: &Checkpoint, plane: Plane) -> Option<Vec<f32>> {
    checkpoint.states()[0].plane(plane).map(<[f32]>::to_vec)
}

/// Loads what fits, by hyperparameters of its own, after it was found that all of it does not. Gives what is listed.
fn convert<R: Run>(run: &mut R, saved: &Checkpoint) -> Vec<String> {
    let before = run.checkpoint();
    let error = run.optimizer().load_with(saved, &OWN()).unwrap_err();
    assert!(run.checkpoint() == before, "{error}");
    let listed = run.optimizer().load_with(saved, &OWN_LENIENT()).unwrap();
    assert!(matches!(&error, Error::CheckpointEntry { entry, .. } if *entry == listed[0].entry), "{error}");
    for kept in [Plane::FirstMoment, Plane::SecondMoment] {
        assert_eq!(plane(&run.checkpoint(), kept), plane(saved, kept));
    }
    listed.into_iter().map(|skipped| skipped.entry).collect()
}

fn moments_go_on_under_another_order<R: Run>() {
    let of = |order| single(Hyperparams { order, ..Hyperparams::default() }, Dtype::F32);
    let Some(adam) = saved::<R>(&of(0)) else { return };
    let mut run = R::new(&of(2), false).unwrap();
    steps(&mut run, 1);
    assert_eq!(convert(&mut run, &adam), ["integral/1/w"]);
    let after = run.checkpoint();
    assert_eq!([1, 2].map(|j| plane(&after, Plane::Integral(j)).unwrap()), [[0.0; 5]; 2]);
    assert_eq!(after.states()[0].step(), 3);
    steps(&mut run, 1);
    // κ·0 + m is m, to the bit.
    let after = run.checkpoint();
    assert_eq!(plane(&after, Plane::Integral(1)), plane(&after, Plane::FirstMoment));
    assert_eq!(plane(&after, Plane::Integral(2)), plane(&after, Plane::FirstMoment));
    assert_eq!(after.states()[0].step(), 4);

    // Down again: the first integral is still the first.
    let mut lower = R::new(&of(1), false).unwrap();
    assert_eq!(convert(&mut lower, &after), ["integral/2/w"]);
    assert_eq!(plane(&lower.checkpoint(), Plane::Integral(1)), plane(&after, Plane::Integral(1)));
    assert_eq!(plane(&lower.checkpoint(), Plane::Integral(2)), None);
    // And up by one.
    let mut upper = R::new(&of(3), false).unwrap();
    assert_eq!(convert(&mut upper, &after), ["integral/3/w"]);
    assert_eq!(plane(&upper.checkpoint(), Plane::Integral(2)), plane(&after, Plane::Integral(2)));
    assert_eq!(plane(&upper.checkpoint(), Plane::Integral(3)).unwrap(), [0.0; 5]);
}

fn integrals_behind_the_switch_are_not_missed<R: Run>() {
    let of = |order, switch_step| single(Hyperparams { order, switch_step, ..Hyperparams::default() }, Dtype::F32);
    let Some(adam) = saved::<R>(&of(0, 1)) else { return };
    let mut run = R::new(&of(2, 4), false).unwrap();
    let bytes = run.optimizer().state_bytes();
    // The next step is the fourth.
    assert_eq!(run.optimizer().load_with(&adam, &OWN()), Ok(vec![]));
    assert!(run.optimizer().state_bytes() < bytes);
    steps(&mut run, 1);
    let switched = saved::<R>(&of(2, 4)).unwrap();
    let mut run = R::new(&of(0, 1), false).unwrap();
    assert_eq!(run.optimizer().load_with(&switched, &OWN()), Ok(vec![]));
    steps(&mut run, 1);
}

fn amsgrad_comes_and_goes<R: Run>() {
    let of = |amsgrad| single(Hyperparams { amsgrad, ..Hyperparams::default() }, Dtype::F32);
    let Some(without) = saved::<R>(&of(false)) else { return };
    let mut run = R::new(&of(true), false).unwrap();
    assert_eq!(convert(&mut run, &without), ["max_second_moment/w"]);
    assert_eq!(plane(&run.checkpoint(), Plane::MaxSecondMoment), plane(&without, Plane::SecondMoment));
    let with = run.checkpoint();
    let mut run = R::new(&of(false), false).unwrap();
    assert_eq!(convert(&mut run, &with), ["max_second_moment/w"]);
}

fn averages_come_and_go<R: Run>() {
    let ema = Average::Ema { decay: 0.75, warmup: false };
    let of = |average| single(Hyperparams { average, ..Hyperparams::default() }, Dtype::F32);
    let Some(without) = saved::<R>(&of(Average::None)) else { return };
    let mut run = R::new(&of(ema), false).unwrap();
    steps(&mut run, 1);
    assert_eq!(convert(&mut run, &without), ["average/w"]);
    // The first averaging copies.
    steps(&mut run, 1);
    let with = run.checkpoint();
    assert_eq!(plane(&with, Plane::Average), Some(run.params()[0].clone()));
    let mut run = R::new(&of(Average::None), false).unwrap();
    assert_eq!(convert(&mut run, &with), ["average/w"]);

    // With the averages in the parameters' place, what would be dropped is the parameters.
    let header = r#"{\"averages_in\":true,\"version\""#;
    let bytes = with.to_bytes().unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = str::from_utf8(&bytes[8..8 + len]).unwrap().replacen(r#"{\"version\""#, header, 1);
    let swapped = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[8 + len..]].concat();
    let swapped = Checkpoint::from_bytes(&swapped).unwrap();
    let error = run.optimizer().load_with(&swapped, &OWN_LENIENT()).unwrap_err();
    assert!(error.to_string().contains("swap the averages back"), "{error}");
    run.load(&swapped);
    assert!(run.checkpoint() == swapped);
}

fn precision_changes<R: Run>() {
    let of = |dtype, half_params| single(Hyperparams { half_params, ..Hyperparams::default() }, dtype);
    let (master, stochastic) = (HalfParams::Master, HalfParams::Stochastic { seed: 1 });
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let Some(half) = saved::<R>(&of(dtype, master)) else { return };
        let copy = plane(&half, Plane::Master).unwrap();
        let mut run = R::new(&of(Dtype::F32, master), false).unwrap();
        assert_eq!(convert(&mut run, &half), ["master/w"]);
        run.write_params(&half);
        assert_eq!(run.params()[0], copy);
        steps(&mut run, 1);
        // The same run in half precision, whose copy is what the parameter is in f32.
        let mut same = R::new(&of(dtype, master), false).unwrap();
        same.load(&half);
        steps(&mut same, 1);
        assert_eq!(Some(run.params()[0].clone()), plane(&same.checkpoint(), Plane::Master));

        // The other way the copy starts from the parameter.
        let single = run.checkpoint();
        let mut run = R::new(&of(dtype, master), false).unwrap();
        assert_eq!(convert(&mut run, &single), ["master/w"]);
        run.optimizer().set_lr(0, 0.0).unwrap();
        steps(&mut run, 1);
        assert_eq!(plane(&run.checkpoint(), Plane::Master), Some(vec![1.0; 5]));
    }
    let half = saved::<R>(&of(Dtype::Bf16, master)).unwrap();
    let mut run = R::new(&of(Dtype::Bf16, stochastic), false).unwrap();
    assert_eq!(convert(&mut run, &half), ["master/w"]);
    let random = run.checkpoint();
    let mut run = R::new(&of(Dtype::Bf16, master), false).unwrap();
    assert_eq!(convert(&mut run, &random), ["master/w"]);
    steps(&mut run, 1);
    // What is rounded at random in the file cannot be so in f16.
    let mut run = R::new(&of(Dtype::F16, master), false).unwrap();
    let error = run.optimizer().load(&random).unwrap_err();
    assert!(error.to_string().contains("master copy"), "{error}");
    let listed = run.optimizer().load_with(&random, &crate::common::lenient()).unwrap();
    assert!(listed.iter().any(|skipped| skipped.reason.contains("rounded at random")), "{listed:?}");
    assert_eq!(run.optimizer().hyperparams().next().unwrap().half_params, master);
    steps(&mut run, 1);
}

/// By default the hyperparameters are the file's, those that decide on the state included.
fn the_files_hyperparams_win<R: Run>() {
    let hyperparams =
        Hyperparams { order: 3, amsgrad: true, half_params: HalfParams::Stochastic { seed: 2 }, ..Default::default() };
    let Some(saved) = saved::<R>(&single(hyperparams.clone(), Dtype::Bf16)) else { return };
    let mut run = R::new(&single(Hyperparams { order: 1, ..Hyperparams::default() }, Dtype::Bf16), false).unwrap();
    steps(&mut run, 1);
    run.load(&saved);
    assert!(run.checkpoint() == saved);
    assert_eq!(run.optimizer().hyperparams().next(), Some(&hyperparams));
    let mut same = R::new(&single(hyperparams, Dtype::Bf16), false).unwrap();
    same.load(&saved);
    [&mut run, &mut same].into_iter().for_each(|run| steps(run, 2));
    assert!(run.checkpoint() == same.checkpoint());
}

fn schedules_go_on_or_start_anew<R: Run>() {
    let of = |steps| {
        let schedule = Schedule::Cosine { steps, end_factor: 0.0 };
        single(Hyperparams { schedule, ..Hyperparams::default() }, Dtype::F32)
    };
    let Some(short) = saved::<R>(&of(4)) else { return };
    for (own_recorded, recorded) in [(false, 3), (true, 1)] {
        let mut run = R::new(&of(100), false).unwrap();
        steps(&mut run, 1);
        let options = LoadOptions { own_recorded, ..OWN() };
        assert_eq!(run.optimizer().load_with(&short, &options), Ok(vec![]));
        assert_eq!(run.optimizer().recorded(), recorded);
        assert_eq!(run.optimizer().hyperparams().next(), Some(&of(100)[0].0));
        steps(&mut run, 1);
        assert_eq!(run.checkpoint().states()[0].step(), 4);
    }
}

fn the_loss_scale_goes_with_the_options<R: Run>() {
    let scaled = |init_scale| GradOptions {
        scaler: Some(GradScaler { init_scale, growth_interval: 2, ..GradScaler::default() }),
        ..GradOptions::default()
    };
    let plain = GradOptions::default();
    // Of the file, of the optimizer, and the scale after the loading. Three steps have doubled the file's.
    for (saved, own, expected) in
        [(scaled(8.0), scaled(2.0), 16.0), (plain, scaled(2.0), 2.0), (scaled(8.0), plain, 1.0), (plain, plain, 1.0)]
    {
        let groups = single(Hyperparams::default(), Dtype::F32);
        let Some(mut first) = R::new(&groups, false) else { return };
        first.optimizer().set_grad_options(saved).unwrap();
        steps(&mut first, 3);
        let mut run = R::new(&groups, false).unwrap();
        run.optimizer().set_grad_options(own).unwrap();
        let options = LoadOptions { own_grad_options: true, ..LoadOptions::default() };
        assert_eq!(run.optimizer().load_with(&first.checkpoint(), &options), Ok(vec![]));
        assert_eq!(run.optimizer().grad_options(), &own);
        let header = String::from_utf8_lossy(&run.checkpoint().to_bytes().unwrap()).into_owned();
        assert!(header.contains(&format!(r#"\"loss_scale\":{expected:?}"#)), "{saved:?} {own:?}: {header}");
        steps(&mut run, 1);
    }
}

/// Parameters of which one has rested for two steps, and another is frozen.
fn with_different_counts<R: Run>() -> Option<R> {
    let names = ["a", "b", "c"].map(|name| (name, Dtype::F32));
    let mut run = R::new(&vec![group(Hyperparams::default(), &names)], false)?;
    run.optimizer().freeze(["b"]).unwrap();
    steps(&mut run, 2);
    run.optimizer().thaw(["b"]).unwrap();
    run.optimizer().freeze(["c"]).unwrap();
    steps(&mut run, 1);
    Some(run)
}

fn groups_may_be_divided_otherwise<R: Run>() {
    let Some(first) = with_different_counts::<R>() else { return };
    let saved = first.checkpoint();
    let of = |names: &[&str]| {
        group(Hyperparams::default(), &names.iter().map(|&name| (name, Dtype::F32)).collect::<Vec<_>>())
    };
    let mut run = R::new(&vec![of(&["c", "a"]), of(&["b"])], true).unwrap();
    let error = run.optimizer().load(&saved).unwrap_err();
    assert!(error.to_string().contains("its group"), "{error}");
    assert_eq!(run.optimizer().load_with(&saved, &OWN()), Ok(vec![]));
    assert_eq!(run.optimizer().frozen().collect::<Vec<_>>(), ["c"]);
    let counts = |checkpoint: &Checkpoint| {
        let mut counts: Vec<_> = checkpoint.states().iter().map(|state| (state.name.clone(), state.step())).collect();
        counts.sort();
        counts
    };
    assert_eq!(counts(&run.checkpoint()), [("a".into(), 3), ("b".into(), 1), ("c".into(), 2)]);
    steps(&mut run, 1);
    assert_eq!(counts(&run.checkpoint()), [("a".into(), 4), ("b".into(), 2), ("c".into(), 2)]);
}

fn a_pause_is_not_noticed<R: Run>() {
    let Some(mut whole) = with_different_counts::<R>() else { return };
    let saved = Checkpoint::from_bytes(&whole.checkpoint().to_bytes().unwrap()).unwrap();
    let names = ["a", "b", "c"].map(|name| (name, Dtype::F32));
    let mut resumed = R::new(&vec![group(Hyperparams::default(), &names)], true).unwrap();
    resumed.load(&saved);
    assert!(resumed.checkpoint() == saved);
    for run in [&mut whole, &mut resumed] {
        steps(run, 1);
        run.optimizer().thaw(["c"]).unwrap();
        steps(run, 2);
    }
    assert!(whole.checkpoint() == resumed.checkpoint());
}

fn names_are_mapped<R: Run>() {
    let of = |names: &[&str]| {
        vec![group(Hyperparams::default(), &names.iter().map(|&name| (name, Dtype::F32)).collect::<Vec<_>>())]
    };
    let Some(mut first) = R::new(&of(&["m.a", "m.b", "c"]), false) else { return };
    first.optimizer().freeze(["m.b"]).unwrap();
    steps(&mut first, 2);
    let mut saved = first.checkpoint();
    let before = saved.clone();
    for (new, text) in [("x", "`m.a` and `m.b` are both"), ("", "renamed to nothing")] {
        let error = saved.rename_params(|name| Some(if name == "c" { "c" } else { new }.to_owned())).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(saved == before);
    }
    saved.strip_prefix("m.").unwrap();
    let mut run = R::new(&of(&["a", "b", "c"]), false).unwrap();
    run.load(&saved);
    assert_eq!(run.optimizer().frozen().collect::<Vec<_>>(), ["b"]);
    assert_eq!(run.params(), first.params());
    assert!(run.checkpoint() == Checkpoint::from_bytes(&saved.to_bytes().unwrap()).unwrap());
    // What is left out is as if it had never been there.
    saved.rename_params(|name| (name == "c").then(|| "d".to_owned())).unwrap();
    assert!(Checkpoint::from_bytes(&saved.to_bytes().unwrap()).unwrap() == saved);
    let mut run = R::new(&of(&["d"]), false).unwrap();
    run.load(&saved);
    assert_eq!(run.optimizer().frozen().count(), 0);
    saved.rename_params(|_| None).unwrap();
    assert!(saved.states().is_empty() && run.optimizer().load(&saved).is_err());
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_the_cpu {
            $(#[test] fn $test() { super::$test::<super::OnCpu>(); })*
        }

        mod on_the_gpu {
            $(#[test] fn $test() { super::$test::<super::OnGpu>(); })*
        }
    };
}

on_both! {
    a_pause_is_not_noticed,
    amsgrad_comes_and_goes,
    averages_come_and_go,
    groups_may_be_divided_otherwise,
    integrals_behind_the_switch_are_not_missed,
    moments_go_on_under_another_order,
    names_are_mapped,
    precision_changes,
    schedules_go_on_or_start_anew,
    the_files_hyperparams_win,
    the_loss_scale_goes_with_the_options,
}

/// A copy whose rounding is not the parameter is of a parameter that others have written since.
#[test]
fn a_copy_of_another_value_is_not_taken() {
    let mut saved = saved::<OnCpu>(&single(Hyperparams::default(), Dtype::Bf16)).unwrap();
    let [mut written, mut found] = [[2.5_f32; 5], [0.0_f32; 5]];
    let copy = plane(&saved, Plane::Master).unwrap();
    let mut own = [half::bf16::ZERO; 5];
    saved.copy_param("w", &mut own).unwrap();
    own[1..4].fill(half::bf16::from_f32(2.5));
    saved.insert_param("w", &own).unwrap();
    saved.copy_param("w", &mut found).unwrap();
    [written[0], written[4]] = [copy[0], copy[4]];
    assert_eq!(found, written);
}

/// A readback is of the state at its point of the encoder, whatever is called before it has come.
#[test]
fn a_readback_under_way_is_of_its_point() {
    let Some(mut run) = with_different_counts::<OnGpu>() else { return };
    let expected = run.checkpoint();
    let (gpu, other) = (run.gpu.clone(), {
        let mut other = with_different_counts::<OnGpu>().unwrap();
        steps(&mut other, 4);
        other.checkpoint()
    });
    for submits_first in [true, false] {
        let mut encoder = gpu.encoder();
        let reading = run.optimizer.read_checkpoint(&mut encoder, true).unwrap();
        let mut encoder = Some(encoder);
        if submits_first {
            gpu.submit(encoder.take().unwrap());
        }
        run.optimizer.freeze(["a"]).unwrap();
        run.optimizer.thaw(["c"]).unwrap();
        run.optimizer.load(&other).unwrap();
        run.optimizer.freeze(["b"]).unwrap();
        if let Some(encoder) = encoder {
            gpu.submit(encoder);
        }
        steps(&mut run, 1);
        assert!(reading.wait().unwrap() == expected, "submitted first: {submits_first}");
        let counts: Vec<_> = run.checkpoint().states().iter().map(|state| state.step()).collect();
        assert_eq!(counts, [8, 5, 2]);
        assert_eq!(run.optimizer.known_step(), 8);
        run.load(&expected);
    }
}
