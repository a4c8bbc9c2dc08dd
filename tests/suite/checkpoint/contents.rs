//! What a file holds, whoever writes or reads it, and what no file may hold.

use std::fs;
use std::path::{Path, PathBuf};

use miadam::{Checkpoint, Error, Hyperparams, Param, ParamGroup, Schedule, cpu};
use safetensors::SafeTensors;

use super::{LAYOUTS, begin, steps};
use crate::common::{OnCpu, Random, Run};

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contents");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Files of an older version, and the seeds of the fuzzers where they are.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = [
        "checkpoints/version_1",
        "checkpoints/version_2",
        "bridge/adam.rust",
        "bridge/adamw.rust",
        "bridge/miadam.rust",
    ];
    let golden = golden.map(|name| root.join("tests/golden").join(format!("{name}.safetensors")));
    let seeds = fs::read_dir(root.join("fuzz/corpus/checkpoint")).into_iter().flatten();
    let mut paths: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
    paths.sort();
    golden.into_iter().chain(paths).map(|path| fs::read(path).unwrap()).collect()
}

fn header_len(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn files_are_as_safetensors_writes_them() {
    // Not all seeds are; a header may be written in other ways.
    let mut all: Vec<_> =
        corpus().iter().map(|bytes| Checkpoint::from_bytes(bytes).unwrap().to_bytes().unwrap()).collect();
    for count in 0..3 {
        let mut run: OnCpu = begin(LAYOUTS[count % 2]).unwrap();
        steps(&mut run, 0..count);
        let mut checkpoint = run.checkpoint();
        if count > 0 {
            checkpoint.user_data_mut().insert("ε".to_owned(), "\"\n".to_owned());
        }
        all.push(checkpoint.to_bytes().unwrap());
    }
    for bytes in all {
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        assert!(safetensors::serialize(tensors, header.metadata().clone()).unwrap() == bytes);
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        assert!(checkpoint.to_bytes().unwrap() == bytes);
        checkpoint.save(file("written")).unwrap();
        assert!(fs::read(file("written")).unwrap() == bytes);
    }
}

/// Some bytes changed, most of them in the header, or some cut off or added at the end.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(8 + header_len(bytes));
        // One digit, letter or bracket for another is more often well-formed.
        damaged[at] = if random.below(2) == 0 { bytes[random.below(bytes.len())] } else { random.bits() as u8 };
    }
    match random.below(8) {
        0 => damaged.truncate(random.below(bytes.len() + 1)),
        1 => damaged.extend(vec![0; 1 + random.below(9)]),
        _ => {}
    }
    damaged
}

#[test]
fn open_takes_exactly_what_from_bytes_takes() {
    let mut random = Random(3);
    let (mut taken, mut refused) = (0, 0);
    for bytes in corpus() {
        for turn in 0..400 {
            let bytes = if turn == 0 { bytes.clone() } else { damaged(&bytes, &mut random) };
            fs::write(file("damaged"), &bytes).unwrap();
            match (Checkpoint::from_bytes(&bytes), Checkpoint::open(file("damaged"))) {
                // As bytes, since a NaN is not equal to itself.
                (Ok(expected), Ok(found)) => {
                    assert!(found.to_bytes().unwrap() == expected.to_bytes().unwrap());
                    assert!(SafeTensors::deserialize(&bytes).is_ok());
                    taken += 1;
                }
                (Err(expected), Err(found)) => {
                    assert_eq!(found, expected);
                    refused += 1;
                }
                (bytes, file) => panic!("{:?} as bytes, {:?} as a file", bytes.err(), file.err()),
            }
        }
    }
    assert!(taken > 100 && refused > 1000, "{taken} taken, {refused} refused");
}

#[test]
fn a_file_that_promises_too_much_asks_for_no_memory() {
    let group = ParamGroup::new(Hyperparams { order: 0, ..Hyperparams::default() }, [Param::new("w", 1)]);
    let small = cpu::MiAdam::new([group]).unwrap().read_checkpoint().to_bytes().unwrap();
    let header = str::from_utf8(&small[8..8 + header_len(&small)]).unwrap();
    // 2⁵⁰ elements, and the file ends after the second.
    let promises = header.replace("[1]", "[1125899906842624]").replace("[0,4]", "[0,4503599627370496]");
    let promises = promises.replace("[4,8]", "[4503599627370496,9007199254740992]");
    assert_eq!(promises.len(), header.len() + 2 * 15 + 15 + 2 * 15);
    let promises = [&(promises.len() as u64).to_le_bytes(), promises.as_bytes(), &small[small.len() - 8..]].concat();
    for bytes in [promises, [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()] {
        fs::write(file("promises"), &bytes).unwrap();
        let error = Checkpoint::open(file("promises")).unwrap_err();
        assert!(matches!(error, Error::CheckpointFormat { .. }), "{error}");
        assert_eq!(Checkpoint::from_bytes(&bytes), Err(error));
    }
}

#[test]
fn averages_of_squares_are_not_below_0() {
    let hyperparams = Hyperparams { order: 0, amsgrad: true, ..Hyperparams::default() };
    let group = ParamGroup::new(hyperparams, [Param::new("w", 1)]);
    let whole = cpu::MiAdam::new([group]).unwrap().read_checkpoint().to_bytes().unwrap();
    // Planes lie in the order of their names.
    for (entry, from_end) in [("max_second_moment/w", 8), ("second_moment/w", 4)] {
        let with = |value: f32| {
            let mut bytes = whole.clone();
            let at = bytes.len() - from_end;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            Checkpoint::from_bytes(&bytes)
        };
        for kept in [-0.0, 1.0, f32::INFINITY, f32::NAN] {
            assert!(with(kept).is_ok(), "{entry} of {kept}");
        }
        for refused in [-1e-45, -1.0, f32::NEG_INFINITY] {
            let error = with(refused).unwrap_err();
            assert!(matches!(&error, Error::CheckpointEntry { entry: found, .. } if found == entry), "{error}");
        }
    }
}

#[test]
fn user_data_comes_back_and_takes_no_room_when_empty() {
    let mut run: OnCpu = begin(LAYOUTS[0]).unwrap();
    steps(&mut run, 0..2);
    let mut checkpoint = run.checkpoint();
    let plain = checkpoint.to_bytes().unwrap();
    assert!(checkpoint.user_data().is_empty() && !String::from_utf8_lossy(&plain).contains("user_data"));
    for (key, value) in
        [("epoch", "12"), ("", "no key"), ("no value", ""), ("a\"b\\\n\u{0}é", "{\"json\":[1]}\u{1f980}")]
    {
        checkpoint.user_data_mut().insert(key.to_owned(), value.to_owned());
    }
    checkpoint.save(file("user")).unwrap();
    let mut opened = Checkpoint::open(file("user")).unwrap();
    assert_eq!(opened.user_data(), checkpoint.user_data());
    assert!(opened == checkpoint);
    // An optimizer takes the rest, and keeps none of it.
    run.load(&opened);
    assert!(run.checkpoint().to_bytes().unwrap() == plain);
    opened.user_data_mut().clear();
    assert!(opened.to_bytes().unwrap() == plain);

    let (len, data) = (header_len(&plain), &plain[8 + header_len(&plain)..]);
    let text = str::from_utf8(&plain[8..8 + len]).unwrap();
    for (user_data, reason) in [
        (r#"{\"a\":\"1\",\"a\":\"2\"}"#, "`a` stands twice in `user_data`"),
        (r#"{\"a\":1}"#, "expected a string"),
        (r#"[\"a\"]"#, "expected a JSON object of strings"),
        ("null", "expected a JSON object of strings"),
    ] {
        let with = format!(r#"{{\"user_data\":{user_data},\"version\""#);
        let header = text.replacen(r#"{\"version\""#, &with, 1);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        let error = Checkpoint::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{user_data}: {error}");
    }
}

/// A checkpoint that no reader takes back, though an optimizer has made it, and why.
fn unreadable() -> [(Checkpoint, &'static str); 3] {
    let made = |hyperparams, name: &str| {
        cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new(name, 1)])]).unwrap().read_checkpoint()
    };
    let nested = (0..60).fold(Schedule::Constant, |inner, _| Schedule::Sequence(vec![(0, inner)]));
    let deep = made(Hyperparams { schedule: nested, ..Hyperparams::default() }, "w");
    let long = "x".repeat(100_000_000);
    let named = made(Hyperparams::default(), &long);
    let mut filled = made(Hyperparams::default(), "w");
    filled.user_data_mut().insert("log".to_owned(), long);
    [(deep, "recursion limit"), (named, "header too large"), (filled, "header too large")]
}

#[test]
fn what_could_not_be_opened_replaces_nothing() {
    let good = begin::<OnCpu>(LAYOUTS[0]).unwrap().checkpoint();
    for (checkpoint, expected) in unreadable() {
        good.save(file("good")).unwrap();
        let before = fs::metadata(file("good")).unwrap().modified().unwrap();
        for error in [checkpoint.save(file("good")).unwrap_err(), checkpoint.to_bytes().unwrap_err()] {
            assert!(matches!(&error, Error::UnreadableCheckpoint { reason } if reason.contains(expected)), "{error}");
            assert!(error.to_string().contains("could not be opened again"), "{error}");
        }
        assert_eq!(fs::metadata(file("good")).unwrap().modified().unwrap(), before);
        assert!(Checkpoint::open(file("good")).unwrap() == good);
        assert!(checkpoint.save(file("none")).is_err() && !file("none").exists());
    }
}

#[test]
fn permuting_is_a_transposition_and_back() {
    let optimizer = miadam::cpu::MiAdam::new([miadam::ParamGroup::new(
        miadam::Hyperparams::default(),
        [miadam::Param::new("w", 24).with_dtype(miadam::Dtype::Bf16)],
    )]);
    let mut optimizer = optimizer.unwrap();
    let mut w: Vec<_> = (0..24_u8).map(|n| half::bf16::from_f32(n.into())).collect();
    let mut grad: Vec<f32> = (0..24_u8).map(f32::from).collect();
    optimizer.step([miadam::cpu::Binding::new("w", &mut w, &mut grad)]).unwrap();
    let mut saved = optimizer.read_checkpoint();
    saved.insert_param("w", &w).unwrap();
    let mut permuted = saved.clone();
    permuted.permute_param("w", &[2, 3, 4], &[2, 0, 1]).unwrap();
    let at = |[i, j, k]: [usize; 3]| (i * 3 + j) * 4 + k;
    for (plane, values) in permuted.states()[0].planes() {
        let before = saved.states()[0].plane(plane).unwrap();
        for (i, j, k) in (0..24).map(|n| (n / 12, n / 4 % 3, n % 4)) {
            assert_eq!(values[(k * 2 + i) * 3 + j], before[at([i, j, k])], "{plane}");
        }
    }
    assert_ne!(permuted, saved);
    permuted.permute_param("w", &[4, 2, 3], &[1, 2, 0]).unwrap();
    assert_eq!(permuted, saved);
    for (name, shape, axes) in
        [("v", &[24][..], &[0][..]), ("w", &[4, 5], &[0, 1]), ("w", &[4, 6], &[0, 0]), ("w", &[4, 6], &[1])]
    {
        assert!(permuted.permute_param(name, shape, axes).is_err(), "{name} {shape:?} {axes:?}");
        assert_eq!(permuted, saved);
    }
}
