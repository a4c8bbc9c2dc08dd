//! A reader who goes away, as `| head` does, and warnings.

use std::collections::HashMap;
use std::fs;

use miadam_support::adapter;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::{Folder, Ran, examples, with_flags};

fn assert_silent(Ran { code, err, .. }: &Ran, what: &str) {
    assert_eq!(*code, Some(0), "{what}: {err}");
    // A driver may have something to say.
    let is_ours = |line: &str| line.starts_with("error") || line.starts_with("Error") || line.contains("panicked");
    assert!(!err.lines().any(is_ours), "{what}: {err}");
}

#[test]
fn nobody_complains_of_a_reader_who_leaves() {
    let folder = Folder::new("unread");
    for (example, usual) in examples() {
        assert_silent(&folder.run_unread(example, usual), example);
    }
    for (example, _) in with_flags() {
        for flag in ["--help", "-h", "--list-adapters"] {
            if flag != "--list-adapters" || example != "wgsl" {
                assert_silent(&folder.run_unread(example, &[flag]), &format!("{example} {flag}"));
            }
        }
    }
    for flags in ["--json", "--options"] {
        let arguments = ["--case", "10000 x 256", "--order", "0", "--rounds", "1", flags];
        assert_silent(&folder.run_unread("throughput", &arguments), flags);
    }
    #[cfg(unix)]
    {
        let arguments = ["--device", "cpu", "--epochs", "1", "--hidden", "8", "--metrics", "/dev/stdout"];
        assert_silent(&folder.run_unread("mlp_mnist", &arguments), "metrics");
    }
}

/// A case whose group moves fifty times as far as `lr`.
fn outsize(folder: &Folder) {
    let data = 1f32.to_le_bytes();
    let tensor = || TensorView::new(Dtype::F32, vec![1], &data).unwrap();
    let groups = HashMap::from([("groups".to_owned(), r#"[{"params": ["w"], "kappa": 0.98}]"#.to_owned())]);
    let bytes = serialize([("param/w", tensor()), ("grad/1/w", tensor())], Some(groups)).unwrap();
    fs::write(folder.0.join("outsize.safetensors"), bytes).unwrap();
}

#[test]
fn warnings_need_no_variable() {
    let folder = Folder::new("warnings");
    outsize(&folder);
    let mut runs = vec![
        ("mlp_mnist", "--device cpu --epochs 1 --hidden 8 --kappa 0.98"),
        ("mlp_mnist", "--device cpu --epochs 1 --hidden 8 --order 3"),
        ("replay", "--case outsize.safetensors --out replayed.safetensors --device cpu"),
    ];
    if adapter::for_test().is_some() {
        runs.push(("mlp_mnist", "--device gpu --epochs 1 --hidden 8 --kappa 0.98"));
        runs.push(("replay", "--case outsize.safetensors --out replayed.safetensors --device gpu"));
    }
    for (example, arguments) in runs {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let Ran { code, err, .. } = folder.run(example, &arguments);
        assert_eq!(code, Some(0), "{example} {arguments:?}: {err}");
        let count = err.lines().filter(|line| line.starts_with("warning: group 0")).count();
        assert_eq!(count, 1, "{example} {arguments:?}: {err}");
        assert!(!err.contains("wgpu") && !err.contains("naga"), "{example} {arguments:?}: {err}");
        let off = folder.command(example, &arguments).env("RUST_LOG", "off").output().unwrap();
        assert!(!String::from_utf8(off.stderr).unwrap().contains("group 0"), "{example} {arguments:?}");
    }
    // The example's own.
    let flags = "--device cpu --hidden 8 --schedule warmup-cosine --checkpoint run";
    let begin = format!("{flags} --epochs 1");
    assert_eq!(folder.run("mlp_mnist", &begin.split(' ').collect::<Vec<_>>()).code, Some(0));
    let longer = format!("{flags} --epochs 2 --resume");
    let Ran { err, .. } = folder.run("mlp_mnist", &longer.split(' ').collect::<Vec<_>>());
    assert!(err.starts_with("warning: --schedule warmup-cosine ends with epoch 1;"), "{err}");
}

#[test]
fn usual_runs_have_nothing_to_warn_of() {
    let folder = Folder::new("usual");
    for (example, usual) in examples() {
        let Ran { code, err, .. } = folder.run(example, usual);
        assert_eq!(code, Some(0), "{example}: {err}");
        assert!(!err.contains("warning: ") && !err.contains("wgpu"), "{example}: {err}");
    }
    // At every order.
    let Ran { code, err, .. } = folder.run("throughput", &["--case", "10000 x 256", "--rounds", "1"]);
    assert_eq!((code, err.contains("warning: ")), (Some(0), false), "{err}");
}
