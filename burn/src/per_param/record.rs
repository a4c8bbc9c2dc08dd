//! The state of one parameter in burn's record files.

use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};

use super::PerParamState;

/// burn's derive of this trait works inside burn alone. This does what it would do, and warns where burn leaves a state out.
impl<const D: usize> RecordState for PerParamState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "step", self.step.into());
        out.push_scalar(prefix, "order", (self.integrals.len() as u32).into());
        let moments = [("first_moment", &self.first_moment), ("second_moment", &self.second_moment)];
        let largest = self.largest_second_moment.iter().map(|tensor| ("largest_second_moment", tensor));
        let master = self.master.iter().map(|tensor| ("master", tensor));
        for (name, tensor) in moments.into_iter().chain(largest).chain(master) {
            out.push_tensor(prefix, name, tensor.clone().into_data());
        }
        for (number, tensor) in (1..).zip(&self.integrals) {
            out.push_tensor(prefix, &integral(number), tensor.clone().into_data());
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let state = read(prefix, src, device);
        if state.is_none() {
            log::warn!(
                "parameter {prefix}: the record has no whole state of MIAdam for it, so that its state starts anew"
            );
        }
        state
    }
}

fn read<const D: usize>(prefix: &str, src: &mut StateSource, device: &Device) -> Option<PerParamState<D>> {
    // In the type that it was saved in, whatever the device's own.
    let tensor = |data: TensorData| {
        let dtype = data.dtype();
        (data.rank() == D).then(|| Tensor::from_data(data, (device, dtype)))
    };
    let order = u32::try_from(src.take_scalar(prefix, "order")?).ok()?;
    let mut take = |name: &str| src.take_tensor(prefix, name).and_then(tensor);
    Some(PerParamState {
        first_moment: take("first_moment")?,
        second_moment: take("second_moment")?,
        largest_second_moment: take("largest_second_moment"),
        integrals: (1..=order).map(|number| take(&integral(number))).collect::<Option<_>>()?,
        master: take("master"),
        step: u32::try_from(src.take_scalar(prefix, "step")?).ok()?,
    })
}

fn integral(number: u32) -> String {
    format!("integral.{number}")
}
