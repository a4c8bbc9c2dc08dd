//! Cases that cannot be replayed, and what is said of them.

use std::collections::HashMap;

use miadam_support::command_line::one_line;
use miadam_support::replay::{Case, check};
use safetensors::Dtype;

use super::{File, good, half};

#[test]
fn names_what_is_wrong() {
    const F32: Dtype = Dtype::F32;
    let deep = r#"{"kind": "sequence", "pieces": [[0, "#.repeat(100_000);
    let deeply_scaled = r#"{"kind": "scaled", "factor": 1, "schedule": "#.repeat(100_000);
    let no_groups = File { metadata: HashMap::new(), ..good() };
    let no_gradient = good().without("grad/1/s").without("grad/2/s").without("grad/1/a.b/c").without("grad/2/a.b/c");
    let cases = [
        (no_groups, "`groups` is missing"),
        (no_gradient, "no gradient"),
        (good().meta("groups", "[{"), "`groups`: EOF"),
        (good().meta("groups", "{}"), "`groups`: invalid type"),
        (good().meta("groups", "[{}]"), "group 0 has no `params`"),
        (good().meta("groups", r#"[{"params": ["s"], "lrr": 1}]"#), "unknown field `lrr`"),
        (good().meta("groups", r#"[{"params": ["s"], "lr": NaN}]"#), "`groups`: expected value"),
        (good().meta("groups", r#"[{"params": ["s"], "lr": 1e999}]"#), "number out of range"),
        (good().meta("groups", r#"[{"params": ["s"], "order": -1}]"#), "invalid value"),
        (good().meta("groups", r#"[{"params": ["s"], "step_scale": "big"}]"#), "unknown variant `big`"),
        (good().meta("groups", r#"[{"params": ["s"]}]"#), "`param/a.b/c` is in no group"),
        (good().meta("groups", r#"[{"params": ["s", "a.b/c", "x"]}]"#), "`param/x`, listed by group 0, is missing"),
        (good().meta("groups", r#"[{"params": ["s"]}, {"params": ["a.b/c", "s"]}]"#), "`s` is listed twice"),
        (good().meta("lr_per_step", "[1]"), "`lr_per_step` has 1 entries, but there are 2 steps"),
        (good().meta("lr_per_step", "[1, [1]]"), "step 2 has 1 learning rates for 2 groups"),
        (good().meta("lr_per_step", "[1, \"x\"]"), "neither a number nor an array"),
        (good().meta("max_grad_norm", "x"), "`max_grad_norm`"),
        (good().meta("max_grad_norm", "-1"), "`max_grad_norm`: it is -1; make it at least 0"),
        (good().meta("max_grad_norm", "1e999"), "`max_grad_norm`: number out of range"),
        (good().meta("max_grad_norm", "null"), "`max_grad_norm`: invalid type"),
        (good().meta("clip_value", "-1e-9"), "`clip_value`: it is -0.000000001; make it at least 0"),
        (good().meta("clip_value", "[1]"), "`clip_value`: invalid type"),
        (good().meta("grad_factor", "0"), "`grad_factor`: it is 0; make it in the normal range"),
        (good().meta("grad_factor", "-1"), "`grad_factor`: it is -1"),
        (good().meta("grad_factor", "1e39"), "`grad_factor`"),
        (good().meta("grad_factor", "1/4"), "`grad_factor`: trailing characters"),
        (good().meta("skip_non_finite", "1"), "`skip_non_finite`: invalid type"),
        (good().meta("skip_non_finite", "True"), "`skip_non_finite`: expected value"),
        (good().meta("zero_grads", "\"true\""), "`zero_grads`: invalid type"),
        (good().meta("scaler", "true"), "`scaler`: invalid type"),
        (good().meta("scaler", r#"{"scale": 2}"#), "`scaler`: unknown field `scale`"),
        (good().meta("scaler", r#"{"init_scale": 0}"#), "`scaler`: `init_scale` is 0; make it in the range"),
        (good().meta("scaler", r#"{"growth_factor": 1}"#), "`scaler`: `growth_factor` is 1; make it above 1"),
        (good().meta("scaler", r#"{"backoff_factor": 1}"#), "`scaler`: `backoff_factor` is 1; make it above 0"),
        (good().meta("scaler", r#"{"growth_interval": 0}"#), "`scaler`: `growth_interval` is 0; make it at least 1"),
        (good().meta("scaler", r#"{"growth_interval": 1.5}"#), "`scaler`: invalid type"),
        (good().scheduled(r#"{"kind": "cos"}"#), "`groups`: unknown variant `cos`"),
        (good().scheduled(r#"{"steps": 3, "end_factor": 0}"#), "`groups`: missing field `kind`"),
        (good().scheduled(r#"{"kind": "constant", "gamma": 1}"#), "`groups`: unknown field `gamma`"),
        (good().scheduled(r#"{"kind": "cosine", "steps": 3}"#), "`groups`: missing field `end_factor`"),
        (good().scheduled(r#"{"kind": "step", "every": -1, "gamma": 1}"#), "`groups`: invalid value"),
        (good().scheduled(r#"{"kind": "sequence", "pieces": [[0]]}"#), "`groups`: invalid length"),
        (good().scheduled(r#"{"kind": "cosine_restarts", "steps": 3, "growth": 1.5}"#), "`groups`: invalid type"),
        (good().scheduled(r#"{"kind": "scaled", "factor": 2}"#), "`groups`: missing field `schedule`"),
        (good().scheduled(&deep), "`groups`: recursion limit exceeded"),
        (good().scheduled(&deeply_scaled), "`groups`: recursion limit exceeded"),
        (
            good().scheduled(r#"{"kind": "exponential", "gamma": 0.9}"#).meta("lr_per_step", "[1, 1]"),
            "`lr_per_step` and the `schedule` of group 1 both",
        ),
        (good().meta("lr_per_steps", "[1, 1]"), "`lr_per_steps`"),
        (good().set("moment/s", F32, &[]), "`moment/s`"),
        (good().set("grad/0/s", F32, &[]), "`grad/0/s`"),
        (good().set("grad/01/s", F32, &[]), "`grad/01/s`"),
        (good().set("grad/3", F32, &[]), "`grad/3`"),
        (good().set("grad/99999999999/s", F32, &[]), "`grad/99999999999/s`"),
        (good().set("grad/4294967295/s", F32, &[]), "`grad/4294967295/s` follows step 2"),
        (good().set("grad/104/s", F32, &[]), "at most 100 in a row"),
        (good().without("param/s"), "`param/s`, listed by group 0, is missing"),
        (good().set("grad/2/x", F32, &[]), "`grad/2/x` has no parameter"),
        (good().set("grad/2/s", F32, &[1]), "`grad/2/s` has shape [1], but its parameter has []"),
        (good().set("grad/2/a.b/c", F32, &[3, 2]), "`grad/2/a.b/c` has shape [3, 2]"),
        (good().set("param/s", Dtype::F64, &[]), "`param/s` has dtype F64"),
        (good().set("grad/1/s", Dtype::BF16, &[]), "`grad/1/s` has dtype BF16"),
    ];
    for (file, expected) in cases {
        let message = file.error().to_string();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert_eq!(message, one_line(&message));
    }
}

#[test]
fn names_what_is_wrong_with_a_type() {
    for (extra, text) in [
        (r#""dtype": "f64""#, "unknown variant `f64`"),
        (r#""dtype": "f16", "stochastic_seed": 1"#, "stochastic rounding is for bf16"),
        (r#""dtype": "bf16", "stochastic_seed": -1"#, "`groups`: invalid value"),
    ] {
        let bytes = half(extra).bytes();
        let error = match Case::from_bytes(&bytes) {
            Err(error) => error.to_string(),
            Ok(case) => check(&case).unwrap_err().to_string(),
        };
        assert!(error.contains(text), "{extra}: {error}");
    }
}

#[test]
fn broken_bytes_are_an_error() {
    let bytes = good().bytes();
    for len in 0..bytes.len() {
        assert!(Case::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    // Some flips are harmless; none may panic.
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = Case::from_bytes(&flipped);
    }
}
