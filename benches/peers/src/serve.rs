//! The other end of [`process`](crate::process) for burn.

use std::io::{self, BufRead};

use miadam_peers::device;

use crate::burn;
use crate::runner::Runner;

/// Answers the commands on stdin until it ends.
pub fn serve() {
    let adapter = match device::adapter() {
        Ok(adapter) => adapter.get_info().device_type,
        Err(reason) => return println!("error: {reason}"),
    };
    println!("{}", burn::NAME);
    let mut runner: Option<burn::Burn> = None;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let answer = match (line.split_once(' '), &mut runner) {
            (Some(("case", lens)), _) => {
                // Frees the tensors of the case before.
                runner = None;
                let lens: Result<Vec<usize>, _> = lens.split(' ').map(str::parse).collect();
                lens.map_err(|error| error.to_string()).map(|lens| {
                    runner = Some(burn::Burn::new(&lens, adapter));
                    "ok".to_owned()
                })
            }
            (None, Some(burn)) if line == "step" => burn.step().map(|ms| ms.to_string()),
            (None, Some(burn)) if line == "ends" => burn.ends().map(|ends| {
                let extreme = |pick: fn(f32, f32) -> f32| ends.iter().copied().reduce(pick).unwrap_or_default();
                format!("{} {}", extreme(f32::min), extreme(f32::max))
            }),
            _ => Err(format!("unknown command {line}")),
        };
        println!("{}", answer.unwrap_or_else(|reason| format!("error: {}", reason.replace('\n', " "))));
    }
}
