//! Lines fit 80 columns, but for what is one line by its nature: an error, a path, JSON, a kernel.

use super::{Folder, Ran, USUAL, examples, with_flags};

fn assert_fits(text: &str, what: &str) {
    for line in text.lines().filter(|line| !line.starts_with("error: ")) {
        // A long path cannot be broken.
        assert!(line.chars().count() <= 80 || !line.trim().contains(' '), "{what}: {line:?}");
    }
}

fn assert_all_fits(folder: &Folder, example: &str, arguments: &[&str]) {
    let Ran { code, out, err } = folder.run(example, arguments);
    assert_eq!(code, Some(0), "{example} {arguments:?}: {err}");
    assert!(!out.is_empty(), "{example} {arguments:?}");
    assert_fits(&(out + "\n" + &err), &format!("{example} {arguments:?}"));
}

#[test]
fn help_and_lists_fit() {
    let folder = Folder::new("help");
    for (example, _) in with_flags() {
        for flag in ["-h", "--help", "--list-adapters"] {
            if flag != "--list-adapters" || example != "wgsl" {
                assert_all_fits(&folder, example, &[flag]);
            }
        }
        // A wide terminal makes no difference.
        let wide = Ran::new(folder.command(example, &["--help"]).env("COLUMNS", "200").output().unwrap());
        assert_fits(&wide.out, example);
    }
}

#[test]
fn usual_runs_fit() {
    let folder = Folder::new("fits");
    for (example, usual) in examples().into_iter().filter(|&(example, _)| example != "wgsl") {
        assert_all_fits(&folder, example, usual);
    }
}

#[test]
fn whatever_mlp_mnist_says_fits() {
    let folder = Folder::new("mlp_mnist");
    let files = "--checkpoint a/rather/long/path/of/a/run/run.safetensors --metrics a/rather/long/path/metrics.jsonl";
    std::fs::create_dir_all(folder.0.join("a/rather/long/path/of/a/run")).unwrap();
    let all = "--clip-norm 1 --clip-value 1 --accumulate 2 --loss-scale 8e37 --skip-non-finite --schedule one-cycle";
    for flags in [
        "--device auto --epochs 1".to_owned(),
        format!("--device auto --epochs 2 --hidden 8 {all}"),
        // Losses of many digits, and a warning.
        "--device cpu --epochs 2 --hidden 8 --lr 1000 --order 2 --step-scale reference".to_owned(),
        format!("--device cpu --epochs 1 --hidden 8 {files} {all}"),
        format!("--device cpu --epochs 2 {files} --resume"),
    ] {
        assert_all_fits(&folder, "mlp_mnist", &flags.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn whatever_throughput_says_fits() {
    let folder = Folder::new("throughput");
    let usual = USUAL.into_iter().find(|&(example, _)| example == "throughput").unwrap().1;
    assert_all_fits(&folder, "throughput", &[usual, &["--options"]].concat());
    // Without an adapter it says why. A backend of another system has none.
    let backend = if cfg!(windows) { "metal" } else { "dx12" };
    for flag in ["--options", "--json"] {
        let mut command = folder.command("throughput", &[usual, &[flag]].concat());
        let Ran { code, out, err } = Ran::new(command.env("WGPU_BACKEND", backend).output().unwrap());
        assert_eq!(code, Some(0), "{err}");
        let said = if flag == "--json" { err } else { out };
        assert!(said.starts_with("CPU rows only: there is no GPU adapter for "), "{said}");
        assert_fits(&said, flag);
    }
}
