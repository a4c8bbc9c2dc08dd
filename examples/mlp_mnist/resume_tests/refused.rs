//! Files and flags that no run goes on from, or begins with.

use std::fs;

use miadam::Checkpoint;

use super::{Folder, RunFile, SMALL, run_until, try_parse};

#[test]
fn a_run_that_differs_is_told_by_the_flag() {
    let folder = Folder::new("differs");
    let flags = folder.flags("run", &format!("--device cpu {SMALL} --clip-norm 1"));
    run_until(&flags, 3).unwrap();
    let metrics = fs::read(folder.metrics("run")).unwrap();
    for (flag, now) in [
        ("--seed", "--seed 1"),
        ("--lr", "--lr 0.01"),
        ("--accumulate", "--accumulate 2"),
        ("--schedule", "--schedule multi-step"),
        ("--loss-scale", "--loss-scale"),
        ("--skip-non-finite", "--skip-non-finite"),
        ("--label-noise", "--label-noise 0.5"),
        ("--switch-epoch", "--switch-epoch 1"),
    ] {
        let error = run_until(&format!("{flags} --resume {now}"), 1).unwrap_err();
        assert!(error.starts_with(&format!("{flag}: ")) && error.contains("; make it the same"), "{now}: {error}");
    }
    for (was, now) in
        [("--hidden 20", "--hidden 21"), ("--batch-size 64", "--batch-size 65"), ("--clip-norm 1", "--clip-norm 2")]
    {
        let error = run_until(&format!("{} --resume", flags.replace(was, now)), 1).unwrap_err();
        assert!(error.starts_with(was.split(' ').next().unwrap()), "{was}, then {now}: {error}");
    }
    assert_eq!(fs::read(folder.metrics("run")).unwrap(), metrics, "a refused run touches no metrics");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = Folder::new("files");
    let flags = folder.flags("run", &format!("--device cpu {SMALL}"));
    let path = folder.checkpoint("run");
    let refused = |flags: &str, reason: &str, remedy: &str| {
        let error = run_until(flags, 3).unwrap_err();
        let start = format!("--checkpoint {}: ", path.display());
        assert!(error.starts_with(&start) && error.contains(reason) && error.contains(remedy), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    };
    let resume = format!("{flags} --resume");
    // Each system has its own word for the reason.
    refused(&resume, "", "drop --resume");
    // An empty file is as good as none.
    fs::write(&path, []).unwrap();
    run_until(&flags, 3).unwrap();
    let whole = fs::read(&path).unwrap();
    refused(&flags, "it exists", "add --resume");
    assert_eq!(fs::read(&path).unwrap(), whole);

    for len in [0, 7, 8, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        refused(&resume, "", "name a file that a run of mlp_mnist has saved");
    }
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|found| found == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&path, bytes).unwrap();
    };
    replaced(r#"\"mlp_mnist\""#, r#"\"mlp_trees\""#);
    refused(&resume, "it holds no run", "name a file");
    replaced(r#"{\\\"version\\\":1,\\\"flags\\\""#, r#"{\\\"version\\\":2,\\\"flags\\\""#);
    refused(&resume, "version 2", "the version of mlp_mnist that saved it");
    replaced(r#"\\\"seconds\\\""#, r#"\\\"minutes\\\""#);
    refused(&resume, "unknown field `minutes`", "name a file");
    replaced(r#"\\\"--lr\\\":\\\"0.001\\\""#, r#"\\\"--lr\\\":\\\"0.x01\\\""#);
    refused(&resume, "--lr 0.x01 is no number", "name a file");
    replaced(r#"\\\"--lr\\\":\\\"0.001\\\""#, r#"\\\"--lr\\\":\\\"--lr0\\\""#);
    refused(&resume, "--lr --lr0 is no number", "name a file");
    replaced(r#"\"kappa\":0.5"#, r#"\"kappa\":0.6"#);
    refused(&resume, "hyperparameters", "name a file");
    replaced(r#""param/w1""#, r#""param/w9""#);
    refused(&resume, "param/w9", "name a file");

    // An optimizer's own file says nothing about the run.
    fs::write(&path, &whole).unwrap();
    let own = RunFile::new(&path);
    own.read().unwrap().checkpoint.save(&path).unwrap();
    assert!(Checkpoint::open(&path).is_ok());
    refused(&resume, "it holds no run", "name a file");
}

#[test]
fn what_cannot_be_written_is_told_at_once() {
    let folder = Folder::new("written");
    let flags = |path: &str| format!("--device cpu {SMALL} --checkpoint {path}");
    let missing = folder.0.join("missing").join("run.safetensors");
    let error = run_until(&flags(&missing.display().to_string()), 3).unwrap_err();
    assert!(error.contains("run.safetensors: ") && error.contains("; name a file in a folder"), "{error}");
    let error = run_until(&flags(&folder.0.display().to_string()), 3).unwrap_err();
    assert!(error.contains("it exists"), "{error}");
    // Metrics of something else are not cut off.
    let flags = folder.flags("run", &format!("--device cpu {SMALL}"));
    run_until(&flags, 3).unwrap();
    fs::write(folder.metrics("run"), "notes\n").unwrap();
    let error = run_until(&format!("{flags} --resume"), 3).unwrap_err();
    assert!(error.starts_with("--metrics ") && error.contains("line 1 is no epoch"), "{error}");
    assert_eq!(fs::read_to_string(folder.metrics("run")).unwrap(), "notes\n");
    // Nor those of another run, by one that does not start. Nor does that leave an empty file.
    for (name, left) in [("run", Some("notes\n")), ("new", None)] {
        let flags = format!("--adapter no-such-adapter --metrics {}", folder.metrics(name).display());
        let error = run_until(&flags, 1).unwrap_err();
        assert!(error.contains("GPU adapter"), "{error}");
        assert_eq!(fs::read_to_string(folder.metrics(name)).ok().as_deref(), left);
    }
    // That comes first, and the device only then.
    for path in [missing.display(), folder.0.display()] {
        let error = run_until(&format!("--adapter no-such-adapter --metrics {path}"), 1).unwrap_err();
        assert!(error.starts_with(&format!("--metrics {path}: ")), "{error}");
        assert!(error.contains("; name a file that can be written"), "{error}");
    }
}

#[test]
fn flags_without_a_file_are_errors() {
    for flags in ["--resume", "--save-every 2"] {
        let error = try_parse(flags).unwrap_err();
        assert!(error.contains("--checkpoint"), "{flags}: {error}");
    }
    let folder = Folder::new("same-file");
    let file = folder.checkpoint("run");
    let flags = format!("--device cpu {SMALL} --checkpoint {} --metrics {}", file.display(), file.display());
    let error = run_until(&flags, 1).unwrap_err();
    assert!(error.contains("the same file; give each its own") && !file.exists(), "{error}");
    let error = run_until("--checkpoint x --save-every 0", 1).unwrap_err();
    assert!(error.starts_with("--save-every 0 is out of range; choose "), "{error}");
}
