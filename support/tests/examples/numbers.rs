//! A number out of range is told its range, whatever the flag and however it is written.

use super::{Folder, instead, value_flags, with_flags};

/// The flags whose value is a number: the example says so of a word.
fn numeric(folder: &Folder, example: &str, usual: &[&str]) -> Vec<String> {
    let flags = value_flags(folder, example).into_iter().map(|(flag, _)| flag);
    let is_numeric = |flag: &String| {
        let said = folder.run(example, &instead(usual, flag, &[flag, "no-such"])).err;
        ["number;", "invalid digit", "invalid float"].iter().any(|words| said.contains(words))
    };
    flags.filter(is_numeric).collect()
}

#[test]
fn numbers_are_told_their_range() {
    let folder = Folder::new("numbers");
    for (example, usual) in with_flags() {
        let flags = numeric(&folder, example, usual);
        let least = match example {
            "engine" => 11,
            "mlp_mnist" => 14,
            "selftest" => 1,
            "throughput" | "wgsl" => 2,
            _ => 0,
        };
        assert!(flags.len() >= least, "{example}: only {flags:?} are numbers");
        for flag in &flags {
            for value in ["-1", "-0.5", "-1e-3", "-.5", "-inf", "nan", "x"] {
                for arguments in [vec![flag.as_str(), value], vec![&format!("{flag}={value}")]] {
                    let said = folder.objection(example, &instead(usual, flag, &arguments));
                    assert!(said.starts_with(&format!("{flag} {value} is ")), "{example} {arguments:?}: {said}");
                    assert!(said.contains("; choose a "), "{example} {arguments:?}: {said}");
                    assert_eq!(said.contains(" is out of range; "), value == "-1" || said.contains("out of"), "{said}");
                }
            }
        }
    }
    let said = folder.objection("mlp_mnist", &["--label-noise", "-1"]);
    assert_eq!(said, "--label-noise -1 is out of range; choose a number from 0 to 1");
}
