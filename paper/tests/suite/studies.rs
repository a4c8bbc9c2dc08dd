//! The commands `label_noise`, `settings` and `precision`, as a user meets them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::tempdir;

const LABEL_NOISE: &str = env!("CARGO_BIN_EXE_label_noise");
const PRECISION: &str = env!("CARGO_BIN_EXE_precision");
const SETTINGS: &str = env!("CARGO_BIN_EXE_settings");
/// A run of seconds.
const TINY: &str = "--quick --hidden 8 --epochs 1 --seeds 2 --trials 2";

fn run(program: &str, out: &Path, flags: &str) -> Output {
    Command::new(program).args(flags.split(' ')).arg("--out").arg(out).output().unwrap()
}

/// The table of runs without the column of times, in the order of its rows.
fn numbers(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string(folder.join("runs.csv")).unwrap();
    let without_time = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        fields.iter().enumerate().filter(|(at, _)| *at != 21).map(|(_, field)| *field).collect::<Vec<_>>().join(",")
    };
    let mut rows: Vec<_> = table.lines().map(without_time).collect();
    rows.sort();
    rows
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn label_noise_writes_both_tables_and_repeats_to_the_bit_on_any_number_of_threads() {
    let folder = tempdir().unwrap();
    let [one, three] = ["one", "three"].map(|name| folder.path().join(name));
    for (out, threads) in [(&one, 1), (&three, 3)] {
        let output = run(LABEL_NOISE, out, &format!("{TINY} --threads {threads}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(numbers(&one), numbers(&three));
    for name in ["shared.csv", "shared.svg", "tuned.csv", "tuned.svg"] {
        assert!(read(&one, name) == read(&three, name), "{name} differs");
    }
    // A head; 12 optimizers at 2 noises.
    assert_eq!(read(&one, "tuned.csv").lines().count(), 1 + 24);
    // The table against another row has 0 in that row, writes nothing, and knows no other names.
    let table = read(&one, "shared.csv");
    let against = |name: &str| {
        let words = TINY.split(' ').chain(["--against", name]).chain(["--out", one.to_str().unwrap()]);
        Command::new(LABEL_NOISE).args(words).output().unwrap()
    };
    let printed = String::from_utf8(against("Adam, lr/2").stdout).unwrap();
    let row = |start: &str| printed.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(row("Adam, lr/2 ").ends_with("+0.00 ± 0.00") && !row("Adam   ").ends_with("+0.00 ± 0.00"), "{printed}");
    assert_eq!(table, read(&one, "shared.csv"));
    assert!(String::from_utf8(against("Adaam").stderr).unwrap().contains("name one of 'Adam', 'Adam, lr/2'"));
    // Nothing is run twice, which the column of times would show, but for a row that was cut short.
    let before = read(&one, "runs.csv");
    fs::write(one.join("runs.csv"), &before[..before.len() - 20]).unwrap();
    assert!(run(LABEL_NOISE, &one, TINY).status.success());
    let kept = before[..before.len() - 1].rfind('\n').unwrap();
    assert_eq!(before[..kept], read(&one, "runs.csv")[..kept]);
    assert_eq!(numbers(&one), numbers(&three));
}

#[test]
fn settings_are_tuned_without_the_test_digits() {
    let folder = tempdir().unwrap();
    assert!(run(LABEL_NOISE, folder.path(), &format!("{TINY} --noise 40")).status.success());
    let rows = numbers(folder.path());
    let of = |split: &str, seed: &str| {
        rows.iter().filter(|row| row.contains(&format!(",{split},")) && row.contains(&format!(",0.4,{seed},"))).count()
    };
    // Two trials of each of 12 optimizers, both looked at again from two more seeds.
    assert_eq!((of("validation", "1000"), of("validation", "1001"), of("validation", "1002")), (24, 24, 24));
    assert_eq!(of("test", "1000"), 0, "no seed of the tuning is one of the test");
}

#[test]
fn settings_writes_a_map_for_each_noise_and_switch() {
    let folder = tempdir().unwrap();
    let output = run(SETTINGS, folder.path(), "--quick --seeds 1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("This is a smoke run: its figures mean nothing."));
    // A head; Adam at 2 rates; 4 scales, 2 values of κ and 2 rates.
    assert_eq!(read(folder.path(), "settings.csv").lines().count(), 1 + 2 + 16);
    for noise in [0, 40] {
        let picture = read(folder.path(), &format!("noise_{noise}_switch_80.svg"));
        assert!(picture.contains("n = 1, Paper") && picture.contains("n = 1, ExactGain"));
    }
}

#[test]
fn precision_writes_the_drift_and_the_accuracy_of_all_orders() {
    let folder = tempdir().unwrap();
    let output = run(PRECISION, folder.path(), "--quick");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A head; 3 spreads, 13 pairs of order and κ, 2 precisions, after 10 and 100 steps.
    let drift = read(folder.path(), "drift.csv");
    assert_eq!(drift.lines().count(), 1 + 3 * 13 * 2 * 2);
    let error = |start: &str| -> f64 {
        let row = drift.lines().find(|line| line.starts_with(start)).unwrap();
        row.split(',').nth(5).unwrap().parse().unwrap()
    };
    // Nothing is measured but what a precision does: steps of a 32nd are far coarser than 8 bits of mantissa.
    let [bf16, q8] = ["10,1,0.9,Bf16,100,", "10,1,0.9,Q8,100,"].map(error);
    assert!(bf16 > 1e-3 && q8 > 4.0 * bf16, "{bf16} {q8}");
    // A head; 3 spreads, 4 states, after 10 and 100 steps. State in f32 is right to its own rounding.
    let single = read(folder.path(), "single.csv");
    assert_eq!(single.lines().count(), 1 + 3 * 4 * 2);
    let own = single.lines().filter(|line| line.contains(",f32,"));
    let errors: Vec<f64> = own.map(|line| line.split(',').nth(3).unwrap().parse().unwrap()).collect();
    assert!(errors.len() == 6 && errors.iter().all(|error| *error < 1e-5), "{errors:?}");
    // A head; 2 noises, 4 orders, 3 precisions.
    assert_eq!(read(folder.path(), "accuracy.csv").lines().count(), 1 + 24);
    assert!(read(folder.path(), "drift.svg").contains("Q8, sizes up to 1 : 10"));
    assert!(read(folder.path(), "accuracy.svg").contains("n = 3, Bf16"));
}

/// The flags of a call that fails, and a part of what it says.
type Refusal<'a> = (&'a str, &'a str);

#[test]
fn what_is_wrong_is_one_line_and_says_what() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    let kept = folder.path().join("kept");
    assert!(run(SETTINGS, &kept, "--quick --seeds 1").status.success());
    let [head, row] = [2, 3].map(|count| read(&kept, "runs.csv").split_inclusive('\n').take(count).collect::<String>());
    fs::write(broken.join("runs.csv"), head + &row.lines().last().unwrap().replace("adam", "adman") + "\n").unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("runs.csv"), row.replacen("sum ", "sum f", 1)).unwrap();
    let absent = folder.path().join("absent");
    for program in [LABEL_NOISE, SETTINGS] {
        let refuse = |out: &Path, (flags, said): Refusal<'_>| {
            let output = run(program, out, flags);
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.starts_with("error: ") && message.contains(said), "{message}");
        };
        refuse(&file.join("below"), ("--quick", "choose a folder to write to"));
        refuse(&broken, ("--quick", "unknown variant `adman`"));
        refuse(&other, ("--quick", "choose another folder"));
        refuse(folder.path(), (&format!("--data {}", absent.display()), "not a folder"));
        refuse(folder.path(), ("--epochs 0", "--epochs"));
        refuse(folder.path(), ("--threads no", "--threads"));
    }
}
