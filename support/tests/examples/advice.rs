//! What clap advises reaches the user.

use super::{Folder, instead, value_flags, with_flags};

#[test]
fn a_misspelt_flag_is_told_the_right_one() {
    let folder = Folder::new("misspelt");
    for (example, usual) in with_flags() {
        let flags = value_flags(&folder, example).into_iter().map(|(flag, _)| flag);
        for flag in flags.chain(["--list-adapters".to_owned()]).filter(|flag| flag.len() > 5 && example != "wgsl") {
            // Without its second letter: some flags differ in the last one alone.
            let wrong = format!("{}{}", &flag[..3], &flag[4..]);
            let said = folder.objection(example, &instead(usual, &flag, &[&wrong]));
            let advice = format!("unexpected argument '{wrong}' found; tip: a similar argument exists: '{flag}'");
            assert!(said.starts_with(&advice), "{example}: {said}");
        }
    }
}

#[test]
fn a_missing_value_is_told() {
    let folder = Folder::new("missing");
    for (example, usual) in with_flags() {
        for (flag, is_needed) in value_flags(&folder, example) {
            if is_needed {
                let said = folder.objection(example, &instead(usual, &flag, &[&flag]));
                let advice = format!("a value is required for '{flag} <");
                assert!(said.starts_with(&advice) && said.contains(" but none was supplied"), "{example}: {said}");
            }
        }
    }
}

#[test]
fn other_advice_is_there() {
    let folder = Folder::new("advice");
    for (example, arguments, advice) in [
        ("engine", vec!["--resume"], "--checkpoint <FILE>"),
        ("mlp_mnist", vec!["--lr", "-0.1"], "choose a number from 0 to 1000"),
        ("mlp_mnist", vec!["--lr", "-x"], "unexpected argument '-x' found; for more, try '--help'"),
        ("mlp_mnist", vec!["--device", "tpu"], "[possible values: auto, gpu, cpu]; tip: a similar value exists: 'cpu'"),
        ("mlp_mnist", vec!["--resume"], "--checkpoint <FILE>"),
        ("replay", vec![], "--case <CASE> --out <OUT> --device <DEVICE>"),
        ("wgsl", vec![], "<KERNEL>"),
        ("wgsl", vec!["-1"], "tip: to pass '-1' as a value, use '-- -1'"),
        ("throughput", vec!["--order", "2"], "choose 0, 1 or 3"),
        ("throughput", vec!["--case", "no-such"], "there are: 1 x 4M, "),
    ] {
        let said = folder.objection(example, &arguments);
        assert!(said.contains(advice), "{example} {arguments:?}: {said}");
    }
}
