use miadam::{Error, GradOptions, GradScaler, MiAdam};

pub fn prepare(optimizer: &mut MiAdam) -> Result<(), Error> {
    optimizer.set_grad_options(GradOptions {
        factor: 1.0 / 4.0,                   // the mean of four micro-batches, added up
        clip_norm: Some(1.0),                // torch.nn.utils.clip_grad_norm_ over all groups
        zero: true,                          // reset each gradient once it is used
        scaler: Some(GradScaler::default()), // torch.amp.GradScaler
        ..GradOptions::default()
    })
}
