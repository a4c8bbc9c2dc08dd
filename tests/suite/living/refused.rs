//! Calls that are refused change nothing, and their messages say what to do.

use miadam::{
    Binding, Dtype, Error, FRESH_ROW, HalfParams, Hyperparams, MiAdam, OnDevice, Optimizer, Param, ParamGroup, Rows,
    StepScale, cpu,
};

use crate::common::{Gpu, gpu};

fn groups() -> [ParamGroup; 2] {
    let half = Param::new("half", 6).with_dtype(Dtype::F16);
    let group = |params: Vec<Param>| ParamGroup::new(Hyperparams::default(), params);
    [group(vec![Param::new("a", 6), Param::new("b", 6)]), group(vec![half])]
}

/// What both devices refuse alike, each call with words of its message.
fn refuse<D: OnDevice>(optimizer: &mut Optimizer<D>, unchanged: impl Fn(&Optimizer<D>)) {
    type Call<D> = (&'static [&'static str], fn(&mut Optimizer<D>) -> Result<(), Error>);
    let stochastic = || Hyperparams { half_params: HalfParams::Stochastic { seed: 0 }, ..Hyperparams::default() };
    let calls: [Call<D>; 16] = [
        (&["`c`", "no parameter"], |optimizer| optimizer.freeze(["a", "c"])),
        (&["`a`", "twice"], |optimizer| optimizer.freeze(["a", "b", "a"])),
        (&["`c`"], |optimizer| optimizer.thaw(["c"])),
        (&["`c`"], |optimizer| optimizer.skip(["c"])),
        (&["group 2", "has 2"], |optimizer| optimizer.freeze_group(2)),
        (&["group 9"], |optimizer| optimizer.thaw_group(9)),
        (&["`c`"], |optimizer| optimizer.remove_params(["a", "c"])),
        (&["`b`", "twice"], |optimizer| optimizer.remove_params(["b", "b"])),
        (&["at least one"], |optimizer| optimizer.remove_params(["a", "b", "half"])),
        (&["`c`"], |optimizer| optimizer.set_group(["a", "c"], 1)),
        (&["group 2"], |optimizer| optimizer.set_group(["a"], 2)),
        (&["group 2"], |optimizer| optimizer.set_hyperparams(2, Hyperparams::default())),
        (&["kappa"], |optimizer| optimizer.set_hyperparams(0, Hyperparams { kappa: 2.0, ..Hyperparams::default() })),
        (&["UnitGain"], |optimizer| {
            let step_scale = StepScale::UnitGain;
            optimizer.set_hyperparams(0, Hyperparams { kappa: 1.0, step_scale, ..Hyperparams::default() })
        }),
        (&["`half`"], |optimizer| {
            let half_params = HalfParams::Stochastic { seed: 0 };
            optimizer.set_hyperparams(1, Hyperparams { half_params, ..Hyperparams::default() })
        }),
        (&["order"], |optimizer| optimizer.set_hyperparams(0, Hyperparams { order: 100, ..Hyperparams::default() })),
    ];
    for (words, call) in calls {
        let message = call(optimizer).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        unchanged(optimizer);
    }
    // Into a group of stochastic rounding, a parameter in f16 cannot come.
    optimizer.set_hyperparams(0, stochastic()).unwrap();
    let error = optimizer.set_group(["half"], 0).unwrap_err();
    assert!(matches!(error, Error::StochasticRounding { .. }), "{error}");
    optimizer.set_hyperparams(0, Hyperparams::default()).unwrap();
    unchanged(optimizer);
}

#[test]
fn on_the_cpu() {
    let mut optimizer = cpu::MiAdam::new(groups()).unwrap();
    let (mut values, mut grads) = ([1.0; 6], [0.5; 6]);
    let mut half = [half::f16::ONE; 6];
    let [mut other, mut other_grads, mut half_grads] = [[1.0; 6]; 3];
    let bindings = [
        cpu::Binding::new("a", &mut values, &mut grads),
        cpu::Binding::new("b", &mut other, &mut other_grads),
        cpu::Binding::new("half", &mut half, &mut half_grads),
    ];
    optimizer.step(bindings).unwrap();
    let before = optimizer.read_checkpoint();
    let unchanged = |optimizer: &cpu::MiAdam| assert!(optimizer.read_checkpoint() == before);
    refuse(&mut optimizer, unchanged);
    let group = |params: Vec<Param>| ParamGroup::new(Hyperparams::default(), params);
    let wrong: [(&[&str], Result<(), Error>); 12] = [
        (&["`a`", "twice"], optimizer.add_params(0, [Param::new("a", 1)])),
        (&["`c`", "twice"], optimizer.add_params(0, [Param::new("c", 1), Param::new("c", 1)])),
        (&["empty name"], optimizer.add_params(0, [Param::new("", 1)])),
        (&["group 2"], optimizer.add_params(2, [Param::new("c", 1)])),
        (&["group 0", "no parameters"], optimizer.add_params(0, [])),
        (&["group 2", "no parameters"], optimizer.add_group(group(Vec::new())).map(drop)),
        (&["`b`", "twice"], optimizer.add_group(group(vec![Param::new("b", 1)])).map(drop)),
        (&["`c`"], optimizer.remap(["a", "c"], 3, &[0])),
        (&["`a`", "twice"], optimizer.remap(["a", "a"], 3, &[0])),
        (&["`a`", "4 rows", "6 elements"], optimizer.remap(["a"], 4, &[0])),
        (&["0 rows"], optimizer.remap(["a"], 0, &[])),
        (&["row 1", "row 3", "FRESH_ROW"], optimizer.remap(["a"], 3, &[2, 3, FRESH_ROW])),
    ];
    for (words, result) in wrong {
        let message = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    unchanged(&optimizer);
    // Too much memory is an error, not an end.
    let huge = Param::new("huge", isize::MAX as usize / 4);
    assert!(matches!(optimizer.add_params(0, [huge]), Err(Error::OutOfMemory { .. })));
    unchanged(&optimizer);
}

struct OnGpu {
    gpu: Gpu,
    optimizer: MiAdam,
    pool: wgpu::Buffer,
}

fn on_gpu() -> Option<OnGpu> {
    let gpu = gpu()?;
    let pool = gpu.buffer_of(&[1.0; 128]);
    let at = |param: u64, grad: u64| ((&pool, 4 * param), (&pool, 4 * grad));
    let bind = |name, (param, grad)| Binding::new(name, param, grad).with_grad_dtype(Dtype::F32);
    let bindings = [bind("a", at(0, 8)), bind("b", at(16, 24)), bind("half", at(32, 36))];
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups(), bindings).unwrap();
    gpu.step(&mut optimizer);
    Some(OnGpu { gpu, optimizer, pool })
}

#[test]
fn on_the_gpu() {
    let Some(OnGpu { gpu, mut optimizer, pool }) = on_gpu() else { return };
    let before = gpu.checkpoint(&optimizer, true);
    let dispatches = optimizer.dispatches().unwrap();
    let unchanged = |optimizer: &MiAdam| assert!(gpu.checkpoint(optimizer, true) == before);
    refuse(&mut optimizer, unchanged);
    let group = |params: Vec<Param>| ParamGroup::new(Hyperparams::default(), params);
    let new = || Param::new("c", 6);
    let place = |byte: u64| Binding::new("c", (&pool, byte), (&pool, byte + 24));
    let wrong: [(&[&str], Result<(), Error>); 9] = [
        (&["`a`", "twice"], optimizer.add_params(0, [Param::new("a", 1)], [])),
        (&["`c`", "no binding"], optimizer.add_params(0, [new()], [])),
        (&["`d`", "no parameter"], optimizer.add_params(0, [new()], [Binding::new("d", &pool, &pool)])),
        (&["`c`", "overlap"], optimizer.add_params(0, [new()], [place(0)])),
        (&["`c`"], optimizer.add_params(0, [new()], [place(4 * 120)])),
        (&["group 2"], optimizer.add_params(2, [new()], [place(4 * 48)])),
        (&["group 2", "no parameters"], optimizer.add_group(group(Vec::new()), []).map(drop)),
        (&["`b`", "twice"], optimizer.add_group(group(vec![Param::new("b", 1)]), []).map(drop)),
        (&["kappa"], {
            let hyperparams = Hyperparams { kappa: -1.0, ..Hyperparams::default() };
            optimizer.add_group(ParamGroup::new(hyperparams, [new()]), [place(4 * 48)]).map(drop)
        }),
    ];
    for (words, result) in wrong {
        let message = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    unchanged(&optimizer);
    assert_eq!(optimizer.dispatches().unwrap(), dispatches);
}

#[test]
fn rows_on_the_gpu() {
    let Some(OnGpu { gpu, mut optimizer, pool }) = on_gpu() else { return };
    let before = gpu.checkpoint(&optimizer, true);
    let numbers = gpu.buffer_of(&[0.0; 256]);
    let unusable = gpu.buffer("no storage", 64, wgpu::BufferUsages::COPY_DST).unwrap();
    let place = || Binding::new("a", (&pool, 4 * 48), (&pool, 4 * 88));
    let wrong: [(&[&str], Binding<'_>, Rows); 8] = [
        (&["`c`"], Binding::new("c", &pool, &pool), Rows::new(3, &numbers, 3)),
        (&["`a`", "4 rows", "6 elements"], place(), Rows::new(4, &numbers, 3)),
        (&["0 rows"], place(), Rows::new(0, &numbers, 3)),
        (&["STORAGE"], place(), Rows::new(3, &unusable, 3)),
        (&["byte 4", "multiple of 256"], place(), Rows::new(3, (&numbers, 4), 3)),
        (&["no room for 257"], place(), Rows::new(3, &numbers, 257)),
        (&["`a`", "overlap"], Binding::new("a", &pool, (&pool, 4 * 48)), Rows::new(6, &numbers, 20)),
        (&["`a`", "byte"], place(), Rows::new(3, &numbers, 100)),
    ];
    let mut encoder = gpu.encoder();
    for (words, binding, rows) in wrong {
        let message = optimizer.remap(&mut encoder, [binding], &rows).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    gpu.submit(encoder);
    assert!(gpu.checkpoint(&optimizer, true) == before);
}

/// The numbers are on the device, so that it finds those that are wrong. It reads nothing for them.
#[test]
fn rows_that_are_not_there_are_counted_and_start_at_0() {
    let Some(OnGpu { gpu, mut optimizer, pool }) = on_gpu() else { return };
    let first_moment = |optimizer: &MiAdam| {
        let state = gpu.state(optimizer);
        state.params[0].plane(miadam::Plane::FirstMoment).unwrap().to_vec()
    };
    let before = first_moment(&optimizer);
    assert!(before.iter().all(|m| *m != 0.0));
    let rows = [2, 3, u32::MAX - 1, FRESH_ROW, 0];
    let numbers = gpu.buffer_of(&rows.map(f32::from_bits));
    let mut encoder = gpu.encoder();
    let place = Binding::new("a", (&pool, 4 * 64), (&pool, 4 * 96));
    optimizer.remap(&mut encoder, [place], &Rows::new(3, &numbers, 5)).unwrap();
    gpu.submit(encoder);
    let zero = [0.0; 2];
    assert_eq!(first_moment(&optimizer), [&before[4..], &zero, &zero, &zero, &before[..2]].concat());
    assert_eq!(gpu.report(&optimizer).bad_rows, 2);
    gpu.step(&mut optimizer);
    assert_eq!(gpu.report(&optimizer).bad_rows, 2, "once");
}
